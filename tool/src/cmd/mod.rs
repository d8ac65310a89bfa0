//! One module a verb.

pub mod build;
mod lab;
mod run;
mod test;

use crate::cli::{Cli, Verb};
use crate::workspace::checkout;
use qemu_xen_tests::{Error, Result};

/// Runs a verb; gives the exit status.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.verb {
        Verb::Build(options) => build::run(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Tidy => tidy(),
        Verb::Lab(options) => lab::run(&options),
    }
}

/// `cargo xenios tidy`.
fn tidy() -> Result<u8> {
    let findings = crate::tidy::run(&checkout()?)?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        return Ok(0);
    }
    Err(Error::new(format!("{} findings of style", findings.len()))
        .help("docs/style.md has the rules"))
}
