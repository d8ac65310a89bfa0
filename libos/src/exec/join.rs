//! The handle of a task: waits for its output, cancels it, or lets it go.

use super::info::TaskId;
use super::task::Task;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The task was cancelled before it had an output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was cancelled")
    }
}

impl core::error::Error for Cancelled {}

/// The handle of a task. Awaiting it gives the task's output, or [`Cancelled`].
///
/// Dropping the handle detaches the task: it goes on, and its output is dropped. Who wants a task
/// to end with a scope calls [`JoinHandle::cancel`] there.
///
/// # Cancellation
/// Safe: a wait that is dropped leaves task and output as they are. An output is given once; a
/// handle that is awaited again says [`Cancelled`].
pub struct JoinHandle<T> {
    pub(super) task: Arc<Task<T>>,
}

impl<T: Send + 'static> JoinHandle<T> {
    /// Cancels the task. Its future is dropped before this returns, unless the task is being
    /// polled: a task that cancels itself ends when its poll does. A task that has ended keeps its
    /// output.
    pub fn cancel(&self) {
        let link = &self.task.link;
        link.executor.cancel(link);
    }

    /// Lets the task go on by itself; the same as dropping the handle, for all to see.
    pub fn detach(self) {}

    /// Whether the task has ended, with an output or cancelled.
    pub fn is_finished(&self) -> bool {
        let link = &self.task.link;
        !link.executor.is_live(link)
    }

    /// Which task this is, as in the task list.
    pub fn id(&self) -> TaskId {
        self.task.link.id
    }
}

impl<T: Send + 'static> Future for JoinHandle<T> {
    type Output = Result<T, Cancelled>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let link = &self.task.link;
        if link.executor.join(link, context.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.task.take_output().ok_or(Cancelled))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let link = &self.task.link;
        if !link.executor.detach(link) {
            drop(self.task.take_output());
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.task.link.id)
    }
}
