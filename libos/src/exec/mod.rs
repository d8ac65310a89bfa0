//! The executor: tasks on one CPU, each running until it waits.
//!
//! The life of a task:
//!
//! ```text
//!              (1) spawn                (2) its turn
//!                  │   ╭────────────────────────────────────╮
//!                  ▼   │                                    ▼
//!               ┌────────┐   (4) woken while polled    ┌─────────┐
//!               │ queued │ ◀───────────────────────────│ running │
//!               └────────┘                             └─────────┘
//!                 ▲    │                                 │  │  │
//!       (6) woken │    │ (7) cancel        (5) not woken │  │  │ (3) has an output
//!                 │    │                                 │  │  │
//!               ┌─────────┐◀─────────────────────────────╯  │  ▼
//!               │ waiting │                      (8) cancel │ ended: future dropped, then
//!               └─────────┘                                 │ who waits for the end woken
//!                    │ (7) cancel                           ▼ ▲
//!                    ╰───────────────────────────────▶ cancelled
//! ```
//!
//! 1. Spawning queues the task; it is not polled before the spawning one yields.
//! 2. The queue is first in, first out. Waking a queued task changes nothing.
//! 3. The output waits for whoever awaits the [`JoinHandle`]; without a handle it is dropped.
//! 4. and 5. After a poll without an output: queued again if it was woken meanwhile, else waiting.
//! 6. By its waker, from anywhere; a waker of a task that has ended does nothing.
//! 7. A task that is not being polled is cancelled at once: its future is dropped.
//! 8. One that is being polled (it cancels itself) ends after its poll, unless that gives an
//!    output.
//!
//! Spawning, waking and polling cost the same however many tasks there are. A task has two
//! allocations: its future, and what its handle and wakers share (`task.rs`); a wake-up takes no
//! memory at all (`state.rs`). Neighbours: `run.rs` is the run loop, `watch.rs` finds tasks that do
//! not yield, `kernel.rs` is the domain's own glue.

mod executor;
#[cfg(not(any(xenios_kernel, test)))]
#[doc(hidden)]
pub mod host;
mod info;
mod join;
#[cfg(xenios_kernel)]
mod kernel;
mod run;
pub(crate) mod slab;
mod state;
mod task;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wakers;
mod watch;

use executor::Executor;
pub use executor::{ROUND_POLLS, SLOW_POLL};
pub use info::{Name, TaskId, TaskInfo, TaskState};
pub use join::{Cancelled, JoinHandle};
#[cfg(xenios_kernel)]
pub(crate) use wakers::Wakers;

pub use embassy_futures::join::{Join, Join3, Join4, JoinArray, join, join_array, join3, join4};
pub use embassy_futures::select::{
    Either, Either3, Either4, Select, Select3, Select4, SelectArray, SelectSlice, select,
    select_array, select_slice, select3, select4,
};

#[cfg(xenios_kernel)]
pub use kernel::sleeps;
#[cfg(xenios_kernel)]
pub(crate) use kernel::{engage, run, wait_for_console};

use crate::time::Instant;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::panic::Location;
use core::pin::pin;
use core::time::Duration;

/// The domain's executor.
#[cfg(not(test))]
fn global() -> &'static Executor {
    static EXECUTOR: Executor = Executor::new();
    #[cfg(xenios_kernel)]
    engage();
    &EXECUTOR
}

/// The test's executor.
#[cfg(test)]
fn global() -> &'static Executor {
    &testing::world().executor
}

/// Spawns a task: it runs beside the one that spawns it, until its end or that of the domain.
///
/// Possible from anywhere, before the executor runs too. The task is called by the place of this
/// call. Panics end the domain, so a task's end is its output or [`Cancelled`].
///
/// ```ignore
/// let answer = libos::spawn(async { 6 * 7 });
/// assert_eq!(answer.await, Ok(42));
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    global().spawn(Name::Place(Location::caller()), future)
}

/// Spawns a task that has a name, for the task list and for warnings.
pub fn spawn_named<F>(name: impl Into<Cow<'static, str>>, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    global().spawn(Name::Given(name.into()), future)
}

/// Lets all others that are queued have their turn.
///
/// # Cancellation
/// Safe.
pub async fn yield_now() {
    // An app that does this has a run loop to yield to.
    let _: &Executor = global();
    embassy_futures::yield_now().await;
}

/// Says in the task list what the current task waits for, while `future` is not ready. Of several
/// at once the outermost counts.
///
/// # Cancellation
/// That of `future`.
pub async fn waiting<F: Future>(reason: &'static str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let poll = future.as_mut().poll(context);
        if poll.is_pending() {
            global().label(|label, _| *label = Some(reason));
        }
        poll
    })
    .await
}

/// Says in the task list until when the current task sleeps at the latest.
pub(crate) fn sleeping_until(deadline: Instant) {
    global().label(|_, until| *until = deadline.min(*until));
}

/// What can be told about each task, in the order of spawning.
pub fn tasks() -> Vec<TaskInfo> {
    global().tasks()
}

/// Sets after how many polls at the most events and timers are looked at: [`ROUND_POLLS`] unless
/// set. More is less overhead, fewer is a quicker answer to events under load. 0 counts as 1.
pub fn set_round_polls(polls: usize) {
    global().tune(|tuning| tuning.round_polls = polls.max(1));
}

/// Sets how long a poll may take before its task is named in a warning: [`SLOW_POLL`] unless set.
pub fn set_slow_poll(limit: Duration) {
    global().tune(|tuning| tuning.slow_poll_ns = crate::time::nanos(limit));
}

/// Reading the clock may cost something else from now on: after a resume in another domain.
pub(crate) fn clock_changed() {
    global().tune(|tuning| tuning.clock_measured = false);
}
