//! `cargo xenios new`: a fresh app that builds and runs as it is.

use crate::cli;
use crate::workspace::{all_apps, checkout};
use qemu_xen_tests::{Context, Error, Result};
use std::path::{Path, PathBuf};

/// The program of a fresh app.
const MAIN: &str = include_str!("../../templates/main.rs");

/// The verb.
pub fn run(options: &cli::New) -> Result<u8> {
    check_name(&options.name)?;
    let root = checkout()?;
    let current = std::env::current_dir().doing(|| "find the current directory".into())?;
    let folder = place(&root, &current, &options.name, options.path.as_deref())?;
    if folder.exists() {
        return Err(Error::new(format!("{} exists already", folder.display()))
            .help("choose another name, or another folder with --path"));
    }
    let member = folder.parent() == Some(&root.join("apps"));
    if member && all_apps(&root)?.iter().any(|app| app.name == options.name) {
        return Err(Error::new(format!("the workspace has a program `{}` already", options.name))
            .help("choose another name"));
    }
    let files =
        if member { member_files(&options.name) } else { standalone_files(&options.name, &root)? };
    for (path, text) in files {
        write(&folder.join(path), &text)?;
    }
    if !member {
        // The same versions of everything as in the checkout, which are known to work.
        let lock = root.join("Cargo.lock");
        if lock.is_file() {
            std::fs::copy(&lock, folder.join("Cargo.lock")).doing(|| "copy Cargo.lock".into())?;
        }
    }
    let shown = folder.strip_prefix(&current).unwrap_or(&folder).display();
    println!("{shown} is ready. Its program is {shown}/src/main.rs.");
    if member {
        println!("Run it:  cargo xenios run {}", options.name);
    } else {
        println!("Run it:  cd {shown} && cargo xenios run {}", options.name);
    }
    Ok(0)
}

/// What cargo takes for a package's name, and what a file can be called.
fn check_name(name: &str) -> Result<()> {
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !["test", "libos", "core", "alloc", "std"].contains(&name);
    if good {
        return Ok(());
    }
    Err(Error::new(format!("`{name}` cannot be the name of an app"))
        .help("a name is a letter, and then letters, digits, `-` and `_`"))
}

/// The folder for a fresh app.
fn place(root: &Path, current: &Path, name: &str, path: Option<&Path>) -> Result<PathBuf> {
    let apps = root.join("apps");
    let folder = match path {
        Some(path) => std::path::absolute(current.join(path))
            .doing(|| format!("find the folder {}", path.display()))?,
        None if current.starts_with(root) => apps.join(name),
        None => current.join(name),
    };
    if folder.starts_with(root) && folder.parent() != Some(&apps) {
        return Err(Error::new(format!("an app inside the checkout belongs into apps/{name}"))
            .help("leave --path out, or give a folder outside of the checkout"));
    }
    Ok(folder)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).doing(|| format!("create {}", folder.display()))?;
    }
    std::fs::write(path, text).doing(|| format!("write {}", path.display()))
}

/// The files of an app in the workspace.
fn member_files(name: &str) -> Vec<(&'static str, String)> {
    let manifest = format!(
        "[package]
name = \"{name}\"
description = \"A Xenios app.\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lints]
workspace = true

[dependencies]
libos.workspace = true

# An image has no host tests.
[[bin]]
name = \"{name}\"
test = false
bench = false
"
    );
    vec![("Cargo.toml", manifest), ("src/main.rs", MAIN.into())]
}

/// The files of an app on its own, which uses the checkout at `root`.
fn standalone_files(name: &str, root: &Path) -> Result<Vec<(&'static str, String)>> {
    let read = |file: &str| {
        let path = root.join(file);
        std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))
    };
    let quoted = |path: PathBuf| format!("{:?}", path.to_string_lossy());
    let libos = quoted(root.join("libos"));
    let checkout = quoted(root.join("Cargo.toml"));
    let manifest = format!(
        "[package]
name = \"{name}\"
version = \"0.1.0\"
edition = \"2024\"
rust-version = \"1.95\"
publish = false

[dependencies]
libos = {{ path = {libos} }}

# An image has no host tests.
[[bin]]
name = \"{name}\"
test = false
bench = false

# Not part of any workspace around it.
[workspace]

{}",
        profiles(&read("Cargo.toml")?)
    );
    let alias = format!(
        "# `cargo xenios` is the tool of the Xenios checkout that this app uses.
[alias]
xenios = [
    \"run\", \"--quiet\", \"--profile\", \"tool\", \"--manifest-path\", {checkout},
    \"--package\", \"xenios-tool\", \"--\",
]
"
    );
    let readme = format!(
        "# {name}

An app for Xen, made with Xenios.

    cargo xenios run {name}                # build it and run it as a guest of a Xen lab
    cargo xenios run {name} -- --name=you  # with words on its boot line
    cargo xenios build {name}              # target/xenios/{name}/: image and configuration for xl

`cargo xenios --help` lists what else there is.
"
    );
    Ok(vec![
        ("Cargo.toml", manifest),
        ("src/main.rs", MAIN.into()),
        (".cargo/config.toml", alias),
        ("rust-toolchain.toml", read("rust-toolchain.toml")?),
        ("README.md", readme),
        (".gitignore", "/target\n".into()),
    ])
}

/// The profiles of the checkout's manifest that are for images: they apply to a workspace, and a
/// standalone app is one of its own.
fn profiles(manifest: &str) -> String {
    let mut keep = false;
    let mut text = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            keep = line.starts_with("[profile.dev") || line.starts_with("[profile.release");
        }
        if keep && !line.trim().is_empty() && !line.starts_with('#') {
            if line.starts_with('[') && !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(check_name("my-app2").is_ok());
        for bad in ["", "2app", "a b", "a/b", "libos", "-a"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn takes_the_profiles_of_images() {
        let manifest = "[workspace]\na = 1\n\n[profile.release]\n# why\nlto = \"fat\"\n\n\
                        [profile.tool]\nb = 1\n[profile.release.package.boot]\nc = 1\n";
        let expected =
            "[profile.release]\nlto = \"fat\"\n\n[profile.release.package.boot]\nc = 1\n";
        assert_eq!(profiles(manifest), expected);
    }

    #[test]
    fn places() {
        let root = Path::new("/x");
        let at = |current: &str, path: Option<&str>| {
            place(root, Path::new(current), "a", path.map(Path::new)).map_err(|_| ())
        };
        assert_eq!(at("/x/docs", None), Ok("/x/apps/a".into()));
        assert_eq!(at("/home", None), Ok("/home/a".into()));
        assert_eq!(at("/x", Some("/tmp/b")), Ok("/tmp/b".into()));
        assert_eq!(at("/x", Some("apps/b")), Ok("/x/apps/b".into()));
        assert_eq!(at("/x", Some("b")), Err(()));
    }
}
