//! `cargo xenios doc`: the book.

use crate::cli;
use crate::workspace::{cargo, checkout};
use qemu_xen_tests::{Cache, Context, Error, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The verb.
pub fn run(options: &cli::Doc) -> Result<u8> {
    let root = checkout()?;
    let docs = root.join("docs");
    if !docs.join("book.toml").is_file() {
        return Err(Error::new("there is no docs/book.toml")
            .help("the checkout is not complete: `git status` shows what is missing"));
    }
    let output = root.join("target").join("book");
    let mut command = Command::new(mdbook()?);
    command.arg("build").arg(&docs).arg("--dest-dir").arg(&output).stdin(Stdio::null());
    if options.open {
        command.arg("--open");
    }
    let status = command.status().doing(|| "run mdbook".into())?;
    if !status.success() {
        return Err(
            Error::new("mdbook could not build the book").help("its messages above say where")
        );
    }
    println!("{}", output.join("index.html").display());
    Ok(0)
}

/// The mdbook on the path, or one of our own that is built at the first use.
fn mdbook() -> Result<PathBuf> {
    let found = Command::new("mdbook").arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Ok("mdbook".into());
    }
    let folder = Cache::open()?.path("mdbook");
    let program = folder.join("bin").join("mdbook");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("building mdbook, once ...");
    let status = Command::new(cargo())
        .args(["install", "mdbook", "--locked", "--quiet", "--root"])
        .arg(&folder)
        // Not the flags or the target directory of whoever called this tool.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .status()
        .doing(|| "run cargo".into())?;
    if status.success() && program.is_file() {
        return Ok(program);
    }
    Err(Error::new("mdbook could not be built")
        .help("install mdbook by hand, so that it is on the path"))
}
