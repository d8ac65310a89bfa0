//! The executor in a program of the host's, for benchmarks: no events, and a sleep that spins.

use super::run::{self, Machine};
use crate::time::{self, Instant, clock};
use core::future::Future;
use xen::clock::Clock;

struct Host;

/// Runs `main` and all tasks until `main` returns. Time counts ticks of the time stamp counter, as
/// if it ran at 1 GHz.
pub fn run<F: Future>(main: F) -> F::Output {
    let now_tsc = arch::tsc::read;
    clock::start(Clock::by_rate(clock::rate_of_khz(0), now_tsc(), now_tsc));
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
