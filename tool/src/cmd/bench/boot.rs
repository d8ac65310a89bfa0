//! `cargo xenios bench boot`: how small and how quick a guest is.
//!
//! All times are taken inside dom0. They include what dom0 and Xen do meanwhile.

use super::{LIMIT, lab_options};
use crate::cli;
use crate::cmd::build;
use qemu_xen_tests::lab::Ended;
use qemu_xen_tests::xl::Config;
use qemu_xen_tests::{Error, Lab, Progress, Result};
use std::time::Duration;

/// Sizes of memory that are tried, in MiB.
const MEMORY: &[u32] = &[1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64];
/// Sizes of memory that a start is measured with, to see how its time grows.
const GROWTH: &[u32] = &[512, 4096];

/// The script that takes the times of one start, in microseconds, and shows the console's lines.
///
/// The reader waits at the console before the guest runs, so that it costs nothing meanwhile.
const MEASURE: &str = r#"
before=$EPOCHREALTIME
xl create -q -p "$cfg" || exit 1
created=$EPOCHREALTIME
tty=$(xenstore-read /local/domain/$(xl domid "$name")/console/tty)
exec 5< "$tty"
(
    first=
    while read -r -t 60 line <&5; do
        [ -n "$first" ] || first=$EPOCHREALTIME
        echo "$line"
        case $line in "xenios: exit status"*) break ;; esac
    done
    echo "times: $first"
) > /run/bench &
sleep 0.5
start=$EPOCHREALTIME
xl unpause "$name"
wait
cat /run/bench
echo "marks: $before $created $start"
xl destroy "$name"
"#;

/// A figure with what hello has to reach, and what Solo5's hello in C reaches in the same lab.
struct Figure {
    title: &'static str,
    unit: &'static str,
    goal: f64,
    solo5: Option<f64>,
    of: fn(&Sample) -> Option<f64>,
}

/// The times of a start.
const TIMES: &[Figure] = &[
    Figure {
        title: "xl create -p",
        unit: "ms",
        goal: 109.0,
        solo5: Some(109.0),
        of: |sample| Some(sample.create),
    },
    Figure {
        title: "unpause to the first line",
        unit: "ms",
        goal: 65.0,
        solo5: Some(65.5),
        of: |sample| Some(sample.first_line),
    },
    Figure {
        title: "first instruction to its line",
        unit: "us",
        goal: 1000.0,
        solo5: None,
        of: |sample| sample.own,
    },
];

/// The verb.
pub fn run(options: &cli::Bench) -> Result<u8> {
    let built = build::build(&options.app, &options.profile)?;
    let progress = Progress::new();
    let largest = GROWTH.iter().copied().max().unwrap_or(0).max(options.memory);
    let lab = Lab::boot(&lab_options(&built.app, largest), &progress)?;
    let kernel = lab.send(&built.image, &format!("{}.xen", built.app.name))?;
    progress.step("looking for the smallest memory");
    let smallest = smallest_memory(&lab, &kernel)?;
    let memory = options.memory.max(smallest);
    let repeat = options.repeat.max(1);
    let mut samples = Vec::new();
    for number in 1..=repeat {
        progress.step(format!("start {number} of {repeat}"));
        samples.push(measure(&lab, &kernel, memory)?);
    }
    let mut growth = Vec::new();
    for larger in GROWTH.iter().filter(|larger| **larger > memory) {
        progress.step(format!("a start with {larger} MiB"));
        growth.push((*larger, measure(&lab, &kernel, *larger)?));
    }
    progress.end();
    // What is to be reached is said for hello as it is shipped.
    let judged = options.app == "hello" && !options.profile.dev && !options.profile.hardened;
    println!("{} in counted time, {repeat} starts with {memory} MiB", options.app);
    let mut missed = 0;
    let mut line = |title, unit, values: &[f64], goal, solo5| {
        let Some((middle, low, high)) = spread(values) else { return };
        let range = format!("{middle:.1} {unit} ({low:.1} to {high:.1})");
        let value = if values.len() > 1 { range } else { format!("{middle:.0} {unit}") };
        let verdict = if judged { verdict(middle, goal, solo5) } else { String::new() };
        missed += u32::from(judged && middle > goal);
        println!("  {title:<30} {value:<30} {verdict}");
    };
    line("image size", "bytes", &[built.image_bytes as f64], 65_536.0, Some(66_912.0));
    line("smallest memory", "MiB", &[f64::from(smallest)], 2.0, Some(2.0));
    for figure in TIMES {
        let values: Vec<f64> = samples.iter().filter_map(figure.of).collect();
        line(figure.title, figure.unit, &values, figure.goal, figure.solo5);
    }
    for (memory, own) in growth.iter().filter_map(|(memory, sample)| Some((memory, sample.own?))) {
        println!("  {:<30} {own:.0} us", format!("the same with {memory} MiB"));
    }
    if judged && missed > 0 {
        return Err(Error::new(format!("{missed} figures are not reached"))
            .help("`cargo xenios size hello` shows what takes the bytes"));
    }
    Ok(0)
}

/// What is to be said about a figure that has an upper limit.
fn verdict(value: f64, goal: f64, solo5: Option<f64>) -> String {
    let word = if value > goal { "MISSED: at most" } else { "at most" };
    let solo5 = solo5.map(|solo5| format!("; Solo5's hello in C: {solo5}"));
    format!("{word} {goal}{}", solo5.unwrap_or_default())
}

/// The least memory that an image boots and ends well in.
fn smallest_memory(lab: &Lab, kernel: &str) -> Result<u32> {
    for memory in MEMORY {
        let name = lab.fresh_name("memory");
        // What does not fit is refused by xl, which is an answer too.
        let Ok(domain) = lab.create(&Config::new(&name, kernel, *memory)) else { continue };
        let ended = lab.wait_end(&domain, LIMIT)?;
        if ended.is_none() {
            lab.destroy(&domain)?;
        }
        std::thread::sleep(Duration::from_millis(200));
        let good = lab.console_text(&name).lines().any(|line| line == "xenios: exit status 0");
        if ended == Some(Ended::Shutdown(0)) && good {
            return Ok(*memory);
        }
    }
    Err(Error::new("the app does not end well with any size of memory")
        .help("see how it fails: cargo xenios run"))
}

/// One start, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    create: f64,
    first_line: f64,
    /// What the app says itself, in microseconds.
    own: Option<f64>,
}

fn measure(lab: &Lab, kernel: &str, memory: u32) -> Result<Sample> {
    let name = lab.fresh_name("bench");
    let config = Config::new(&name, kernel, memory).preserved();
    let file = lab.put(&format!("{name}.cfg"), config.text().as_bytes())?;
    // The toolstack's files are in dom0's page cache from the first start on; see the spread.
    let text = lab.sh_ok(&format!("name={name}; cfg={file}\n{MEASURE}"), LIMIT)?;
    sample(&text).ok_or_else(|| Error::new(format!("a start could not be measured:\n{text}")))
}

/// Reads the output of the script.
fn sample(text: &str) -> Option<Sample> {
    let numbers = |start: &str| -> Option<Vec<f64>> {
        let line = text.lines().find_map(|line| line.strip_prefix(start))?;
        line.split_whitespace().map(|word| word.parse().ok()).collect()
    };
    let marks = numbers("marks: ")?;
    let times = numbers("times: ")?;
    let ms = |from: f64, to: f64| (to - from) * 1000.0;
    let [before, created, start] = marks[..] else { return None };
    let [first] = times[..] else { return None };
    let own = text.lines().find_map(|line| line.split_once("first instruction to this line: "));
    let own = own.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    Some(Sample { create: ms(before, created), first_line: ms(start, first), own })
}

/// The one in the middle, the least and the greatest.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((*sorted.get(sorted.len() / 2)?, *sorted.first()?, *sorted.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_measurement() {
        let text = "Hello\nfirst instruction to this line: 812 us\nxenios: exit status 0\n\
                    times: 100.250000\nmarks: 99.0 99.1 100.2\n";
        let sample = sample(text).unwrap();
        assert!((sample.create - 100.0).abs() < 0.001);
        assert!((sample.first_line - 50.0).abs() < 0.001);
        assert_eq!(sample.own, Some(812.0));
        assert_eq!(super::sample("times: 1\n"), None);
    }

    #[test]
    fn a_limit_that_is_not_kept_is_named() {
        assert_eq!(verdict(65.0, 65.0, Some(65.5)), "at most 65; Solo5's hello in C: 65.5");
        assert_eq!(verdict(65.1, 65.0, None), "MISSED: at most 65");
    }

    #[test]
    fn spreads() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[9.0, 1.0, 3.0]), Some((3.0, 1.0, 9.0)));
    }
}
