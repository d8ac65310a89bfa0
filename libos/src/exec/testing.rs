//! A domain of a test's own: executor, timers and a clock that moves when the test says so.
//!
//! Each test runs on a thread of its own, and [`world`] is that thread's: so tests use the
//! functions that apps use, side by side.

use super::executor::Executor;
use super::run::{self, Machine};
use super::watch::SlowPoll;
use crate::time::{Instant, Timers, embassy};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::cell::Cell;
use std::string::{String, ToString};
use std::sync::Mutex;
use std::thread_local;
use std::vec::Vec;

thread_local! {
    static WORLD: Cell<Option<&'static World>> = const { Cell::new(None) };
}

/// What a test runs in.
pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) timers: Timers,
    pub(crate) embassy: embassy::Queue,
    now_ns: AtomicU64,
    /// What a reading of the clock costs.
    reading_ns: AtomicU64,
    /// Readings so far.
    pub(crate) readings: AtomicU64,
    /// Dispatches so far.
    pub(crate) dispatches: AtomicU64,
    /// What wakes a domain that sleeps without a deadline.
    events: Mutex<Vec<Waker>>,
    /// How long the next dispatch suspends the domain.
    suspend_ns: AtomicU64,
    /// Warnings about slow polls.
    pub(crate) warnings: Trace,
}

/// The thread's world.
pub(crate) fn world() -> &'static World {
    WORLD.get().unwrap_or_else(fresh)
}

/// A new world for this thread.
pub(crate) fn fresh() -> &'static World {
    let world: &World = Box::leak(Box::new(World {
        executor: Executor::new(),
        timers: Timers::new(),
        embassy: embassy::Queue::new(),
        now_ns: AtomicU64::new(0),
        reading_ns: AtomicU64::new(0),
        readings: AtomicU64::new(0),
        dispatches: AtomicU64::new(0),
        events: Mutex::new(Vec::new()),
        suspend_ns: AtomicU64::new(0),
        warnings: Trace::new(),
    }));
    WORLD.set(Some(world));
    world
}

impl World {
    /// Runs a main task, and all others, to its end.
    pub(crate) fn run<F: Future>(&'static self, main: F) -> F::Output {
        run::run(&self.executor, &self.timers, self, main)
    }

    /// The clock, without a reading that costs.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now_ns.load(Ordering::Relaxed))
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.now_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Makes each reading by the run loop cost so much.
    pub(crate) fn make_readings_cost(&self, time: Duration) {
        self.reading_ns.store(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Has the domain suspended for so long at the next dispatch.
    pub(crate) fn suspend_at_dispatch(&self, time: Duration) {
        self.suspend_ns.store(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Wakes a waker at the next dispatch after a sleep, as an event would.
    pub(crate) fn wake_by_event(&self, waker: Waker) {
        self.events.lock().unwrap().push(waker);
    }
}

impl Machine for World {
    fn now(&self) -> Instant {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.now_ns.fetch_add(self.reading_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        World::now(self)
    }

    fn dispatch(&self) {
        self.dispatches.fetch_add(1, Ordering::Relaxed);
        let suspend_ns = self.suspend_ns.swap(0, Ordering::Relaxed);
        if suspend_ns > 0 {
            self.now_ns.fetch_add(suspend_ns, Ordering::Relaxed);
            super::clock_changed();
        }
        let events = core::mem::take(&mut *self.events.lock().unwrap());
        events.into_iter().for_each(Waker::wake);
    }

    fn sleep(&self, until: Option<Instant>) {
        if !self.events.lock().unwrap().is_empty() {
            return;
        }
        let until = until.expect("the test sleeps for ever");
        self.now_ns.fetch_max(until.as_nanos(), Ordering::Relaxed);
    }

    fn warn(&self, slow: &SlowPoll) {
        self.warnings.push(slow.to_string());
    }
}

/// What happened, in order.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::new())))
    }

    pub(crate) fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Takes what has happened since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        core::mem::take(&mut self.0.lock().unwrap())
    }

    /// Exactly this has happened since the last look.
    #[track_caller]
    pub(crate) fn expect(&self, what: &[&str]) {
        assert_eq!(self.take(), what);
    }
}

/// Notes when it is dropped.
pub(crate) struct Dropped(pub(crate) &'static str, pub(crate) Trace);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.push(std::format!("{} dropped", self.0));
    }
}

/// Counts wake-ups.
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(0)))
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
