//! The toolchain for `--hardened`: a compiler together with the source of its library.
//!
//! The library that comes ready-made with a toolchain has no canaries, so a hardened image builds
//! it from source. If rustup's toolchain has the source, it is used; otherwise Debian's compiler
//! and source are fetched into the cache, as the lab's pieces are. Cargo is rustup's in either
//! case.

use qemu_xen_tests::{Cache, Context, Error, Progress, Result, pieces};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A compiler that can build its library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler; `None` for the one that cargo takes anyway.
    pub rustc: Option<PathBuf>,
    /// Its version, as it prints it.
    pub version: String,
}

/// Where the library's source begins in a sysroot.
const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// Finds or fetches the toolchain.
pub fn toolchain() -> Result<Toolchain> {
    let usual = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let sysroot = ask(&usual, &["--print", "sysroot"])?;
    if Path::new(&sysroot).join(SOURCE).is_file() {
        return Ok(Toolchain { rustc: None, version: ask(&usual, &["--version"])? });
    }
    let cache = Cache::open()?;
    let root = pieces::RUSTC.root(&cache, &Progress::new()).map_err(|error| {
        error.help(
            "add the source with `rustup component add rust-src`, or run this on Debian 12, where \
             the packages rustc-web and rust-web-src are fetched",
        )
    })?;
    if !root.join("usr").join(SOURCE).exists() {
        return Err(Error::new(format!(
            "Debian's package has no source of the library at {SOURCE}"
        ))
        .help("add the source with `rustup component add rust-src` instead"));
    }
    let rustc = wrapper(&cache, &root)?;
    let version = ask(&rustc, &["--version"])?;
    let needed = env!("CARGO_PKG_RUST_VERSION");
    if numbers(&version) < numbers(needed) {
        // The archive may have a newer one next time.
        pieces::RUSTC.forget(&cache);
        return Err(Error::new(format!("Debian's {version} is older than {needed}")).help(
            "add the suite bookworm-security to the apt sources, or the source of rustup's own \
             library with `rustup component add rust-src`",
        ));
    }
    eprintln!("hardened: the library is built from source by {version}");
    Ok(Toolchain { rustc: Some(rustc), version })
}

/// The first two numbers of a version, whatever stands around them.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let mut parts = version[start..].split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A program that runs the unpacked compiler with the libraries of its own tree.
fn wrapper(cache: &Cache, root: &Path) -> Result<PathBuf> {
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let path = cache.folder("bin")?.join(name.as_ref());
    let quoted = |path: PathBuf| qemu_xen_tests::xl::single_quote(&path.to_string_lossy());
    let text = format!(
        "#!/bin/sh\nexec {} --library-path {} {} --sysroot {} \"$@\"\n",
        quoted(root.join("lib64/ld-linux-x86-64.so.2")),
        quoted(root.join("usr/lib/x86_64-linux-gnu")),
        quoted(root.join("usr/bin/rustc")),
        quoted(root.join("usr")),
    );
    let doing = || format!("write {}", path.display());
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(path);
    }
    std::fs::write(&path, text).doing(doing)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).doing(doing)?;
    Ok(path)
}

/// What a compiler prints.
fn ask(rustc: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(rustc)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("run {}", rustc.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
    }
    Err(Error::new(format!(
        "{} does not run: {}",
        rustc.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
    .help("remove the cache's folder `roots` and run this again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(numbers("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some((1, 96)));
        assert!(numbers("rustc 1.85.0 (x)") < numbers("1.95"));
        assert!(numbers("rustc 1.100.0") > numbers("1.95.0"));
        assert!(numbers("none") < numbers("1.0"));
    }
}
