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

use super::executor::{Executor, Main};
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

/// The run loop, one turn at a time.
pub struct RunLoop<'a, M, F: Future> {
    main: Main<F>,
    timers: &'a Timers,
    machine: &'a M,
    now: Instant,
}

impl<'a, M: Machine, F: Future> RunLoop<'a, M, F> {
    /// A loop that runs `main` and all tasks.
    pub fn new(executor: &'static Executor, timers: &'a Timers, machine: &'a M, main: F) -> Self {
        Self { main: executor.main(main), timers, machine, now: machine.now() }
    }

    /// One turn: a round of polls, then events and timers, then a sleep if nothing is queued. Gives
    /// the output of `main` once it has returned; tasks that are left then stay as they are.
    pub fn turn(&mut self) -> Option<F::Output> {
        let Self { main, timers, machine, now } = self;
        let round = main.round(*now, *machine);
        if round.output.is_some() {
            return round.output;
        }
        *now = round.read;
        machine.dispatch();
        timers.fire(*now);
        if main.is_idle() {
            machine.sleep(timers.next_deadline());
            machine.dispatch();
            *now = machine.now();
            timers.fire(*now);
        }
        None
    }
}

/// Runs `main` and all tasks until `main` returns: what is left of the loop where nothing else ends
/// it.
#[cfg(not(xenios_kernel))]
pub fn run<F: Future>(
    executor: &'static Executor,
    timers: &Timers,
    machine: &impl Machine,
    main: F,
) -> F::Output {
    let mut run_loop = RunLoop::new(executor, timers, machine, main);
    loop {
        if let Some(output) = run_loop.turn() {
            return output;
        }
    }
}
