//! One module a verb.

mod bench;
pub mod build;
mod doc;
mod lab;
mod new;
mod run;
mod size;
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
        Verb::New(options) => new::run(&options),
        Verb::Size(options) => size::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Doc(options) => doc::run(&options),
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
