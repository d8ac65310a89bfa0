//! The files of dom0's image, collected before they are written.

use super::{
    FOLDERS_ELSEWHERE, LEFT_OUT, LIBRARY_FOLDERS, MODULES, PROGRAM_FOLDERS, PROGRAMS, cpio,
    libraries, modules,
};
use crate::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// One thing in the image.
enum Node {
    Folder,
    Link(String),
    Text(String),
    File { source: PathBuf, executable: bool },
}

/// Paths, without a leading slash, and what they are. Sorted, so that parents come first.
#[derive(Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds a folder.
    pub fn folder(&mut self, path: &str) {
        self.parents(path);
        self.nodes.entry(path.into()).or_insert(Node::Folder);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.nodes.insert(path.into(), Node::Link(target.into()));
    }

    /// Adds a script or a text.
    pub fn text(&mut self, path: &str, text: &str) {
        self.parents(path);
        self.nodes.insert(path.into(), Node::Text(text.into()));
    }

    /// Adds the chosen kernel modules of the release, with their index.
    pub fn add_modules(&mut self, folder: &Path, release: &str) -> Result<()> {
        let chosen = modules::pick(folder, MODULES)?;
        let inside = format!("usr/lib/modules/{release}");
        for (path, source) in chosen.files {
            let path = format!("{inside}/{path}");
            self.parents(&path);
            self.nodes.insert(path, Node::File { source, executable: false });
        }
        self.text(&format!("{inside}/modules.dep"), &chosen.dependencies);
        self.text(&format!("{inside}/modules.alias"), &chosen.aliases);
        self.text(&format!("{inside}/modules.symbols"), "");
        Ok(())
    }

    /// Adds the unpacked packages at `root`: some as they are, the others as links to `/tools`.
    pub fn add_packages(&mut self, root: &Path) -> Result<()> {
        let taken = taken(root);
        self.walk(root, "", &taken)
    }

    fn walk(&mut self, root: &Path, folder: &str, taken: &BTreeSet<String>) -> Result<()> {
        let here = root.join(folder);
        let entries = std::fs::read_dir(&here).doing(|| format!("read {}", here.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = if folder.is_empty() { name.into() } else { format!("{folder}/{name}") };
            let kind = entry.file_type().doing(|| format!("look at {path}"))?;
            if LEFT_OUT.contains(&path.as_str()) {
                continue;
            }
            if FOLDERS_ELSEWHERE.contains(&path.as_str()) {
                self.link(&path, &format!("/tools/{path}"));
            } else if kind.is_dir() {
                self.folder(&path);
                self.walk(root, &path, taken)?;
            } else if kind.is_symlink() {
                let target = std::fs::read_link(entry.path()).doing(|| format!("read {path}"))?;
                self.link(&path, &target.to_string_lossy());
            } else if taken.contains(&path) || path.starts_with("etc/") {
                let metadata = entry.metadata().doing(|| format!("look at {path}"))?;
                let executable = metadata.permissions().mode() & 0o100 != 0;
                self.nodes.insert(path, Node::File { source: entry.path(), executable });
            } else {
                self.link(&path, &format!("/tools/{path}"));
            }
        }
        Ok(())
    }

    /// Makes sure that the folders above a path exist.
    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.nodes.entry(path[..at].into()).or_insert(Node::Folder);
        }
    }

    /// Writes the archive; gives back what it was written to.
    pub fn write<W: Write>(&self, mut out: cpio::Writer<W>) -> io::Result<W> {
        for (path, node) in &self.nodes {
            match node {
                Node::Folder => out.directory(path)?,
                Node::Link(target) => out.link(path, target)?,
                Node::Text(text) => out.file(path, true, text.as_bytes())?,
                Node::File { source, executable } => {
                    out.file(path, *executable, &std::fs::read(source)?)?;
                }
            }
        }
        out.finish()
    }
}

/// The programs that go into the image, and all the libraries they need.
fn taken(root: &Path) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    let mut waiting: Vec<String> = PROGRAM_FOLDERS
        .iter()
        .flat_map(|folder| PROGRAMS.iter().map(move |name| format!("{folder}/{name}")))
        .collect();
    waiting.push("usr/lib/xen-common/bin/xen-utils-wrapper".into());
    waiting.push("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2".into());
    while let Some(path) = waiting.pop() {
        // A link is a link in the image too; what matters is the file behind it.
        let Ok(file) = std::fs::canonicalize(root.join(&path)) else { continue };
        let Ok(inside) = file.strip_prefix(root) else { continue };
        if !file.is_file() || !taken.insert(inside.to_string_lossy().into_owned()) {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap_or_default();
        for name in libraries::needed(&bytes) {
            waiting.extend(LIBRARY_FOLDERS.iter().map(|folder| format!("{folder}/{name}")));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first() {
        let mut tree = Tree::default();
        tree.text("usr/lib/a/b", "x");
        tree.link("usr/lib/a/c", "b");
        let paths: Vec<&str> = tree.nodes.keys().map(String::as_str).collect();
        assert_eq!(paths, ["usr", "usr/lib", "usr/lib/a", "usr/lib/a/b", "usr/lib/a/c"]);
    }
}
