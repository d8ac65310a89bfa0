//! Style rules that no compiler knows, as checks.
//!
//! Each check takes texts and gives [`Finding`]s, so that tests can show that it does find
//! something.

mod books;
mod lexer;
mod source;

use qemu_xen_tests::{Context, Result};
use std::fmt;
use std::path::Path;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, as seen from the checkout.
    pub file: String,
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

/// A text file of the checkout.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its path, as seen from the checkout, with slashes.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl SourceFile {
    /// A finding in this file.
    fn finding(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { file: self.path.clone(), line, what: what.into() }
    }

    /// Whether the name ends with one of these.
    fn is(&self, endings: &[&str]) -> bool {
        endings.iter().any(|ending| self.path.ends_with(ending))
    }
}

/// Checks everything in the checkout.
pub fn run(root: &Path) -> Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut findings: Vec<Finding> = files.iter().flat_map(source::check).collect();
    findings.extend(books::links(&files, root));
    findings.extend(books::dependencies(&files));
    Ok(findings)
}

/// The kinds of files that have rules.
const ENDINGS: &[&str] = &[".rs", ".S", ".ld", ".sh", ".toml", ".md"];

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = std::fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" || name == "book" {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            let text =
                std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}
