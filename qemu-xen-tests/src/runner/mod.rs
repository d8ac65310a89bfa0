//! Runs many test kernels in one boot of the lab.
//!
//! A test is a kernel, how to start it, and what it is expected to do; the list is in
//! [`crate::suite`]. Tests run one after the other: dom0 has one CPU, and creating a domain keeps
//! it busy. If a test takes the whole lab down, that test has failed and the next one gets a new
//! lab.

mod verdict;

pub use verdict::{EXIT_STATUS, Expect, Outcome, RunLog, Verdict, exit_status};

use crate::lab::{Domain, Ended, Follow};
use crate::xl::Config;
use crate::{Lab, LabOptions, Progress, Result};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Work in dom0 while the guest of a test runs.
pub type Drive = fn(&Lab, &Domain) -> std::result::Result<(), String>;

/// A look at the logs of all boots of a test.
pub type Check = fn(&[RunLog]) -> std::result::Result<(), String>;

/// A test. Take [`Test::new`] and change what is different.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Its name, unique in the suite.
    pub name: &'static str,
    /// The kernel: a program of the package `kernels`, or an app.
    pub kernel: &'static str,
    /// The guest's memory.
    pub memory_mib: u32,
    /// The guest's virtual CPUs.
    pub vcpus: u32,
    /// The boot line.
    pub cmdline: &'static str,
    /// Makes the boot line instead, where it is not a constant.
    pub make_cmdline: Option<fn() -> String>,
    /// Makes the file that becomes module 0.
    pub ramdisk: Option<fn() -> Vec<u8>>,
    /// Further lines of the configuration, as `vif = [ "bridge=xenbr0" ]`.
    pub config: &'static [&'static str],
    /// A script for dom0 before the guest is created.
    pub prepare: Option<&'static str>,
    /// How long the guest may run.
    pub limit: Duration,
    /// How often the kernel is booted.
    pub boots: u32,
    /// What it is expected to do, at every boot.
    pub expect: Expect,
    /// What happens in dom0 meanwhile.
    pub drive: Option<Drive>,
    /// A look at all boots together.
    pub check: Option<Check>,
}

impl Test {
    /// A kernel of the same name that is expected to succeed in one boot with 32 MiB.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            kernel: name,
            memory_mib: 32,
            vcpus: 1,
            cmdline: "",
            make_cmdline: None,
            ramdisk: None,
            config: &[],
            prepare: None,
            limit: Duration::from_secs(20),
            boots: 1,
            expect: Expect::Success,
            drive: None,
            check: None,
        }
    }
}

/// How many tests ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not tested.
    pub skipped: usize,
}

impl Summary {
    /// Adds the numbers of another part.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts one outcome.
    pub fn count(&mut self, outcome: &Outcome) {
        if outcome.passed() {
            self.passed += 1;
        } else if outcome.skipped() {
            self.skipped += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// How often a lab may die before the rest of the suite is given up.
const LAB_DEATHS: u32 = 3;
/// How many lines of a console are shown for a test that failed.
const TAIL: usize = 40;
/// How long the console may lag behind the guest's end.
const LAG: Duration = Duration::from_millis(400);

/// From this size on, a guest's memory has to be free before the next one is created.
const LARGE_MIB: u32 = 256;

/// Runs tests; `image` gives the bootable file of a kernel. Prints a line for each.
///
/// # Errors
/// When no lab comes up. A test that goes wrong is counted, not an error.
pub fn run(
    tests: &[Test],
    image: &dyn Fn(&str) -> Result<PathBuf>,
    options: &LabOptions,
) -> Result<Summary> {
    let mut summary = Summary::default();
    let largest_mib = tests.iter().map(|test| test.memory_mib).max().unwrap_or(0);
    let options = &options.clone().with_room_for(largest_mib);
    let mut lab = Some(Lab::boot(options, &Progress::new())?);
    let mut deaths = 0;
    for (done, test) in tests.iter().enumerate() {
        let Some(running) = &lab else { break };
        let started = Instant::now();
        let (outcome, logs) = run_test(running, test, image);
        summary.count(&outcome);
        report(test, &outcome, &logs, started.elapsed());
        if !running.alive() {
            deaths += 1;
            lab = None;
            if deaths >= LAB_DEATHS {
                println!("the lab died {deaths} times: the rest of the suite is given up");
                summary.failed += tests.len() - done - 1;
            } else if done + 1 < tests.len() {
                lab = Some(Lab::boot(options, &Progress::new())?);
            }
        }
    }
    Ok(summary)
}

fn report(test: &Test, outcome: &Outcome, logs: &[RunLog], time: Duration) {
    println!("test {:<32} {outcome} ({:.1} s)", test.name, time.as_secs_f64());
    if outcome.passed() || outcome.skipped() {
        return;
    }
    for (boot, log) in logs.iter().enumerate() {
        let boot = if logs.len() > 1 { format!(" of boot {}", boot + 1) } else { String::new() };
        for (title, text) in [("the console", &log.console), ("Xen's log", &log.xen)] {
            let lines: Vec<&str> = text.lines().filter(|line| !is_noise(line)).collect();
            println!("  the end of {title}{boot}:");
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                println!("  | {line}");
            }
        }
    }
}

/// What Xen says about every guest at its start.
fn is_noise(line: &str) -> bool {
    line.starts_with("(XEN) HVM") && (line.contains(" save: ") || line.contains(" restore: "))
}

/// Runs one test: all its boots, then its look at them.
fn run_test(
    lab: &Lab,
    test: &Test,
    image: &dyn Fn(&str) -> Result<PathBuf>,
) -> (Outcome, Vec<RunLog>) {
    let mut logs = Vec::new();
    if let Some(script) = test.prepare
        && let Err(error) = lab.sh_ok(script, Duration::from_secs(60))
    {
        return (Outcome::Error(error.to_string()), logs);
    }
    for _ in 0..test.boots {
        let log = match boot(lab, test, image) {
            Ok(Booted { log, driven: Ok(()) }) => log,
            Ok(Booted { log, driven: Err(why) }) => {
                // The kernel's own word says more than the driver's, if it is a bad one.
                let outcome = match log.outcome(test.expect) {
                    Outcome::Success | Outcome::Timeout(_) => Outcome::Failure(why),
                    other => other,
                };
                logs.push(log);
                return (outcome, logs);
            }
            Err(error) => return (Outcome::Error(error.to_string()), logs),
        };
        let outcome = log.outcome(test.expect);
        logs.push(log);
        if !outcome.passed() {
            return (outcome, logs);
        }
    }
    match test.check.map(|check| check(&logs)) {
        Some(Err(why)) => (Outcome::Failure(why), logs),
        _ => (Outcome::Success, logs),
    }
}

/// One boot of a test's kernel.
struct Booted {
    log: RunLog,
    driven: std::result::Result<(), String>,
}

fn boot(lab: &Lab, test: &Test, image: &dyn Fn(&str) -> Result<PathBuf>) -> Result<Booted> {
    let inside = format!("{}.xen", test.kernel);
    if !lab.share().join(&inside).exists() {
        lab.send(&image(test.kernel)?, &inside)?;
    }
    let name = lab.fresh_name(test.name);
    let mut config = Config::new(&name, &format!("/share/{inside}"), test.memory_mib);
    config.vcpus = test.vcpus;
    config.cmdline = test.make_cmdline.map_or_else(|| test.cmdline.into(), |make| make());
    config.more = test.config.iter().map(ToString::to_string).collect();
    if let Some(make) = test.ramdisk {
        config.ramdisk = Some(lab.put(&format!("{}.ramdisk", test.name), &make())?);
    }
    let xen_before = lab.xen_log().len();
    // xl destroys the domain by itself when it ends: that saves a command.
    let domain = lab.create(&config)?;
    let (driven, ended) = std::thread::scope(|scope| {
        let driver = scope.spawn(|| test.drive.map_or(Ok(()), |drive| drive(lab, &domain)));
        if test.expect == Expect::Driven {
            let driven = driver.join().unwrap_or_else(|_| Err("the driver panicked".into()));
            return (driven, lab.destroy(&domain).map(|()| None));
        }
        let ended = lab.wait_end(&domain, test.limit);
        if !matches!(ended, Ok(Some(_))) {
            // The driver may wait for a guest that will never answer.
            let _ = lab.destroy(&domain);
        }
        (driver.join().unwrap_or_else(|_| Err("the driver panicked".into())), ended)
    });
    let ended = ended?;
    let console = whole_console(lab, &domain, ended);
    if test.memory_mib >= LARGE_MIB && ended.is_some() {
        // The next guest may need the same memory; if it is not free in time, xl says so.
        lab.wait_gone(&domain, Duration::from_secs(20));
    }
    let xen = lab.xen_log().get(xen_before..).unwrap_or_default().to_string();
    Ok(Booted { log: RunLog { console, xen, ended }, driven })
}

/// The console's text, once the verdict is in it or nothing more comes.
fn whole_console(lab: &Lab, domain: &Domain, ended: Option<Ended>) -> String {
    if ended.is_some() {
        let mut follow = Follow::new(&lab.console_log(&domain.name));
        // A crash has no verdict to wait for, but its report may lag as well.
        let limit = if ended == Some(Ended::Shutdown(0)) { LAG } else { LAG / 2 };
        follow.wait_for(Instant::now() + limit, |line| {
            line.starts_with("verdict: ") || line.starts_with(EXIT_STATUS)
        });
    }
    // A domain that was migrated has this name until it has arrived.
    lab.console_text(&domain.name) + &lab.console_text(&format!("{}--incoming", domain.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up() {
        let mut summary = Summary::default();
        summary.count(&Outcome::Success);
        summary.count(&Outcome::Timeout("x".into()));
        assert_eq!(summary.to_string(), "1 passed, 1 failed");
        summary.count(&Outcome::Skip("x".into()));
        summary.add(Summary { passed: 2, failed: 0, skipped: 0 });
        assert_eq!(summary.to_string(), "3 passed, 1 failed, 1 skipped");
    }
}
