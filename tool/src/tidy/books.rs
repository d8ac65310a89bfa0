//! Rules for the documentation: links lead somewhere, and every dependency has its reason.

use super::{Finding, SourceFile};
use std::collections::BTreeSet;
use std::path::Path;

/// Where the reasons for dependencies are.
const REASONS: &str = "docs/dependencies.md";

/// Links to files that do not exist.
pub fn links(files: &[SourceFile], root: &Path) -> Vec<Finding> {
    broken_links(files, |path| root.join(path).exists())
}

fn broken_links(files: &[SourceFile], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.is(&[".md"])) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut in_code = false;
        for (index, line) in file.text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if in_code {
                continue;
            }
            for target in targets(line) {
                let path = join(folder, target);
                if !path.as_deref().is_some_and(&exists) {
                    findings.push(file.finding(index + 1, format!("the link {target} is broken")));
                }
            }
        }
    }
    findings
}

/// The files that a line of Markdown links to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let rest = &line[at + 2..];
        let target = rest[..rest.find(')')?].split('#').next()?.trim();
        (!target.is_empty() && !target.contains(':')).then_some(target)
    })
}

/// A relative path from a folder of the checkout; `None` if it leads out of it.
fn join(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Dependencies without a line in the list of reasons.
pub fn dependencies(files: &[SourceFile]) -> Vec<Finding> {
    let manifests: Vec<&SourceFile> =
        files.iter().filter(|file| file.path.ends_with("Cargo.toml")).collect();
    let reasons = files.iter().find(|file| file.path == REASONS).map_or("", |file| &file.text);
    let ours: BTreeSet<&str> =
        manifests.iter().filter_map(|file| package_name(&file.text)).collect();
    let mut findings = Vec::new();
    for file in &manifests {
        for (line, name) in named_dependencies(&file.text) {
            if !ours.contains(name) && !reasons.contains(&format!("`{name}`")) {
                findings.push(file.finding(line, format!("{REASONS} has no line about `{name}`")));
            }
        }
    }
    findings
}

fn package_name(manifest: &str) -> Option<&str> {
    let (_, package) = manifest.split_once("[package]")?;
    let line = package.lines().find(|line| line.starts_with("name"))?;
    line.split('"').nth(1)
}

/// The lines of a manifest that name a dependency.
fn named_dependencies(manifest: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (index, line) in manifest.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            if let Some((start, name)) = section.rsplit_once('.')
                && start.ends_with("dependencies")
            {
                found.push((index + 1, name));
            }
        } else if inside
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once(['=', '.', ' '])
            && !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
        {
            found.push((index + 1, name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn finds_broken_links() {
        let text =
            "[a](boot.md), [b](../README.md#x), [c](https://x.org), [d](#here)\n[e](no.md)\n";
        let files = [file("docs/SUMMARY.md", text)];
        let exists = |path: &str| ["docs/boot.md", "README.md"].contains(&path);
        let found = broken_links(&files, exists);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "docs/SUMMARY.md:2: the link no.md is broken");
        assert_eq!(join("docs", "../../x"), None);
    }

    #[test]
    fn finds_dependencies_without_a_reason() {
        let manifest = [
            "[package]",
            "name = \"tool\"",
            "[dependencies]",
            "clap = \"4\"",
            "boot.workspace = true",
            "#no = \"1\"",
            "flate2 = { version = \"1\" }",
            "[dev-dependencies.insta]",
            "version = \"1\"",
            "[features]",
            "x = []",
        ]
        .join("\n");
        let boot = "[package]\nname = \"boot\"\n";
        let mut files = vec![file("tool/Cargo.toml", &manifest), file("boot/Cargo.toml", boot)];
        let found: Vec<String> = dependencies(&files).iter().map(|f| f.what.clone()).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        files.push(file(REASONS, "- `clap`: x\n- `flate2`: y\n- `insta`: z\n"));
        assert!(dependencies(&files).is_empty());
    }
}
