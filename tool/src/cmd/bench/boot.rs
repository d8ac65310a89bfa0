//! `cargo xenios bench boot`: how small and how quick a guest is.
//!
//! All times are taken inside dom0, in the lab's counted time: every instruction takes 2 ns of it,
//! so the figures hardly depend on the machine. They include what dom0 and Xen do meanwhile, and
//! say nothing about caches or the cost of a real exit: they compare guests, and are no promise.

use crate::cli;
use crate::cmd::build;
use qemu_xen_tests::lab::Ended;
use qemu_xen_tests::xl::Config;
use qemu_xen_tests::{Error, Lab, LabOptions, Progress, Result};
use std::time::Duration;

/// Sizes of memory that are tried, in MiB.
const MEMORY: &[u32] = &[1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64];
/// Counted time runs slower than the clock on the wall.
const LIMIT: Duration = Duration::from_secs(120);

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
    echo "times: $first $EPOCHREALTIME"
) > /run/bench &
sleep 0.5
start=$EPOCHREALTIME
xl unpause "$name"
unpaused=$EPOCHREALTIME
wait
cat /run/bench
echo "marks: $before $created $start $unpaused"
xl destroy "$name"
"#;

/// Measures it.
pub fn run(options: &cli::Bench) -> Result<u8> {
    let built = build::build(&options.app, &options.profile)?;
    let progress = Progress::new();
    let lab_options = LabOptions {
        counted_time: true,
        boot_limit: Duration::from_secs(600),
        console_log: Some(built.app.output_directory().join("bench-lab.log")),
        ..LabOptions::default()
    };
    let lab = Lab::boot(&lab_options, &progress)?;
    let kernel = lab.send(&built.image, &format!("{}.xen", built.app.name))?;
    progress.step("looking for the smallest memory");
    let smallest = smallest_memory(&lab, &kernel)?;
    let mut samples = Vec::new();
    for number in 1..=options.repeat.max(1) {
        progress.step(format!("start {number} of {}", options.repeat.max(1)));
        samples.push(measure(&lab, &kernel, options.memory.max(smallest))?);
    }
    progress.end();
    println!("{} in counted time ({} starts)", options.app, samples.len());
    println!("  image size                     {} bytes", built.image_bytes);
    println!("  smallest memory                {smallest} MiB");
    let line = |title: &str, unit: &str, value: fn(&Sample) -> Option<f64>| {
        let values: Vec<f64> = samples.iter().filter_map(value).collect();
        if let Some((mean, low, high)) = spread(&values) {
            println!("  {title:<30} {mean:.1} {unit} ({low:.1} to {high:.1})");
        }
    };
    line("xl create -p", "ms", |sample| Some(sample.create));
    line("xl unpause alone", "ms", |sample| Some(sample.unpause));
    line("unpause to the first line", "ms", |sample| Some(sample.first_line));
    line("unpause to the last line", "ms", |sample| Some(sample.last_line));
    line("first instruction to its line", "us", |sample| sample.own);
    Ok(0)
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
    unpause: f64,
    first_line: f64,
    last_line: f64,
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
    let [before, created, start, unpaused] = marks[..] else { return None };
    let [first, last] = times[..] else { return None };
    let own = text.lines().find_map(|line| line.split_once("first instruction to this line: "));
    let own = own.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    Some(Sample {
        create: ms(before, created),
        unpause: ms(start, unpaused),
        first_line: ms(start, first),
        last_line: ms(start, last),
        own,
    })
}

/// Mean, least and greatest.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some((values.iter().sum::<f64>() / values.len() as f64, low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_measurement() {
        let text = "Hello\nfirst instruction to this line: 812 us\nxenios: exit status 0\n\
                    times: 100.250000 100.260000\nmarks: 99.0 99.1 100.2 100.24\n";
        let sample = sample(text).unwrap();
        assert!((sample.create - 100.0).abs() < 0.001);
        assert!((sample.first_line - 50.0).abs() < 0.001);
        assert!((sample.last_line - 60.0).abs() < 0.001);
        assert_eq!(sample.own, Some(812.0));
        assert_eq!(super::sample("times: 1\n"), None);
    }

    #[test]
    fn spreads() {
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[1.0, 3.0]), Some((2.0, 1.0, 3.0)));
    }
}
