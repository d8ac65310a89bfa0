//! The cache: everything that was downloaded or made from downloads, in one folder.
//!
//! It is `$XENIOS_CACHE`, else `$XDG_CACHE_HOME/xenios`, else `~/.cache/xenios`, and may be removed
//! at any time: what is missing is fetched again.

use crate::{Context, Error, Progress, Result};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The folder, which exists.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

/// While this lives, no other process fills the cache.
#[derive(Debug)]
pub struct Locked {
    _file: File,
}

impl Cache {
    /// Finds the cache, and creates it if this is the first time.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn open() -> Result<Self> {
        let directory = place(|name| std::env::var_os(name)).ok_or_else(|| {
            Error::new("there is no place for the cache: HOME is not set")
                .help("set XENIOS_CACHE to a folder that may grow to about 1 GB")
        })?;
        Self::at(&directory)
    }

    /// A cache in a folder of the caller's choice.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn at(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .doing(|| format!("create the cache {}", directory.display()))
            .map_err(|error| error.help("set XENIOS_CACHE to a folder that can be written"))?;
        let directory = std::path::absolute(directory)
            .doing(|| format!("find the folder {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// The path of something in the cache.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// A folder in the cache, created if missing.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn folder(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).doing(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// Waits until no other process fills the cache, and keeps them out.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn lock(&self, progress: &Progress) -> Result<Locked> {
        let path = self.path("lock");
        let file = File::create(&path).doing(|| format!("create {}", path.display()))?;
        if file.try_lock().is_err() {
            progress.step("waiting for another xenios tool to finish with the cache");
            file.lock().doing(|| format!("lock {}", path.display()))?;
            progress.abandon();
        }
        Ok(Locked { _file: file })
    }
}

/// Where the cache belongs, given the environment.
fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XENIOS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("xenios")))
        .or_else(|| set("HOME").map(|path| path.join(".cache").join("xenios")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_with(pairs: &[(&str, &str)]) -> Option<PathBuf> {
        place(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_environment_decides_the_place() {
        assert_eq!(place_with(&[]), None);
        assert_eq!(place_with(&[("HOME", "/h")]), Some("/h/.cache/xenios".into()));
        let both = [("HOME", "/h"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(place_with(&both), Some("/c/xenios".into()));
        assert_eq!(place_with(&[("XENIOS_CACHE", "/x"), ("HOME", "/h")]), Some("/x".into()));
        assert_eq!(
            place_with(&[("XENIOS_CACHE", ""), ("HOME", "/h")]),
            place_with(&[("HOME", "/h")])
        );
    }
}
