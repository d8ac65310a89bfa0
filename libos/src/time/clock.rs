//! The domain's clock: time since its first instruction, and the time of day.

use super::Instant;
use core::time::Duration;
use spin::Once;
use xen::clock::Clock;
use xen_abi::time::VcpuTime;

static CLOCK: Once<Clock> = Once::new();

/// Starts the clock.
pub(crate) fn start(clock: Clock) {
    CLOCK.call_once(|| clock);
}

/// The clock, once it is started.
pub(crate) fn get() -> Option<&'static Clock> {
    CLOCK.get()
}

/// The rate of a counter whose frequency is known, in kHz; a frequency of 0 counts as 1 GHz.
pub(crate) fn rate_of_khz(khz: u32) -> VcpuTime {
    let khz = if khz == 0 { 1_000_000 } else { khz };
    // Nanoseconds a tick as a fraction of 2^32, halved until it fits in 32 bits.
    let (mut fraction, mut tsc_shift) = ((1_000_000u64 << 32) / u64::from(khz), 0);
    while fraction > u64::from(u32::MAX) {
        fraction >>= 1;
        tsc_shift += 1;
    }
    VcpuTime {
        version: 0,
        tsc_timestamp: 0,
        system_time_ns: 0,
        tsc_to_system_mul: fraction as u32,
        tsc_shift,
    }
}

/// Time since the domain's first instruction; zero before the clock is started.
pub fn since_boot() -> Duration {
    Instant::now().since_boot()
}

/// Time since 1970-01-01 UTC, as the control domain keeps it; nothing on a machine without Xen. It
/// may be set back and forth: measure with [`Instant`].
pub fn wall() -> Option<Duration> {
    CLOCK.get()?.wall(arch::tsc::read)
}

/// Now; [`Instant::BOOT`] before the clock is started.
#[cfg(not(test))]
pub(super) fn now() -> Instant {
    Instant::from_nanos(CLOCK.get().map_or(0, |clock| clock.now_ns(arch::tsc::read)))
}

/// Now, by the test's clock.
#[cfg(test)]
pub(super) fn now() -> Instant {
    crate::exec::testing::world().now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_frequency_gives_a_rate() {
        for khz in [1, 999_999, 1_000_000, 2_400_000, u32::MAX] {
            let ns = rate_of_khz(khz).ticks_to_ns(u64::from(khz) * 1000);
            assert!((999_999_000..=1_000_000_000).contains(&ns), "{khz} kHz: {ns} ns a second");
        }
        assert_eq!(rate_of_khz(0), rate_of_khz(1_000_000));
    }
}
