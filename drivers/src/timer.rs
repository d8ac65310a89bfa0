//! What the drivers need of time, and of two things that may happen.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

/// Lets time pass. The runtime has one; tests have their own.
pub trait Timer: Send + Sync {
    /// Waits.
    ///
    /// # Cancellation
    /// Safe.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
}

/// Which of two happened.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for the first of two; the other one is dropped. If both are ready, the first counts.
pub(crate) async fn either<A, B>(
    first: impl Future<Output = A>,
    second: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}
