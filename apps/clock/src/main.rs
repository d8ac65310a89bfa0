//! Shows the time of day, the uptime, and a tick each second that survives `xl save` and `xl
//! restore`.
//!
//! `--ticks N` ends it after N ticks; else it runs until `xl shutdown`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::time::Duration;
use libos::exec::{Either, select};
use libos::time::{self, Ticker};
use libos::{Env, Error, println};

libos::entry!(main);

async fn main(env: Env) -> Result<(), Error> {
    env.on_suspend(|| println!("clock: about to be suspended"));
    env.on_resume(|| println!("clock: back again"));
    let last = env.boot_line().option("ticks").map(str::parse::<u64>).transpose()?;
    let ticking = libos::spawn_named("ticks", tick(last));
    match select(ticking, env.shutdown_requested()).await {
        Either::First(_) => println!("clock: that was the last tick"),
        Either::Second(request) => println!("clock: asked to end ({request:?})"),
    }
    Ok(())
}

/// Prints a line each second, `last` times or for ever.
async fn tick(last: Option<u64>) {
    let mut ticker = Ticker::every(Duration::from_secs(1));
    let mut ticks = 0;
    while last.is_none_or(|last| ticks < last) {
        ticker.tick().await;
        ticks += 1;
        let uptime = time::since_boot();
        match time::wall() {
            Some(wall) => println!("tick {ticks}: {}, up {} s", Date(wall), uptime.as_secs()),
            None => println!("tick {ticks}: up {} s", uptime.as_secs()),
        }
    }
}

/// Time since 1970 as a date, in UTC.
struct Date(Duration);

impl core::fmt::Display for Date {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counted in eras of 400 years that begin on a first of March, so that a leap day ends a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
