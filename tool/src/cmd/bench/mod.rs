//! `cargo xenios bench`: figures, to be compared and never asserted.

mod boot;
mod executor;

use crate::cli;
use qemu_xen_tests::Result;

/// The verb.
pub fn run(options: &cli::Bench) -> Result<u8> {
    match options.what {
        cli::BenchWhat::Boot => boot::run(options),
        cli::BenchWhat::Executor => executor::run(options),
    }
}
