//! The suite's looks at a domain's whole life, driven by the real `xl`: shutdown, reboot, keys,
//! save, restore, migration, pause, memory that comes and goes, a store that is slow.
//!
//! The kernel `life` prints `ready`, then a line `tick N at T` every 100 ms, and a line for
//! everything that happens to it. T is its monotonic time in milliseconds.

use crate::Lab;
use crate::lab::{Domain, State};
use crate::runner::RunLog;
use crate::xl::single_quote;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub(crate) type Result<T> = std::result::Result<T, String>;

/// How long the guest may take to say something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a command of the toolstack may take.
pub(crate) const XL_LIMIT: Duration = Duration::from_secs(120);

/// Boot line of a `life` that must lose nothing while it is saved and restored.
pub const LOAD_LINE: &str = "--until told --load yes";

pub(crate) fn text(error: crate::Error) -> String {
    error.to_string()
}

/// One command of the toolstack for a domain, `NAME` standing for its name.
pub(crate) fn xl(lab: &Lab, domain: &Domain, command: &str) -> Result<String> {
    let command = command.replace("NAME", &single_quote(&domain.name));
    lab.sh_ok(&command, XL_LIMIT).map_err(text)
}

/// Waits for a line that contains `wanted`.
pub(crate) fn wait(lab: &Lab, domain: &Domain, wanted: &str) -> Result<String> {
    lab.wait_for_line(domain, PATIENCE, |line| line.contains(wanted)).map_err(text)
}

/// `xl shutdown`: the app is told and has time.
pub fn shutdown(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    xl(lab, domain, "xl shutdown NAME")?;
    wait(lab, domain, "told: Poweroff").map(|_| ())
}

/// `xl reboot`.
pub fn reboot(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    xl(lab, domain, "xl reboot NAME")?;
    wait(lab, domain, "told: Reboot").map(|_| ())
}

/// `xl shutdown` of an app that does not listen or does not end.
pub fn shutdown_unheard(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    xl(lab, domain, "xl shutdown NAME").map(|_| ())
}

/// The keys of `xl sysrq`.
pub fn sysrq(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    for (key, answer) in [
        ("h", "tasks and what each waits for"),
        ("s", "synced"),
        ("t", "waiting for"),
        ("m", "free frames"),
        ("e", "event channels"),
        ("?", "this list"),
    ] {
        xl(lab, domain, &format!("xl sysrq NAME '{key}'"))?;
        wait(lab, domain, answer).map_err(|error| format!("key {key}: {error}"))?;
    }
    xl(lab, domain, "xl sysrq NAME o").map(|_| ())
}

/// `xl sysrq NAME c` ends with a report.
pub fn sysrq_crash(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    xl(lab, domain, "xl sysrq NAME c").map(|_| ())
}

/// Numbers and times of the ticks so far: each tick is there once, and time never goes back.
fn ticks(lab: &Lab, domain: &Domain) -> Result<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    let mut logs = lab.console_text(&domain.name);
    // A domain that migrates has this name until it has arrived.
    logs.push_str(&lab.console_text(&format!("{}--incoming", domain.name)));
    for line in logs.lines() {
        let Some((_, rest)) = line.split_once("tick ") else { continue };
        let Some((number, time)) = rest.split_once(" at ") else { continue };
        let (Ok(number), Ok(time)) = (number.parse(), time.trim().parse()) else { continue };
        all.push((number, time));
    }
    all.sort_unstable();
    for pair in all.windows(2) {
        let [(number, time), (next, later)] = pair else { continue };
        if *next != number + 1 {
            return Err(format!("tick {next} follows tick {number}"));
        }
        if later < time {
            return Err(format!("time went back from {time} to {later} ms"));
        }
    }
    Ok(all)
}

/// Waits until there are `more` ticks than now.
fn wait_for_ticks(lab: &Lab, domain: &Domain, more: usize) -> Result<()> {
    let goal = ticks(lab, domain)?.len() + more;
    let until = Instant::now() + PATIENCE;
    while ticks(lab, domain)?.len() < goal {
        if Instant::now() >= until {
            return Err(format!("the ticks have stopped: {:?}", ticks(lab, domain)?.last()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// One round of `xl save` and `xl restore`.
pub(crate) fn save_and_restore(lab: &Lab, domain: &Domain) -> Result<()> {
    xl(
        lab,
        domain,
        "xl save NAME /run/NAME.save && xl restore /run/NAME.save
         s=$?; rm -f /run/NAME.save; exit $s",
    )
    .map(|_| ())
}

/// One save and restore: tasks go on, time goes on, the wall clock is right.
pub fn save_restore(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    wait_for_ticks(lab, domain, 3)?;
    save_and_restore(lab, domain)?;
    wait(lab, domain, "after resume")?;
    wait_for_ticks(lab, domain, 5)?;
    wall_clock(lab, domain)?;
    end(lab, domain)
}

/// The wall time that the guest says is dom0's, within two seconds.
fn wall_clock(lab: &Lab, domain: &Domain) -> Result<()> {
    let shown = wait(lab, domain, "wall ")?;
    let logs = lab.console_text(&domain.name);
    let last = logs.lines().rev().find_map(|line| line.split_once("wall ")).map(|(_, rest)| rest);
    let seconds: i64 = last
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("no wall time in {shown:?}"))?;
    let now = lab.sh_ok("date +%s", XL_LIMIT).map_err(text)?;
    let now: i64 = now.trim().parse().map_err(|_| format!("dom0's date is {now:?}"))?;
    if (now - seconds).abs() > 2 {
        return Err(format!("the guest's wall clock says {seconds}, dom0's {now}"));
    }
    Ok(())
}

/// Tells the guest to end.
pub(crate) fn end(lab: &Lab, domain: &Domain) -> Result<()> {
    xl(lab, domain, "xl shutdown NAME").map(|_| ())
}

/// Tells the guest to end, and waits until it has powered off.
fn end_and_wait(lab: &Lab, domain: &Domain) -> Result<()> {
    end(lab, domain)?;
    wait_until_off(lab, domain)
}

/// Waits until the guest has powered off.
fn wait_until_off(lab: &Lab, domain: &Domain) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match lab.domain_state(&domain.name).map_err(text)? {
            State::Shutdown(0) => return Ok(()),
            State::Shutdown(code) => return Err(format!("it ended with reason code {code}")),
            State::Gone => return Ok(()),
            State::Running if Instant::now() >= until => return Err("it did not end".into()),
            State::Running => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Rounds of save and restore under load.
const ROUNDS: usize = 20;

/// Twenty rounds in a row while the guest works: no tick is lost, none comes twice.
pub fn save_restore_rounds(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    for round in 1..=ROUNDS {
        save_and_restore(lab, domain).map_err(|error| format!("round {round}: {error}"))?;
        wait_for_ticks(lab, domain, 2).map_err(|error| format!("round {round}: {error}"))?;
    }
    end(lab, domain)
}

/// `xl save -c`: the domain goes on where it is.
pub fn checkpoint(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    wait_for_ticks(lab, domain, 3)?;
    xl(lab, domain, "xl save -c NAME /run/NAME.save; s=$?; rm -f /run/NAME.save; exit $s")?;
    wait(lab, domain, "resumed in the same domain")?;
    wait_for_ticks(lab, domain, 5)?;
    end_and_wait(lab, domain)
}

/// `xl migrate` to this very machine; a script stands for ssh.
pub fn migrate(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    wait_for_ticks(lab, domain, 3)?;
    xl(
        lab,
        domain,
        "printf '#!/bin/bash\\nshift\\nexec bash -c \"$*\"\\n' > /run/as-ssh; chmod +x /run/as-ssh
         xl migrate -s /run/as-ssh NAME localhost",
    )?;
    wait_for_ticks(lab, domain, 5)?;
    end_and_wait(lab, domain)
}

/// Ticks that were due while the domain was paused come once, not many times.
pub fn pause(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    wait_for_ticks(lab, domain, 3)?;
    let before = ticks(lab, domain)?;
    xl(lab, domain, "xl pause NAME; sleep 3; xl unpause NAME")?;
    wait_for_ticks(lab, domain, 10)?;
    let after = ticks(lab, domain)?;
    let close = after[before.len()..]
        .windows(2)
        .filter(|pair| matches!(pair, [(_, a), (_, b)] if b - a < 20))
        .count();
    if close > 2 {
        return Err(format!("{close} ticks came in a burst: {:?}", &after[before.len()..]));
    }
    end(lab, domain)
}

/// Pages that the guest says it has.
fn wait_for_pages(lab: &Lab, domain: &Domain, mib: u64) -> Result<()> {
    wait(lab, domain, &format!("balloon: {} pages", mib * 256)).map(|_| ())
}

/// `xl mem-set` down, and up again.
pub fn balloon(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    for mib in [40, 24, 64] {
        xl(lab, domain, &format!("xl mem-set NAME {mib}"))?;
        wait_for_pages(lab, domain, mib)?;
    }
    end(lab, domain)
}

/// More is asked for than is free: the guest says what it cannot give, and lives.
pub fn balloon_too_far(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    let id = xl(lab, domain, "xl domid NAME")?;
    let path = format!("/local/domain/{}/memory/target", id.trim());
    lab.sh_ok(&format!("xenstore-write {path} 64"), XL_LIMIT).map_err(text)?;
    wait(lab, domain, "cannot give")?;
    wait_for_ticks(lab, domain, 3)?;
    end(lab, domain)
}

/// xenstored stands still for two seconds: the guest waits for it, and goes on.
pub fn store_stopped(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    wait_for_ticks(lab, domain, 2)?;
    lab.sh_ok("kill -STOP $(cat /run/xenstored.pid)", XL_LIMIT).map_err(text)?;
    let ticked = wait_for_ticks(lab, domain, 20);
    lab.sh_ok("kill -CONT $(cat /run/xenstored.pid)", XL_LIMIT).map_err(text)?;
    ticked?;
    wait(lab, domain, "the store took")?;
    end(lab, domain)
}

/// Several vCPUs: the guest says that it uses one, works, and survives a save.
pub fn vcpus(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "1 of 2 vCPUs stay parked")?;
    save_restore(lab, domain)
}

/// One image that is restored twice: what is secret is made anew both times.
pub fn restore_twice(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    xl(lab, domain, "xl save NAME /run/NAME.save")?;
    for _ in 0..2 {
        xl(lab, domain, "xl restore /run/NAME.save")?;
        wait_until_off(lab, domain)?;
        xl(lab, domain, "xl destroy NAME 2> /run/NAME.gone || true")?;
    }
    xl(lab, domain, "rm -f /run/NAME.save /run/NAME.gone").map(|_| ())
}

/// The kernel `reseed` shows three canaries and three words, all different.
pub fn secrets_differ(logs: &[RunLog]) -> Result<()> {
    let log = logs.first().ok_or("no log")?;
    for start in ["canary ", "bytes "] {
        let lines = log.console.lines().map(str::trim_end).filter(|line| line.starts_with(start));
        let all: Vec<&str> = lines.collect();
        let different: BTreeSet<&&str> = all.iter().collect();
        if all.len() != 3 || different.len() != 3 {
            return Err(format!("not three different lines: {all:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared() {
        let judge = |console: &str| {
            secrets_differ(&[RunLog { console: console.into(), ..RunLog::default() }])
        };
        let rest = "canary 2\r\nbytes 2\r\ncanary 3\r\nbytes 3\r\n";
        assert_eq!(judge(&format!("canary 1\r\nbytes 1\r\n{rest}")), Ok(()));
        assert!(judge(&format!("canary 1\r\nbytes 2\r\n{rest}")).is_err());
        assert!(judge(&format!("canary 3\r\nbytes 1\r\n{rest}")).is_err());
        assert!(judge(rest).is_err());
    }
}
