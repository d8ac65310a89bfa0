//! A beat: something to do every so often.

use super::{Instant, Sleep, sleep_until};
use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use futures_core::Stream;

/// Ticks every so often, on a grid: the time between two ticks varies, but no error adds up.
///
/// After a pause (the domain's, or the task's) the ticks that were missed come as one; the next is
/// again on the grid.
///
/// ```text
///   grid     |    |    |    |    |    |    |    |
///   awaited  ■    ■  paused ░░░░░░░░░   ■ ■    ■
///   ticks    1    2                     3 4    5
/// ```
pub struct Ticker {
    period: Duration,
    next: Sleep,
}

/// A ticker whose first tick is one period from now. A period of zero counts as a nanosecond.
pub fn interval(period: Duration) -> Ticker {
    Ticker::every(period)
}

impl Ticker {
    /// As [`interval`].
    pub fn every(period: Duration) -> Self {
        let period = period.max(Duration::from_nanos(1));
        Self { period, next: sleep_until(Instant::now() + period) }
    }

    /// Waits for the next tick; the point of the grid that it stands for. After a pause that is the
    /// first that was missed.
    ///
    /// # Cancellation
    /// Safe: a tick is taken only when it is returned.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|context| self.poll_tick(context)).await
    }

    /// [`Self::tick`] as a poll.
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        self.next.poll_fired(context).map(|fired| {
            let tick = self.next.deadline();
            self.next = sleep_until(following(tick, fired, self.period));
            tick
        })
    }

    /// Starts again: the next tick is one period from now.
    pub fn reset(&mut self) {
        self.next = sleep_until(Instant::now() + self.period);
    }

    /// Time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The first point of the grid after `fired`.
fn following(tick: Instant, fired: Instant, period: Duration) -> Instant {
    let period_ns = super::nanos(period);
    let missed = super::nanos(fired - tick) / period_ns;
    let ahead = period_ns.saturating_mul(missed.saturating_add(1));
    tick + Duration::from_nanos(ahead)
}

impl Stream for Ticker {
    type Item = Instant;

    /// Every tick; there is always another.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_tick(context).map(Some)
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticker at {}", self.next.deadline())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tick_is_on_the_grid_and_ahead() {
        let at = Instant::from_nanos;
        let ten = Duration::from_nanos(10);
        for (fired, next) in [(100, 110), (109, 110), (110, 120), (111, 120), (987, 990)] {
            assert_eq!(following(at(100), at(fired), ten), at(next), "fired at {fired}");
        }
        assert_eq!(following(at(5), Instant::FAR_FUTURE, ten), Instant::FAR_FUTURE);
        assert_eq!(following(at(5), at(5), Duration::MAX), Instant::FAR_FUTURE);
    }
}
