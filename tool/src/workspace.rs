//! Where things are: the Xenios checkout, the package of an app, the target directory.

use qemu_xen_tests::{Context, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checkout that this tool was built from.
pub fn checkout() -> Result<PathBuf> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR"));
    match tool.parent() {
        Some(root) if root.join("link.ld").is_file() => Ok(root.to_path_buf()),
        _ => Err(Error::new(format!("the Xenios checkout at {} is gone", tool.display()))
            .help("run `cargo xenios` from a Xenios checkout, or from an app made by it")),
    }
}

/// A program that can be built into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The program's name, which is also the image's.
    pub name: String,
    /// The package it is in; mostly of the same name.
    pub package: String,
    /// The package's manifest.
    pub manifest: PathBuf,
    /// Its workspace's target directory.
    pub target_directory: PathBuf,
}

impl App {
    /// Where the image and its companions go.
    pub fn output_directory(&self) -> PathBuf {
        self.target_directory.join("xenios").join(&self.name)
    }
}

/// Finds an app by name: among the packages around the current directory first, then in the
/// checkout.
pub fn find_app(name: &str) -> Result<App> {
    let current = std::env::current_dir().doing(|| "find the current directory".into())?;
    let mut names = Vec::new();
    let mut directories = vec![current.clone()];
    let root = checkout()?;
    if !current.starts_with(&root) {
        directories.push(root);
    }
    for directory in directories {
        let Ok(metadata) = metadata(&directory) else { continue };
        let mut apps = apps_in(&metadata);
        if let Some(index) = apps.iter().position(|app| app.name == name) {
            return Ok(apps.swap_remove(index));
        }
        // Test kernels are many, and nobody means one of them by mistake.
        names.extend(apps.into_iter().filter(|app| app.name == app.package).map(|app| app.name));
    }
    names.sort();
    names.dedup();
    let known = if names.is_empty() { "none here".into() } else { names.join(", ") };
    Err(Error::new(format!("there is no app `{name}`"))
        .help(format!("the apps are: {known}. `cargo xenios new {name}` makes a fresh one")))
}

/// All programs of the workspace at `directory`, except for this tool.
pub fn all_apps(directory: &Path) -> Result<Vec<App>> {
    Ok(apps_in(&metadata(directory)?))
}

/// What `cargo metadata` says about the workspace around `directory`.
fn metadata(directory: &Path) -> Result<Value> {
    let output = Command::new(cargo())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .doing(|| "run cargo".into())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Error::new(format!("cargo cannot read this workspace: {}", text.trim())));
    }
    serde_json::from_slice(&output.stdout).doing(|| "read the output of cargo metadata".into())
}

/// The programs of a workspace, except for this tool.
fn apps_in(metadata: &Value) -> Vec<App> {
    let mut apps = Vec::new();
    let target_directory = PathBuf::from(metadata["target_directory"].as_str().unwrap_or("target"));
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(package_name) = package["name"].as_str() else { continue };
        if package_name == env!("CARGO_PKG_NAME") {
            continue;
        }
        for name in programs(package) {
            apps.push(App {
                name: name.into(),
                package: package_name.into(),
                manifest: PathBuf::from(package["manifest_path"].as_str().unwrap_or_default()),
                target_directory: target_directory.clone(),
            });
        }
    }
    apps
}

/// The names of a package's programs.
fn programs(package: &Value) -> impl Iterator<Item = &str> {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets
        .filter(|target| target["kind"].as_array().into_iter().flatten().any(|kind| kind == "bin"))
        .filter_map(|target| target["name"].as_str())
}

/// The cargo that runs this tool.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs() {
        let metadata = serde_json::json!({
            "target_directory": "/w/target",
            "packages": [
                { "name": "libos", "manifest_path": "/w/libos/Cargo.toml",
                  "targets": [{ "name": "libos", "kind": ["lib"] }] },
                { "name": "hello", "manifest_path": "/w/apps/hello/Cargo.toml",
                  "targets": [{ "name": "hello", "kind": ["bin"] }] },
                { "name": "kernels", "manifest_path": "/w/kernels/Cargo.toml",
                  "targets": [{ "name": "a", "kind": ["bin"] }, { "name": "b", "kind": ["bin"] }] },
            ]
        });
        let apps = apps_in(&metadata);
        let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        assert_eq!(names, ["hello", "a", "b"]);
        assert_eq!(apps[0].manifest, Path::new("/w/apps/hello/Cargo.toml"));
        assert_eq!(apps[0].output_directory(), Path::new("/w/target/xenios/hello"));
        assert_eq!(apps[2].package, "kernels");
    }
}
