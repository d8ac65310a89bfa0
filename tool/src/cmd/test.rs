//! `cargo xenios test`: everything that can fail, in one go.
//!
//! The host part is formatting, lints, the style checks and the host tests; the Xen part is the
//! suite of test kernels, in one boot of the lab.

use super::build;
use crate::cli;
use crate::kernel;
use crate::tidy;
use crate::workspace::{App, all_apps, cargo, checkout};
use qemu_xen_tests::runner::{self, Summary, Test};
use qemu_xen_tests::suite::TESTS;
use qemu_xen_tests::{Context, Error, LabOptions, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The verb.
pub fn run(options: &cli::Test) -> Result<u8> {
    let mut summary = Summary::default();
    let filter = options.filter.as_deref();
    if !options.xen_only {
        summary.add(host(filter)?);
    }
    if !options.host_only {
        summary.add(xen(filter, options)?);
    }
    println!("{summary}");
    Ok(u8::from(summary.failed > 0))
}

/// The host part. With a filter, only tests are run, not the checks of everything.
fn host(filter: Option<&str>) -> Result<Summary> {
    let mut summary = Summary::default();
    if filter.is_none() {
        summary.add(step("formatting", cargo_here(&["fmt", "--all", "--check"])?)?);
        let lints = ["clippy", "--quiet", "--all-targets", "--", "-Dwarnings"];
        summary.add(step("lints of the host's code", cargo_here(&lints)?)?);
        let images = images()?;
        summary.add(match kernel::lint(&images) {
            Ok(()) => passed("lints of the images"),
            Err(error) => failed("lints of the images", &error),
        });
        summary.add(match tidy::run(&checkout()?) {
            Ok(findings) if findings.is_empty() => passed("style"),
            Ok(findings) => {
                for finding in &findings {
                    println!("  {finding}");
                }
                failed("style", &Error::new(format!("{} findings", findings.len())))
            }
            Err(error) => failed("style", &error),
        });
    }
    summary.add(host_tests(filter)?);
    Ok(summary)
}

fn passed(what: &str) -> Summary {
    println!("test {what:<32} success");
    Summary { passed: 1, ..Summary::default() }
}

fn failed(what: &str, why: &Error) -> Summary {
    println!("test {what:<32} failure: {why}");
    Summary { failed: 1, ..Summary::default() }
}

/// A cargo command in the checkout.
fn cargo_here(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(cargo());
    command.args(arguments).current_dir(checkout()?).stdin(Stdio::null());
    Ok(command)
}

fn step(what: &str, mut command: Command) -> Result<Summary> {
    let status = command.status().doing(|| "run cargo".into())?;
    if status.success() {
        return Ok(passed(what));
    }
    Ok(failed(what, &Error::new("the messages above say why")))
}

/// Runs `cargo test`, shows what it prints, and adds up its numbers.
fn host_tests(filter: Option<&str>) -> Result<Summary> {
    let mut command = cargo_here(&["test", "--quiet", "--no-fail-fast"])?;
    command.args(filter).stdout(Stdio::piped());
    let mut child = command.spawn().doing(|| "run cargo".into())?;
    let mut summary = Summary::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            if let Some(result) = test_result(&line) {
                summary.add(result);
            } else if !line.is_empty() && !line.starts_with("running ") {
                println!("{line}");
            }
        }
    }
    let status = child.wait().doing(|| "wait for cargo".into())?;
    let what = format!("host tests: {}", summary.passed);
    if status.success() {
        println!("test {what:<32} success");
    } else if summary.failed == 0 {
        summary.add(failed(&what, &Error::new("the host tests did not build")));
    }
    Ok(summary)
}

/// Reads a line like `test result: ok. 5 passed; 0 failed; 1 ignored; ...`.
fn test_result(line: &str) -> Option<Summary> {
    let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let mut summary = Summary::default();
    for part in numbers.split(';') {
        let Some((number, word)) = part.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => summary.passed = number,
            "failed" => summary.failed = number,
            "ignored" => summary.skipped = number,
            _ => {}
        }
    }
    Some(summary)
}

/// The programs that become images: the apps and the test kernels.
fn images() -> Result<Vec<App>> {
    let root = checkout()?;
    let folders = [root.join("apps"), root.join("qemu-xen-tests").join("kernels")];
    let mut apps = all_apps(&root)?;
    apps.retain(|app| folders.iter().any(|folder| app.manifest.starts_with(folder)));
    Ok(apps)
}

/// The Xen part: builds all images of the suite, boots the lab and runs it.
fn xen(filter: Option<&str>, options: &cli::Test) -> Result<Summary> {
    let tests: Vec<Test> = TESTS
        .iter()
        .filter(|test| filter.is_none_or(|text| test.name.contains(text)))
        .copied()
        .collect();
    if tests.is_empty() {
        return Ok(Summary::default());
    }
    let mut wanted = Vec::new();
    let all = images()?;
    for test in &tests {
        let app = all.iter().find(|app| app.name == test.kernel).ok_or_else(|| {
            Error::new(format!("the test {} names no kernel: {}", test.name, test.kernel))
                .help("the list is in qemu-xen-tests/src/suite.rs")
        })?;
        if !wanted.contains(app) {
            wanted.push(app.clone());
        }
    }
    let built = build::build_all(wanted, &options.profile)?;
    let images: BTreeMap<String, PathBuf> =
        built.into_iter().map(|built| (built.app.name, built.image)).collect();
    let image = |name: &str| {
        images.get(name).cloned().ok_or_else(|| Error::new(format!("{name} was not built")))
    };
    let log = checkout()?.join("target").join("xenios").join("test-lab.log");
    let lab = LabOptions { console_log: Some(log), ..options.machine.lab_options() };
    runner::run(&tests, &image, &lab)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_numbers_of_cargo_test() {
        let line = "test result: ok. 5 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; \
                    finished in 0.00s";
        let summary = test_result(line).unwrap();
        assert_eq!((summary.passed, summary.failed, summary.skipped), (5, 1, 2));
        assert_eq!(test_result("running 3 tests"), None);
    }
}
