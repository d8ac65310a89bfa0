//! The suite: every test kernel, how it is started, and what it is expected to do.

use crate::runner::{Drive, Expect, RunLog, Test};
use crate::suite_apps as apps;
use crate::suite_console as console;
use crate::suite_devices as devices;
use crate::suite_life as life;
use std::time::Duration;

/// The package that the test kernels are programs of.
pub const PACKAGE: &str = "kernels";

/// All tests, in the order they run in.
pub const TESTS: &[Test] = &[
    // The boot path.
    memory("memory-2", 2, "--expect-mib 2"),
    memory("memory-4", 4, "--expect-mib 4"),
    memory("memory-32", 32, "--expect-mib 32"),
    memory("memory-512", 512, "--expect-mib 512"),
    memory("memory-5000", 5000, "--expect-mib 5000"),
    Test::new("page-tables"),
    Test { memory_mib: 5000, kernel: "page-tables", ..Test::new("page-tables-5000") },
    Test::new("sse"),
    Test::new("mem-functions"),
    Test { cmdline: LONG_LINE, ..Test::new("boot-line") },
    Test { ramdisk: Some(ramdisk), cmdline: "--bytes 1000003", ..Test::new("ramdisk") },
    Test { boots: 2, check: Some(canaries_differ), ..Test::new("canary") },
    Test { vcpus: 2, kernel: "hello", expect: Expect::Exit(0), ..Test::new("two-vcpus") },
    // The console.
    Test { check: Some(console::nothing_lost_uncounted), ..Test::new("console-flood") },
    Test {
        drive: Some(console::type_and_read_back),
        cmdline: console::ECHO_LINE,
        limit: Duration::from_secs(60),
        ..Test::new("console-echo")
    },
    // Tasks, timers, randomness.
    Test { memory_mib: 64, ..Test::new("tasks") },
    Test::new("timers"),
    Test {
        check: Some(slow_poll_is_named),
        limit: Duration::from_secs(60),
        ..Test::new("fairness")
    },
    Test { boots: 2, check: Some(words_differ), ..Test::new("rng") },
    Test {
        kernel: "rng",
        cmdline: "--seeded no",
        config: &["cpuid = \"host,rdrand=0,rdseed=0\""],
        ..Test::new("rng-unseeded")
    },
    // The life cycle, driven by xl.
    life("life-shutdown", life::shutdown),
    Test { expect: Expect::Ends(1), ..life("life-reboot", life::reboot) },
    Test {
        cmdline: "--until never",
        expect: Expect::Ends(0),
        ..life("life-unheard", life::shutdown_unheard)
    },
    Test {
        cmdline: "--until late --grace 1",
        expect: Expect::Ends(0),
        ..life("life-grace", life::shutdown_unheard)
    },
    Test { expect: Expect::Ends(0), ..life("life-sysrq", life::sysrq) },
    Test {
        expect: Expect::Crash { report: &["xl sysrq asked for a crash", "backtrace:"] },
        ..life("life-sysrq-crash", life::sysrq_crash)
    },
    life("life-save", life::save_restore),
    Test {
        cmdline: life::LOAD_LINE,
        memory_mib: 8,
        limit: Duration::from_secs(240),
        ..life("life-save-rounds", life::save_restore_rounds)
    },
    Test { expect: Expect::Driven, ..life("life-checkpoint", life::checkpoint) },
    Test { expect: Expect::Driven, ..life("life-migrate", life::migrate) },
    life("life-pause", life::pause),
    Test { memory_mib: 64, ..life("life-balloon", life::balloon) },
    life("life-balloon-far", life::balloon_too_far),
    Test {
        memory_mib: 32,
        config: &["maxmem = 256"],
        ..life("life-populate-on-demand", life::shutdown)
    },
    life("life-store-stopped", life::store_stopped),
    Test { vcpus: 2, ..life("life-two-vcpus", life::vcpus) },
    Test::new("idle"),
    Test {
        expect: Expect::Driven,
        check: Some(life::secrets_differ),
        ..driven("reseed", life::restore_twice)
    },
    // Other domains, and devices that come and go.
    driven("peer", devices::destroyed_peer),
    driven("hotplug", devices::hotplug),
    // The apps.
    Test { kernel: "clock", cmdline: "--ticks 3", ..app("clock-ticks", None) },
    Test { kernel: "clock", ..app("clock-save", Some(apps::clock_goes_on)) },
    Test { kernel: "store", ..app("store-shell", Some(apps::shell)) },
    // Grants, by both layouts of the table.
    grants("grants", "grants", "--version 1 --frames 4", &["max_grant_frames = 4"]),
    grants("grants-v2", "grants", "--version 2 --frames 10", GRANTS_V2),
    grants("grant-copy", "grant-copy", "--version 1", &[]),
    grants("grant-copy-v2", "grant-copy", "--version 2", GRANTS_V2),
    grants("foreign-map", "foreign-map", "--version 1", &[]),
    grants("foreign-map-v2", "foreign-map", "--version 2", GRANTS_V2),
    // What must not be survived.
    crash("write-text", &["write of text", "backtrace:"]),
    crash("write-rodata", &["write of rodata"]),
    crash("execute-data", &["execute of data"]),
    crash("execute-heap", &["execute of heap memory"]),
    crash("execute-stack", &["execute of main stack"]),
    crash("read-null", &["null pointer: read at 0x8"]),
    crash("jump-null", &["jump to null"]),
    crash("stack-smash", &["stack smashed"]),
    crash("stack-overflow", &["stack overflow", "in the main stack's guard"]),
    crash("ist-overflow", &["stack overflow", "in the fault stack's guard"]),
    crash("heap-overflow", &["heap overflow: written past the 24-byte block"]),
    crash("heap-underflow", &["heap underflow: written before the 24-byte block"]),
    crash("double-free", &["double free"]),
    crash("use-after-free", &["0xdededededededede", "poison of freed heap memory"]),
    crash("wild-free", &["wild free: no block begins at"]),
    crash("out-of-memory", &["out of memory: 1048576 bytes asked", "in the largest piece"]),
    crash("panics", &["panics.rs:8", "the reason is 42"]),
    crash("divide-error", &["divide error (vector 0)"]),
    crash("invalid-opcode", &["invalid opcode (vector 6)"]),
];

/// A kernel that must die with a report that has all of these texts.
const fn crash(name: &'static str, report: &'static [&'static str]) -> Test {
    Test { expect: Expect::Crash { report }, ..Test::new(name) }
}

/// The kernel `life`, driven by xl.
const fn life(name: &'static str, drive: Drive) -> Test {
    let limit = Duration::from_secs(60);
    Test { kernel: "life", drive: Some(drive), limit, ..Test::new(name) }
}

/// A kernel that is driven by xl.
const fn driven(name: &'static str, drive: Drive) -> Test {
    Test { kernel: name, ..life(name, drive) }
}

/// An app that ends with status 0.
const fn app(name: &'static str, drive: Option<Drive>) -> Test {
    let limit = Duration::from_secs(60);
    Test { expect: Expect::Exit(0), drive, limit, ..Test::new(name) }
}

/// A kernel about grants, with lines of the domain's configuration.
const fn grants(
    name: &'static str,
    kernel: &'static str,
    cmdline: &'static str,
    config: &'static [&'static str],
) -> Test {
    Test { kernel, cmdline, config, ..Test::new(name) }
}

/// More than eight frames, so that there are two frames of status words.
const GRANTS_V2: &[&str] = &["max_grant_version = 2", "max_grant_frames = 10"];

/// The same kernel in domains of different sizes.
const fn memory(name: &'static str, memory_mib: u32, cmdline: &'static str) -> Test {
    let limit = Duration::from_secs(90);
    Test { kernel: "memory", memory_mib, cmdline, limit, ..Test::new(name) }
}

/// Words in [`LONG_LINE`].
const WORDS: usize = 600;
/// What comes before the words.
const LONG_LINE_HEAD: &[u8; 12] = b"--words 600 ";
/// A boot line of 4 kB: words that count up.
const LONG_LINE: &str = match str::from_utf8(&LONG_LINE_BYTES) {
    Ok(line) => line,
    Err(_) => panic!("ASCII"),
};
const LONG_LINE_BYTES: [u8; LONG_LINE_HEAD.len() + 7 * WORDS] = {
    let mut bytes = [b' '; LONG_LINE_HEAD.len() + 7 * WORDS];
    let mut i = 0;
    while i < LONG_LINE_HEAD.len() {
        bytes[i] = LONG_LINE_HEAD[i];
        i += 1;
    }
    let mut word = 0;
    while word < WORDS {
        let at = LONG_LINE_HEAD.len() + 7 * word;
        bytes[at] = b'w';
        let (mut digit, mut rest) = (5, word);
        while digit > 0 {
            bytes[at + digit] = b'0' + (rest % 10) as u8;
            rest /= 10;
            digit -= 1;
        }
        word += 1;
    }
    bytes
};

/// The pattern that the kernel `ramdisk` expects.
fn ramdisk() -> Vec<u8> {
    (0..1_000_003usize).map(|i| (i * i + i / 256) as u8).collect()
}

fn canaries_differ(logs: &[RunLog]) -> Result<(), String> {
    lines_differ(logs, "canary ")
}

fn words_differ(logs: &[RunLog]) -> Result<(), String> {
    lines_differ(logs, "word ")
}

/// Two boots print different lines that begin like this.
fn lines_differ(logs: &[RunLog], start: &str) -> Result<(), String> {
    let lines = |log: &RunLog| log.console.lines().find(|l| l.starts_with(start)).map(String::from);
    let lines: Vec<String> = logs.iter().filter_map(lines).collect();
    match &lines[..] {
        [first, second] if first != second => Ok(()),
        _ => Err(format!("two boots have the lines {lines:?}")),
    }
}

/// The task that did not yield is named. Others may be: a lab under load stops the domain at times.
fn slow_poll_is_named(logs: &[RunLog]) -> Result<(), String> {
    let log = logs.first().ok_or("no log")?;
    let named = |line: &str| line.contains("WARN") && line.contains("task dawdler ran ");
    let found = log.console.lines().map(str::trim_end).any(named);
    if found { Ok(()) } else { Err("the task that did not yield is not named".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = TESTS.iter().map(|test| test.name).collect();
        assert_eq!(names.len(), TESTS.len());
    }

    #[test]
    fn the_long_line_is_long() {
        assert!(LONG_LINE.len() > 4096);
        assert!(
            LONG_LINE.starts_with("--words 600 w00000 w00001 ") && LONG_LINE.contains(" w00599")
        );
    }
}
