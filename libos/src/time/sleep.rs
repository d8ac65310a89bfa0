//! Sleeping, and limits on how long something may take.

use super::timers::Key;
use super::{Instant, Timers};
use crate::exec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use embassy_futures::select::{Either, select};

/// Sleeps for at least this long.
///
/// # Cancellation
/// Safe: a sleep that is dropped leaves nothing behind.
pub fn sleep(time: Duration) -> Sleep {
    sleep_until(Instant::now() + time)
}

/// Sleeps until this point in time, at least. Lets all others run once, also if it has passed.
///
/// # Cancellation
/// Safe: a sleep that is dropped leaves nothing behind.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { timers: super::timers(), deadline, key: None }
}

/// Gives a future this long, from now.
///
/// If output and time limit come together, the output counts.
///
/// # Errors
/// [`Elapsed`] when the time is over; the future is dropped.
///
/// # Cancellation
/// That of the future.
pub fn timeout<F: Future>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    timeout_at(Instant::now() + limit, future)
}

/// Gives a future until this point in time, as [`timeout`] does.
///
/// # Errors
/// [`Elapsed`] when the time has come; the future is dropped.
///
/// # Cancellation
/// That of the future.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    match select(future, sleep_until(deadline)).await {
        Either::First(output) => Ok(output),
        Either::Second(()) => Err(Elapsed),
    }
}

/// The time was over before the output came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl core::error::Error for Elapsed {}

/// A sleep: what [`sleep`] and [`sleep_until`] give.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    timers: &'static Timers,
    deadline: Instant,
    key: Option<Key>,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Polls for the end; ready with the reading of the clock by which it has come.
    pub(super) fn poll_fired(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        let poll = self.timers.poll(&mut self.key, self.deadline, context.waker());
        if poll.is_pending() {
            exec::sleeping_until(self.deadline);
        }
        poll
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.get_mut().poll_fired(context).map(drop)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.timers.cancel(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep until {}", self.deadline)
    }
}
