//! The executor: the state of all tasks behind one lock, and the rounds in which they are polled.
//!
//! A round polls the tasks that are queued when it begins, first come, first served, and at most
//! [`ROUND_POLLS`] of them. A task that is woken meanwhile, by itself too, is queued behind: it is
//! polled in a later round, after the run loop has looked at events and timers.

use super::info::{Name, TaskInfo};
use super::join::JoinHandle;
use super::run::Machine;
use super::state::{Claim, State, Tuning};
use super::task::{BoxFuture, Link, Task};
use super::watch::Watch;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use spin::Mutex;

/// Polls in a round, unless tuned.
pub const ROUND_POLLS: usize = 64;

/// How long a poll may take before its task is named in a warning, unless tuned.
pub const SLOW_POLL: Duration = Duration::from_millis(100);

/// Tasks and their queue. There is one in a domain; tests and benchmarks have their own.
pub struct Executor {
    state: Mutex<State>,
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// An executor without tasks. Takes no memory yet.
    pub const fn new() -> Self {
        let tuning = Tuning {
            round_polls: ROUND_POLLS,
            slow_poll_ns: SLOW_POLL.as_nanos() as u64,
            clock_measured: false,
        };
        Self { state: Mutex::new(State::new(tuning)) }
    }

    /// Spawns a task: it is queued, and polled for the first time in a later round.
    pub fn spawn<F>(&'static self, name: Name, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_boxed(name, Box::pin(future))
    }

    /// [`Self::spawn`] for all futures of one output: the code is there once for each type of
    /// output.
    fn spawn_boxed<T: Send + 'static>(
        &'static self,
        name: Name,
        future: BoxFuture<T>,
    ) -> JoinHandle<T> {
        self.state.lock().insert(name, |index, id| {
            let task = Task::new(Link { executor: self, index, id }, future);
            (Some(task.clone()), JoinHandle { task })
        })
    }

    /// Makes `future` the main task. It is polled by [`Main::round`] alone, and need not be `Send`.
    pub(super) fn main<F: Future>(&'static self, future: F) -> Main<F> {
        let waker = self.state.lock().insert(Name::Given("main".into()), |index, id| {
            (None, Waker::from(Arc::new(Link { executor: self, index, id })))
        });
        Main { executor: self, future: Box::pin(future), waker, watch: Watch::new(), stretch: 0 }
    }

    /// Whether no task is queued.
    pub fn is_idle(&self) -> bool {
        self.state.lock().queued() == 0
    }

    /// What can be told about each task, in the order of spawning.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.state.lock().list()
    }

    /// Changes what can be tuned.
    pub(super) fn tune(&self, change: impl FnOnce(&mut Tuning)) {
        change(&mut self.state.lock().tuning);
    }

    pub(super) fn wake(&self, link: &Link) {
        self.state.lock().wake(link.index, link.id);
    }

    pub(super) fn is_live(&self, link: &Link) -> bool {
        self.state.lock().is_live(link.index, link.id)
    }

    pub(super) fn cancel(&self, link: &Link) {
        let claim = self.state.lock().claim_to_cancel(link.index, link.id);
        if let Some(claim) = claim {
            self.end_cancelled(claim);
        }
    }

    /// Has `waker` woken at the task's end; whether that is still to come.
    pub(super) fn join(&self, link: &Link, waker: &Waker) -> bool {
        // The waker that was noted before is dropped at the end, without the lock.
        let joined = self.state.lock().join(link.index, link.id, waker);
        joined.is_some()
    }

    /// Whether the task lives on by itself; if not, its output is the caller's to drop.
    pub(super) fn detach(&self, link: &Link) -> bool {
        let detached = self.state.lock().detach(link.index, link.id);
        detached.is_some()
    }

    /// Says what the current task waits for.
    pub(super) fn label(&self, change: impl FnOnce(&mut Option<&'static str>, &mut Instant)) {
        self.state.lock().label(change);
    }

    /// After a poll: gives the task back, or takes it off the list if that was its last.
    fn end_poll(&self, claim: Claim, ended: bool, took_ns: Option<u64>) {
        let over = self.state.lock().end_poll(claim, ended, took_ns);
        match over {
            Some(claim) if ended => self.retire(claim),
            Some(claim) => self.end_cancelled(claim),
            None => {}
        }
    }

    fn end_cancelled(&self, claim: Claim) {
        if let Some(body) = &claim.body {
            body.clear();
        }
        self.retire(claim);
    }

    /// Takes a task that has ended off the list and tells who waits for it.
    fn retire(&self, claim: Claim) {
        let retired = self.state.lock().retire(claim.index);
        if retired.detached
            && let Some(body) = &claim.body
        {
            body.clear();
        }
        if let Some(joiner) = retired.joiner {
            joiner.wake();
        }
    }
}

/// The main task's future, and the rounds that it is polled in with all others.
pub(super) struct Main<F: Future> {
    executor: &'static Executor,
    future: Pin<Box<F>>,
    waker: Waker,
    watch: Watch,
    /// Polls since the clock was read.
    stretch: usize,
}

/// What a round has come to.
pub(super) struct Round<T> {
    /// The main task's output: the end.
    pub(super) output: Option<T>,
    /// The last reading of the clock.
    pub(super) read: Instant,
}

impl<F: Future> Main<F> {
    /// Whether no task is queued.
    pub(super) fn is_idle(&self) -> bool {
        self.executor.is_idle()
    }

    /// Polls what is queued, once. `read` is the last reading of the clock.
    pub(super) fn round(&mut self, read: Instant, machine: &impl Machine) -> Round<F::Output> {
        let executor = self.executor;
        let (polls, tuning) = executor.state.lock().begin_round();
        let limit_ns = tuning.slow_poll_ns;
        let mut round = Round { output: None, read };
        if !tuning.clock_measured {
            // The time since the last reading is no task's: the domain may have been suspended.
            round.read = self.watch.measure(machine);
            self.stretch = 0;
        }
        let close = self.watch.is_close(polls);
        for _ in 0..polls {
            let Some(claim) = executor.state.lock().claim_first() else { break };
            let ended = match &claim.body {
                Some(body) => body.poll(),
                None => {
                    round.output = self.poll_main();
                    round.output.is_some()
                }
            };
            self.stretch += 1;
            // A lone poll tells whose time it was.
            let timed =
                close || self.stretch == 1 && executor.state.lock().will_be_idle_after(claim.index);
            let took_ns = timed.then(|| {
                self.stretch = 0;
                round.read.advance_to(machine.now())
            });
            if let Some(ns) = took_ns.filter(|ns| *ns >= limit_ns) {
                let name = executor.state.lock().name_of(claim.index);
                self.watch.poll_was_slow(round.read, ns, name, machine);
            }
            executor.end_poll(claim, ended, took_ns);
            if round.output.is_some() {
                return round;
            }
        }
        if self.stretch >= tuning.round_polls || self.stretch > 0 && executor.is_idle() {
            self.stretch = 0;
            let took_ns = round.read.advance_to(machine.now());
            self.watch.stretch_took(took_ns, limit_ns);
        }
        round
    }

    fn poll_main(&mut self) -> Option<F::Output> {
        match self.future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}
