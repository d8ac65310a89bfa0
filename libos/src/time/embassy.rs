//! The time driver of embassy-time: crates that use its timers run unchanged.
//!
//! ```text
//!   Timer::poll ──schedule_wake(at, waker)──▶ Queue: one entry for each waker
//!                                               │ the earliest is a timer of ours, whose waker
//!                                               ▼ wakes all entries that are due
//!                                            Timers
//! ```
//!
//! embassy-time never says that a timer was dropped, and asks again at each poll. So a waker has
//! one entry, for the earliest time it asked for: a wake-up too many does no harm, and asks anew.
//! Looking for the entry takes time in proportion to the tasks that use embassy-time;
//! [`super::sleep`] does not.

use super::timers::Key;
use super::{Instant, Timers};
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};
use spin::Mutex;

/// A tick is a nanosecond, so ticks are what an [`Instant`] counts.
const _: () = assert!(TICK_HZ == 1_000_000_000, "the feature tick-hz-1_000_000_000 alone is on");

struct Xenios;

time_driver_impl!(static DRIVER: Xenios = Xenios);

/// The domain's queue.
#[cfg(not(test))]
fn queue() -> &'static Queue {
    static QUEUE: Queue = Queue::new();
    &QUEUE
}

/// The test's queue.
#[cfg(test)]
fn queue() -> &'static Queue {
    &crate::exec::testing::world().embassy
}

impl Driver for Xenios {
    fn now(&self) -> u64 {
        Instant::now().as_nanos()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        queue().schedule(super::timers(), Instant::from_nanos(at), waker);
    }
}

/// Who asked to be woken, and when.
pub(crate) struct Queue(Mutex<Inner>);

struct Inner {
    entries: Vec<(Instant, Waker)>,
    /// The timer for the earliest of them, and its time.
    timer: Option<(Key, Instant)>,
}

/// The waker of the queue's own timer.
struct Due(&'static Queue, &'static Timers);

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.0.wake_due(self.1);
    }
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Inner { entries: Vec::new(), timer: None }))
    }

    fn schedule(&'static self, timers: &'static Timers, at: Instant, waker: &Waker) {
        let mut inner = self.0.lock();
        match inner.entries.iter_mut().find(|(_, known)| known.will_wake(waker)) {
            Some((known, _)) => *known = at.min(*known),
            None => inner.entries.push((at, waker.clone())),
        }
        self.arm(&mut inner, timers, at);
    }

    /// Sees to it that the timer is no later than `at`.
    fn arm(&'static self, inner: &mut Inner, timers: &'static Timers, at: Instant) {
        if inner.timer.as_ref().is_some_and(|(_, armed)| *armed <= at) {
            return;
        }
        if let Some((key, _)) = inner.timer.take() {
            timers.cancel(key);
        }
        let mut key = None;
        let waker = Waker::from(Arc::new(Due(self, timers)));
        // A timer that is new is never ready at once.
        let _: Poll<Instant> = timers.poll(&mut key, at, &waker);
        inner.timer = key.map(|key| (key, at));
    }

    /// The timer has fired: wakes who is due, and arms it for the next.
    fn wake_due(&'static self, timers: &'static Timers) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        if let Some((key, _)) = inner.timer.take() {
            timers.cancel(key);
        }
        let mut due: Vec<_> = inner.entries.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        let next = inner.entries.iter().map(|(at, _)| *at).min();
        if let Some(next) = next {
            self.arm(&mut inner, timers, next);
        }
        drop(inner);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
