//! `cargo xenios bench executor`: what tasks and timers cost.
//!
//! First on the host, beside tokio's current-thread executor: how long it takes on this machine.
//! Then in a guest in counted time, where every instruction takes 2 ns: how much there is to do.

use super::{LIMIT, lab_options};
use crate::cli;
use crate::cmd::build;
use crate::workspace::{cargo, checkout};
use qemu_xen_tests::xl::Config;
use qemu_xen_tests::{Context, Error, Lab, Progress, Result};
use std::process::Command;
use std::time::Duration;

/// The kernel that measures itself.
const KERNEL: &str = "exec-bench";
/// Its memory: a hundred thousand tasks live in it.
const MEMORY_MIB: u32 = 128;

/// Measures it.
pub fn run(options: &cli::Bench) -> Result<u8> {
    on_the_host()?;
    let lines = in_a_guest(options)?;
    println!("\nin a guest, counted time (2 ns an instruction)");
    for (title, figure) in lines.iter().filter_map(|line| line.rsplit_once(": ")) {
        println!("{title:<40} {figure:>10}");
    }
    Ok(0)
}

fn on_the_host() -> Result<()> {
    let mut command = Command::new(cargo());
    command.args(["bench", "--quiet", "--package", "libos", "--bench", "executor"]);
    let status = command.current_dir(checkout()?).status().doing(|| "run cargo".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new("the benchmark on the host failed").help("the messages above say why"))
}

/// The lines that the kernel prints.
fn in_a_guest(options: &cli::Bench) -> Result<Vec<String>> {
    let built = build::build(KERNEL, &options.profile)?;
    let progress = Progress::new();
    let lab = Lab::boot(&lab_options(&built.app, MEMORY_MIB), &progress)?;
    progress.step("measuring in a guest");
    let kernel = lab.send(&built.image, "exec-bench.xen")?;
    let name = lab.fresh_name(KERNEL);
    let domain = lab.create(&Config::new(&name, &kernel, MEMORY_MIB))?;
    let ended = lab.wait_end(&domain, LIMIT)?;
    std::thread::sleep(Duration::from_millis(500));
    let console = lab.console_text(&name);
    progress.end();
    if ended.is_none() || !console.contains("verdict: success") {
        return Err(Error::new(format!("the benchmark did not end well:\n{console}")));
    }
    Ok(figures(&console))
}

/// The lines with figures on a console.
fn figures(console: &str) -> Vec<String> {
    let lines = console.lines().map(str::trim_end);
    lines.filter_map(|line| line.strip_prefix("bench: ")).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_figures() {
        let console = "hello\r\nbench: wake: 120 ns\r\nbench:   of two: 9 ns\nverdict: success\n";
        assert_eq!(figures(console), ["wake: 120 ns", "  of two: 9 ns"]);
    }
}
