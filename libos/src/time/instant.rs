//! A point in monotonic time.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point in time: nanoseconds since the domain's first instruction.
///
/// It never goes back, also over suspend and migration. Arithmetic stops at [`Instant::BOOT`] and
/// [`Instant::FAR_FUTURE`] instead of overflowing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(u64);

impl Instant {
    /// The domain's first instruction.
    pub const BOOT: Self = Self(0);
    /// 584 years later: what waits for it waits for ever.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Now. This reads the clock: some hypervisors make that cost microseconds.
    pub fn now() -> Self {
        super::clock::now()
    }

    /// The point that is `ns` nanoseconds after boot.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since boot.
    pub const fn since_boot(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Moves this point to a later one; by how many nanoseconds.
    pub(crate) fn advance_to(&mut self, later: Self) -> u64 {
        later.0.saturating_sub(core::mem::replace(self, later).0)
    }

    /// Time from this point to now.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

/// Nanoseconds of a duration, at most those that fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos(later)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, later: Duration) {
        *self = *self + later;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(earlier)))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`Instant::saturating_duration_since`].
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Display for Instant {
    /// Seconds since boot, with microseconds, as in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 / 1000 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let one = Instant::from_nanos(1);
        assert_eq!(Instant::BOOT + Duration::from_nanos(1), one);
        assert_eq!(one - Duration::from_secs(1), Instant::BOOT);
        assert_eq!(one + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::BOOT - one, Duration::ZERO);
        assert_eq!(Instant::FAR_FUTURE - one, Duration::from_nanos(u64::MAX - 1));
    }

    #[test]
    fn it_is_printed_in_seconds() {
        assert_eq!(Instant::from_nanos(12_000_345_678).to_string(), "12.000345");
    }
}
