//! A task's own memory: its future, later its output; and what wakes it.
//!
//! ```text
//!   JoinHandle ──┐
//!   slot ────────┼─▶ Arc<Task<T>> { link, stage } ──stage──▶ Box<dyn Future>      two allocations
//!   wakers ──────┘       ▲                            │
//!                        ╰── its own waker ───────────╯      until the future has ended
//! ```
//!
//! The future is dropped the moment it has ended, whoever still holds a waker. While a task is
//! claimed (see [`super::state`]) only the claimer touches its stage, so the stage's lock is always
//! free: the lock is there to say so in safe code.

use super::Executor;
use super::info::TaskId;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use spin::Mutex;

/// The future of a task, in a box.
pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How to find a task in its executor.
pub(super) struct Link {
    pub(super) executor: &'static Executor,
    pub(super) index: u32,
    pub(super) id: TaskId,
}

/// A task without its type: what the executor needs of it.
pub(super) trait Body: Send + Sync {
    /// Polls the future; whether it has ended.
    fn poll(&self) -> bool;
    /// Drops the future, or the output that nobody took.
    fn clear(&self);
}

/// A task whose output is a `T`.
pub(super) struct Task<T> {
    pub(super) link: Link,
    stage: Mutex<Stage<T>>,
}

enum Stage<T> {
    /// The future, and the waker that it is polled with.
    Live(BoxFuture<T>, Waker),
    /// The output, until someone asks for it.
    Done(T),
    /// Nothing: cancelled, or the output was taken.
    Empty,
}

impl<T: Send + 'static> Task<T> {
    /// A task with this future.
    pub(super) fn new(link: Link, future: BoxFuture<T>) -> Arc<Self> {
        let task = Arc::new(Self { link, stage: Mutex::new(Stage::Empty) });
        let waker = Waker::from(task.clone());
        *task.stage.lock() = Stage::Live(future, waker);
        task
    }
}

impl<T> Task<T> {
    /// The output, once. Called when the task is no longer listed.
    pub(super) fn take_output(&self) -> Option<T> {
        match self.replace(Stage::Empty) {
            Stage::Done(output) => Some(output),
            _ => None,
        }
    }

    /// Changes the stage; the old one is dropped by the caller, without the lock.
    fn replace(&self, stage: Stage<T>) -> Stage<T> {
        core::mem::replace(&mut *self.stage.lock(), stage)
    }
}

impl<T: Send> Body for Task<T> {
    fn poll(&self) -> bool {
        let mut stage = self.stage.lock();
        let Stage::Live(future, waker) = &mut *stage else { return true };
        let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) else {
            return false;
        };
        drop(stage);
        // The future goes before its output can be had.
        drop(self.replace(Stage::Empty));
        self.replace(Stage::Done(output));
        true
    }

    fn clear(&self) {
        drop(self.replace(Stage::Empty));
    }
}

impl<T: Send + 'static> Wake for Task<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.link.executor.wake(&self.link);
    }
}

impl Wake for Link {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.executor.wake(self);
    }
}
