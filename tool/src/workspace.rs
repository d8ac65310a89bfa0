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

/// A package that can be built into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The package's name, which is also the image's.
    pub name: String,
    /// Its manifest.
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

/// Finds an app by name: among the packages around the current directory first, then in the checkout.
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
        let (app, mut found) = app_in(&metadata, name);
        if let Some(app) = app {
            return Ok(app);
        }
        names.append(&mut found);
    }
    names.sort();
    names.dedup();
    let known = if names.is_empty() { "none here".into() } else { names.join(", ") };
    Err(Error::new(format!("there is no app `{name}`"))
        .help(format!("the apps are: {known}. `cargo xenios new {name}` makes a fresh one")))
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

/// The package `name` of a workspace, and the names of all its packages that have a program.
fn app_in(metadata: &Value, name: &str) -> (Option<App>, Vec<String>) {
    let mut names = Vec::new();
    let mut app = None;
    let target = metadata["target_directory"].as_str().unwrap_or("target");
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(package_name) = package["name"].as_str() else { continue };
        if !has_program(package) {
            continue;
        }
        if package_name == name {
            app = Some(App {
                name: name.into(),
                manifest: PathBuf::from(package["manifest_path"].as_str().unwrap_or_default()),
                target_directory: PathBuf::from(target),
            });
        }
        if package_name != env!("CARGO_PKG_NAME") {
            names.push(package_name.to_string());
        }
    }
    (app, names)
}

fn has_program(package: &Value) -> bool {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets.flat_map(|target| target["kind"].as_array()).flatten().any(|kind| kind == "bin")
}

/// The cargo that runs this tool.
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_packages_with_a_program() {
        let metadata = serde_json::json!({
            "target_directory": "/w/target",
            "packages": [
                { "name": "libos", "manifest_path": "/w/libos/Cargo.toml",
                  "targets": [{ "kind": ["lib"] }] },
                { "name": "hello", "manifest_path": "/w/apps/hello/Cargo.toml",
                  "targets": [{ "kind": ["bin"] }] },
            ]
        });
        let (app, names) = app_in(&metadata, "hello");
        let app = app.expect("hello is there");
        assert_eq!(app.manifest, Path::new("/w/apps/hello/Cargo.toml"));
        assert_eq!(app.output_directory(), Path::new("/w/target/xenios/hello"));
        assert_eq!(names, ["hello"]);
        assert_eq!(app_in(&metadata, "libos").0, None);
    }
}
