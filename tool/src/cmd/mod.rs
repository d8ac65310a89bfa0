//! One module a verb.

pub mod build;
mod lab;
mod run;

use crate::cli::{Cli, Verb};
use qemu_xen_tests::Result;

/// Runs a verb; gives the exit status.
pub fn run(cli: Cli) -> Result<u8> {
    match cli.verb {
        Verb::Build(options) => build::run(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Lab(options) => lab::run(&options),
    }
}
