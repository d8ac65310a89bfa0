//! `cargo xenios bench`: figures, to be compared.
//!
//! Times in a guest are taken in the lab's counted time: every instruction takes 2 ns of it, so the
//! figures hardly depend on the machine. They say nothing about caches or the cost of a real exit
//! to the hypervisor: they compare, and are no promise.

mod boot;
mod executor;
mod heap;

use crate::cli::{Bench, BenchWhat};
use crate::workspace::App;
use qemu_xen_tests::{LabOptions, Result};
use std::time::Duration;

/// The verb.
pub fn run(options: &Bench) -> Result<u8> {
    match options.what {
        BenchWhat::Boot => boot::run(options),
        BenchWhat::Executor => executor::run(options),
        BenchWhat::Heap => heap::run(options),
    }
}

/// How long a guest may run: counted time is slower than the clock on the wall.
const LIMIT: Duration = Duration::from_secs(300);

/// A lab in counted time, with room for a guest of this size.
fn lab_options(app: &App, largest_mib: u32) -> LabOptions {
    LabOptions {
        counted_time: true,
        boot_limit: Duration::from_secs(600),
        console_log: Some(app.output_directory().join("bench-lab.log")),
        ..LabOptions::default()
    }
    .with_room_for(largest_mib)
}
