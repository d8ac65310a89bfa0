//! The executor in a program of the host's, for benchmarks: no events, and a sleep that spins.

use super::run::{self, Machine};
use crate::time::{self, Instant, clock};
use core::future::Future;

struct Host;

/// Runs `main` and all tasks until `main` returns. Time counts ticks of the time stamp counter, as
/// if it ran at 1 GHz.
pub fn run<F: Future>(main: F) -> F::Output {
    clock::start(arch::tsc::read(), clock::rate_of_khz(0));
    run::run(super::global(), time::timers(), &Host, main)
}

impl Machine for Host {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn dispatch(&self) {}

    fn sleep(&self, until: Option<Instant>) {
        while until.is_none_or(|until| Instant::now() < until) {
            core::hint::spin_loop();
        }
    }
}
