//! The suite's looks at the console: a flood that is counted, an echo that is compared.

use crate::Lab;
use crate::lab::Domain;
use crate::runner::RunLog;
use std::time::{Duration, Instant};

/// Lines that the kernel `console-flood` prints.
const FLOOD_LINES: u64 = 16384;
/// Bytes typed at the kernel `console-echo`.
const ECHO_BYTES: usize = 64 << 10;
/// Its boot line.
pub const ECHO_LINE: &str = "--bytes 65536";

/// Every line of the flood is there, in order, or is counted in a note about lost lines.
pub fn nothing_lost_uncounted(logs: &[RunLog]) -> Result<(), String> {
    let log = logs.first().ok_or("no log")?;
    let (mut next, mut shown, mut lost) = (0u64, 0u64, 0u64);
    for line in log.console.lines().map(str::trim_end) {
        if let Some((_, note)) = line.split_once('[')
            && let Some(count) = note.strip_suffix(" console lines lost]")
        {
            let count: u64 = count.parse().map_err(|_| format!("strange note: {line}"))?;
            (next, lost) = (next + count, lost + count);
        } else if let Some(rest) = line.strip_prefix("flood ") {
            let number = rest.split_whitespace().next().and_then(|word| word.parse().ok());
            if number != Some(next) || !line.ends_with('.') || line.len() != 63 {
                return Err(format!("line {next} was expected, not {line:?}"));
            }
            (next, shown) = (next + 1, shown + 1);
        }
    }
    if next != FLOOD_LINES {
        return Err(format!("{shown} lines shown and {lost} lost of {FLOOD_LINES}"));
    }
    Ok(())
}

/// Types bytes at the guest while reading them back; they must come back as they were.
pub fn type_and_read_back(lab: &Lab, domain: &Domain) -> Result<(), String> {
    let error = |error: crate::Error| error.to_string();
    lab.wait_for_line(domain, Duration::from_secs(10), |line| line.trim_end() == "ready")
        .map_err(error)?;
    let typed: Vec<u8> = (0..ECHO_BYTES).map(letter).collect();
    lab.type_at(domain, &typed).map_err(error)?;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let console = lab.console_text(&domain.name);
        if let Some((_, after)) = console.split_once("ready") {
            let echoed = without_log_lines(after);
            if echoed.len() >= ECHO_BYTES {
                return match echoed.iter().zip(&typed).position(|(a, b)| a != b) {
                    Some(at) => Err(format!("byte {at} came back changed")),
                    None => Ok(()),
                };
            }
            if Instant::now() > until {
                return Err(format!("{} of {ECHO_BYTES} bytes came back", echoed.len()));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The letters and digits of a text, but not those of log lines, which may come in between: they
/// begin with a bracket and end with their line.
fn without_log_lines(text: &str) -> Vec<u8> {
    let mut in_log_line = false;
    text.bytes()
        .filter(|byte| {
            in_log_line = (in_log_line || *byte == b'[') && *byte != b'\n';
            !in_log_line && byte.is_ascii_alphanumeric()
        })
        .collect()
}

/// Letters and digits only, so that no terminal on the way does anything about them.
fn letter(i: usize) -> u8 {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    LETTERS[(i * 7 + i / 62) % 62]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[String]) -> Result<(), String> {
        let console = lines.join("\r\n");
        nothing_lost_uncounted(&[RunLog { console, ..RunLog::default() }])
    }

    fn flood(from: u64, to: u64) -> Vec<String> {
        (from..to).map(|line| format!("flood {line:8} {:.<48}", '.')).collect()
    }

    #[test]
    fn log_lines_are_no_echo() {
        let text = "\r\nab[   1.2] WARN x: slow\r\ncd\r\n[   1.3] INFO y\r\nef";
        assert_eq!(without_log_lines(text), b"abcdef");
    }

    #[test]
    fn a_flood_is_counted() {
        assert_eq!(log(&flood(0, FLOOD_LINES)), Ok(()));
        let mut lossy = flood(0, 100);
        lossy.push("flo[50 console lines lost]".into());
        lossy.extend(flood(150, FLOOD_LINES));
        assert_eq!(log(&lossy), Ok(()));
        lossy.remove(300);
        assert!(log(&lossy).unwrap_err().contains("was expected"));
        assert!(log(&flood(0, 99)).unwrap_err().contains("99 lines shown"));
    }
}
