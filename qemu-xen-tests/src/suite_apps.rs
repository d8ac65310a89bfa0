//! The suite's looks at the apps `clock` and `store`, as a user at the console sees them.

use crate::Lab;
use crate::lab::Domain;
use crate::suite_life::{PATIENCE, Result, XL_LIMIT, end, save_and_restore, text, wait, xl};
use std::time::{Duration, Instant};

/// The clock's ticks go on where they were when it is saved and restored, and the date is right.
pub fn clock_goes_on(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "tick 2:")?;
    save_and_restore(lab, domain)?;
    wait(lab, domain, "clock: about to be suspended")?;
    wait(lab, domain, "clock: back again")?;
    let next = last_tick(&lab.console_text(&domain.name))? + 2;
    let line = wait(lab, domain, &format!("tick {next}:"))?;
    let now = lab.sh_ok("date +%s", XL_LIMIT).map_err(text)?;
    let date = line.split([':', ',']).collect::<Vec<_>>();
    let date = date.get(1..4).ok_or_else(|| format!("no date in {line:?}"))?.join(":");
    let shown = lab.sh_ok(&format!("date -ud '{date}' +%s"), XL_LIMIT).map_err(text)?;
    let seconds = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("no date: {text}"));
    if (seconds(&now)? - seconds(&shown)?).abs() > 3 {
        return Err(format!("the clock shows {date}, which is not {now} s after 1970"));
    }
    last_tick(&lab.console_text(&domain.name))?;
    end(lab, domain)?;
    wait(lab, domain, "clock: asked to end (Poweroff)").map(|_| ())
}

/// The number of the last tick, each of which must follow the one before.
fn last_tick(console: &str) -> Result<u64> {
    let mut last = 0;
    for line in console.lines() {
        let Some((_, rest)) = line.split_once("tick ") else { continue };
        let Some(number) = rest.split(':').next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        if number != last + 1 {
            return Err(format!("tick {number} follows tick {last}"));
        }
        last = number;
    }
    Ok(last)
}

/// Types a line at the shell and waits for a line of the answer.
fn say(lab: &Lab, domain: &Domain, line: &str, answer: &str) -> Result<()> {
    expect(lab, domain, answer, line, || {
        lab.type_at(domain, format!("{line}\r").as_bytes()).map_err(text)
    })
}

/// Does something and waits for a new line on the console that is `answer`.
fn expect(
    lab: &Lab,
    domain: &Domain,
    answer: &str,
    what: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = lab.console_text(&domain.name).len();
    act()?;
    let until = Instant::now() + PATIENCE;
    loop {
        let console = lab.console_text(&domain.name);
        let new = console.get(before..).unwrap_or_default();
        if new.lines().any(|line| line.trim() == answer) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(format!("{what}: not answered with {answer:?}, but {new:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Each command of the shell.
pub fn shell(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "store: a shell for xenstore")?;
    let id = xl(lab, domain, "xl domid NAME")?;
    let id = id.trim();
    say(lab, domain, "help", "exit                ends the domain")?;
    say(lab, domain, "ls", "domid")?;
    say(lab, domain, "read domid", id)?;
    say(lab, domain, "write data/x hello, world", ">")?;
    say(lab, domain, "read data/x", "hello, world")?;
    let inside = lab.sh_ok(&format!("xenstore-read /local/domain/{id}/data/x"), XL_LIMIT);
    if inside.as_deref().map(str::trim) != Ok("hello, world") {
        return Err(format!("dom0 reads {inside:?}"));
    }
    say(lab, domain, "ls data", "x")?;
    say(lab, domain, "read data/none", "ENOENT")?;
    say(lab, domain, "watch data", "watching; press a key to end")?;
    expect(lab, domain, "changed: data/y", "a write in dom0", || {
        let write = format!("xenstore-write /local/domain/{id}/data/y 1");
        lab.sh_ok(&write, XL_LIMIT).map(|_| ()).map_err(text)
    })?;
    expect(lab, domain, ">", "a key", || lab.type_at(domain, b"q").map_err(text))?;
    say(lab, domain, "rm data/x", ">")?;
    say(lab, domain, "read data/x", "ENOENT")?;
    say(lab, domain, "what", "what: no such command; `help` lists them")?;
    lab.type_at(domain, b"exut\x7f\x7fit\r").map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_each_other() {
        assert_eq!(last_tick("tick 1: up 1 s\r\nx\r\ntick 2: 2026-01-01 00:00:00 UTC\r\n"), Ok(2));
        assert_eq!(last_tick(""), Ok(0));
        assert!(last_tick("tick 1: a\ntick 3: b\n").is_err());
        assert!(last_tick("tick 1: a\ntick 1: b\n").is_err());
    }
}
