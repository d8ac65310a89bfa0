//! `cargo xenios bench heap`: what the heap's checks cost.
//!
//! The kernel `heap-cost` runs the same steps on the checking heap and on the bare allocator below
//! it, and prints the ticks of each. In counted time a tick is 1 ns, half an instruction.

use super::{LIMIT, lab_options};
use crate::cli;
use crate::cmd::build;
use qemu_xen_tests::runner::exit_status;
use qemu_xen_tests::xl::Config;
use qemu_xen_tests::{Error, Lab, Progress, Result};

/// The kernel that measures.
const KERNEL: &str = "heap-cost";
/// The guest's memory in MiB: room for its two arenas.
const MEMORY_MIB: u32 = 32;
/// Ticks that one instruction takes in counted time.
const TICKS_AN_INSTRUCTION: f64 = 2.0;

/// One kind of work: how many operations, and the ticks they took.
#[derive(Debug, PartialEq)]
struct Work<'a> {
    name: &'a str,
    operations: f64,
    bare_ticks: f64,
    checked_ticks: f64,
}

/// The verb's part.
pub fn run(options: &cli::Bench) -> Result<u8> {
    let built = build::build(KERNEL, &options.profile)?;
    let progress = Progress::new();
    let lab = Lab::boot(&lab_options(&built.app, MEMORY_MIB), &progress)?;
    let kernel = lab.send(&built.image, &format!("{KERNEL}.xen"))?;
    progress.step("allocating and freeing");
    let domain = lab.create(&Config::new(KERNEL, &kernel, MEMORY_MIB))?;
    let status = lab.wait_for_line(&domain, LIMIT, |line| exit_status(line).is_some())?;
    progress.end();
    let text = lab.console_text(KERNEL);
    let works: Vec<Work<'_>> = text.lines().filter_map(work).collect();
    if exit_status(&status) != Some(0) || works.is_empty() {
        return Err(Error::new(format!("the measurement failed:\n{text}")));
    }
    println!("instructions an operation, in counted time");
    println!("  {:<34} {:>8} {:>8} {:>6}", "", "talc", "checked", "ratio");
    for work in works {
        let each = |ticks: f64| ticks / work.operations / TICKS_AN_INSTRUCTION;
        let (bare, checked) = (each(work.bare_ticks), each(work.checked_ticks));
        if work.bare_ticks > 0.0 {
            println!("  {:<34} {bare:>8.0} {checked:>8.0} {:>6.1}", work.name, checked / bare);
        } else {
            println!("  {:<34} {:>8} {checked:>8.0}", work.name, "");
        }
    }
    Ok(0)
}

/// Reads a line such as `work: 1000 operations, 2000 ticks bare, 3000 ticks checked: NAME`.
fn work(line: &str) -> Option<Work<'_>> {
    let (numbers, name) = line.trim().strip_prefix("work: ")?.split_once(": ")?;
    let mut parts = numbers.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    let mut next = || parts.next().flatten();
    let (operations, bare_ticks, checked_ticks) = (next()?, next()?, next()?);
    Some(Work { name, operations, bare_ticks, checked_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line() {
        let line = "work: 10 operations, 200 ticks bare, 300 ticks checked: a pair: 64 bytes\r";
        let expected = Work {
            name: "a pair: 64 bytes",
            operations: 10.0,
            bare_ticks: 200.0,
            checked_ticks: 300.0,
        };
        assert_eq!(work(line), Some(expected));
        assert_eq!(work("work: ten"), None);
    }
}
