//! The run loop: rounds of polls, events, timers, sleep.
//!
//! ```text
//!        ╭───────────────────── something is queued ◀────────────────────╮
//!        ▼                                                               │
//!   poll a round ──▶ dispatch events ──▶ fire timers ──▶ nothing queued: sleep, until an event
//!        │                                                              or the first deadline
//!        ╰─▶ main has returned: the end
//! ```
//!
//! Events are looked at after each round. The clock is read after each sleep, before it, and in
//! between at the latest when as many polls have been made as a round may have: see
//! [`super::watch`] for why not more often.

use super::executor::Executor;
use super::watch::SlowPoll;
use crate::time::{Instant, Timers};
use core::future::Future;

/// The machine under the run loop: a domain, or a test's.
pub trait Machine {
    /// Now. Never goes back.
    fn now(&self) -> Instant;

    /// Wakes the tasks whose events have come. Never waits.
    fn dispatch(&self);

    /// Sleeps until an event comes, or until a point in time. Returns at once if an event came
    /// since the last dispatch; may return early.
    fn sleep(&self, until: Option<Instant>);

    /// A task ran too long.
    fn warn(&self, slow: &SlowPoll) {
        log::warn!("{slow}");
    }
}

/// Runs `main` and all tasks until `main` returns. Tasks that are left then stay as they are.
pub fn run<F: Future>(
    executor: &'static Executor,
    timers: &Timers,
    machine: &impl Machine,
    main: F,
) -> F::Output {
    let mut main = executor.main(main);
    let mut now = machine.now();
    loop {
        let round = main.round(now, machine);
        if let Some(output) = round.output {
            return output;
        }
        now = round.read;
        machine.dispatch();
        timers.fire(now);
        if executor.is_idle() {
            machine.sleep(timers.next_deadline());
            machine.dispatch();
            now = machine.now();
            timers.fire(now);
        }
    }
}
