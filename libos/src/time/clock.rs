//! The clock: time since the domain's first instruction.

use super::Instant;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use spin::Once;
use xen_abi::time::VcpuTime;

/// How ticks of the counter become time, and the tick that counts as zero.
#[derive(Clone, Copy, Debug)]
struct Origin {
    first_tsc: u64,
    rate: VcpuTime,
}

static ORIGIN: Once<Origin> = Once::new();

/// Starts the clock: `first_tsc` is the counter at the first instruction, `rate` tells its speed.
pub(crate) fn start(first_tsc: u64, rate: VcpuTime) {
    ORIGIN.call_once(|| Origin { first_tsc, rate });
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

/// Now; [`Instant::BOOT`] before the clock is started.
#[cfg(not(test))]
pub(super) fn now() -> Instant {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let ns = ORIGIN.get().map_or(0, |origin| {
        origin.rate.ticks_to_ns(arch::tsc::read().saturating_sub(origin.first_tsc))
    });
    Instant::from_nanos(never_back(&LATEST, ns))
}

/// Now, by the test's clock.
#[cfg(test)]
pub(super) fn now() -> Instant {
    crate::exec::testing::world().now()
}

/// `now`, unless a later time was given out before: then that one.
fn never_back(latest: &AtomicU64, now: u64) -> u64 {
    let before = latest.load(Ordering::Relaxed);
    if now <= before {
        return before;
    }
    // Nothing runs in between: there is one CPU, and no interrupt runs code that reads the clock.
    latest.store(now, Ordering::Relaxed);
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn any_frequency_gives_a_rate() {
        for khz in [1, 999_999, 1_000_000, 2_400_000, u32::MAX] {
            let ns = rate_of_khz(khz).ticks_to_ns(u64::from(khz) * 1000);
            assert!((999_999_000..=1_000_000_000).contains(&ns), "{khz} kHz: {ns} ns a second");
        }
        assert_eq!(rate_of_khz(0), rate_of_khz(1_000_000));
    }
    #[test]
    fn it_never_goes_back() {
        let latest = AtomicU64::new(0);
        let given: Vec<u64> = [5, 7, 6, 6, 8].iter().map(|ns| never_back(&latest, *ns)).collect();
        assert_eq!(given, [5, 7, 7, 7, 8]);
    }
}
