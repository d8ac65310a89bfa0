//! Time from the shared info page, without a hypercall.
//!
//! Xen writes a snapshot (counter, system time, rate) for the vCPU and bumps its version before and
//! after: odd means that it is writing. A reader copies, and keeps the copy if the version was even
//! and the same before and after (Xen: xen.h, vcpu_time_info). The wall clock has a version of its
//! own.
//!
//! ```text
//!   counter ──snapshot──▶ system time (Xen's, jumps when the domain is resumed elsewhere)
//!                             │ + offset
//!                             ▼
//!                         monotonic time: 0 at the domain's first instruction, never goes back
//!   wall clock at system time 0 ──+ system time──▶ time since 1970
//! ```

use crate::page::SharedPage;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use core::time::Duration;
use xen_abi::shared_info::{VCPU_TIME, WC_NSEC, WC_SEC, WC_SEC_HIGH, WC_VERSION};
use xen_abi::time::{VCPU_TIME_BYTES, VcpuTime};

/// Tries before a snapshot is given up; Xen writes for less than a microsecond.
const TRIES: u32 = 1000;

/// Where the clock's rate comes from.
enum Source {
    /// Xen's page.
    Page(Arc<SharedPage>),
    /// A rate that never changes, on a machine without Xen.
    Fixed(VcpuTime),
}

/// The domain's clock.
///
/// The counter is the caller's to read (`arch::tsc::read` in a kernel), so that all here can be
/// tested.
pub struct Clock {
    source: Source,
    /// Added to system time to make monotonic time; wraps.
    offset_ns: AtomicU64,
    /// The latest monotonic time given out.
    latest_ns: AtomicU64,
}

impl Clock {
    /// A clock by Xen's page, which reads 0 at `first_tsc`.
    pub fn by_page(page: Arc<SharedPage>, first_tsc: u64, now_tsc: fn() -> u64) -> Self {
        Self::new(Source::Page(page), first_tsc, now_tsc)
    }

    /// A clock for a counter of fixed rate, which reads 0 at `first_tsc`.
    pub fn by_rate(rate: VcpuTime, first_tsc: u64, now_tsc: fn() -> u64) -> Self {
        Self::new(Source::Fixed(rate), first_tsc, now_tsc)
    }

    fn new(source: Source, first_tsc: u64, now_tsc: fn() -> u64) -> Self {
        let clock = Self { source, offset_ns: AtomicU64::new(0), latest_ns: AtomicU64::new(0) };
        if let Some((time, tsc)) = clock.snapshot(now_tsc) {
            let age_ns = time.ticks_to_ns(tsc.saturating_sub(first_tsc));
            let offset_ns = age_ns.wrapping_sub(time.system_time_ns_at(tsc));
            clock.offset_ns.store(offset_ns, Ordering::Relaxed);
        }
        clock
    }

    /// Nanoseconds since the domain's first instruction. Never goes back, whatever the hypervisor
    /// says.
    pub fn now_ns(&self, now_tsc: fn() -> u64) -> u64 {
        let latest_ns = self.latest_ns.load(Ordering::Relaxed);
        let Some(system_ns) = self.system_ns(now_tsc) else { return latest_ns };
        let now_ns = system_ns.wrapping_add(self.offset_ns.load(Ordering::Relaxed));
        // A value "before zero" is one that has wrapped.
        if now_ns as i64 <= latest_ns as i64 {
            return latest_ns;
        }
        self.latest_ns.store(now_ns, Ordering::Relaxed);
        now_ns
    }

    /// Xen's system time in nanoseconds; nothing if the page never holds still.
    pub fn system_ns(&self, now_tsc: fn() -> u64) -> Option<u64> {
        self.snapshot(now_tsc).map(|(time, tsc)| time.system_time_ns_at(tsc))
    }

    /// The system time at which monotonic time is `monotonic_ns`: for deadlines given to Xen.
    pub fn system_ns_at(&self, monotonic_ns: u64) -> u64 {
        let system_ns = monotonic_ns.wrapping_sub(self.offset_ns.load(Ordering::Relaxed));
        // A deadline before Xen's own start has long passed.
        if (system_ns as i64) < 0 { 0 } else { system_ns }
    }

    /// In a new domain system time is another one: goes on from the latest monotonic time.
    pub fn resume(&self, now_tsc: fn() -> u64) {
        if let Some(system_ns) = self.system_ns(now_tsc) {
            let latest_ns = self.latest_ns.load(Ordering::Relaxed);
            self.offset_ns.store(latest_ns.wrapping_sub(system_ns), Ordering::Relaxed);
        }
    }

    /// The shared info page that the clock reads; nothing without Xen.
    pub fn page(&self) -> Option<&Arc<SharedPage>> {
        match &self.source {
            Source::Page(page) => Some(page),
            Source::Fixed(_) => None,
        }
    }

    /// Time since 1970-01-01 UTC, as the control domain has set it; nothing without Xen.
    pub fn wall(&self, now_tsc: fn() -> u64) -> Option<Duration> {
        let Source::Page(page) = &self.source else { return None };
        let start = wall_at_zero(page)?;
        start.checked_add(Duration::from_nanos(self.system_ns(now_tsc)?))
    }

    /// A snapshot, and a reading of the counter to which it applies.
    fn snapshot(&self, now_tsc: fn() -> u64) -> Option<(VcpuTime, u64)> {
        let page = match &self.source {
            Source::Page(page) => page,
            Source::Fixed(rate) => return Some((*rate, now_tsc())),
        };
        consistent(page, VCPU_TIME, || {
            let mut bytes = [0; VCPU_TIME_BYTES];
            page.read(VCPU_TIME, &mut bytes);
            // Read in between, so that both are of one physical CPU.
            VcpuTime::parse(&bytes).map(|time| (time, now_tsc()))
        })
    }
}

/// A consistent snapshot of vCPU 0's time, or nothing if the page never holds still.
pub fn snapshot(page: &SharedPage) -> Option<VcpuTime> {
    consistent(page, VCPU_TIME, || {
        let mut bytes = [0; VCPU_TIME_BYTES];
        page.read(VCPU_TIME, &mut bytes);
        VcpuTime::parse(&bytes)
    })
}

/// The wall clock at system time 0.
fn wall_at_zero(page: &SharedPage) -> Option<Duration> {
    consistent(page, WC_VERSION, || {
        let word = |offset| page.u32_at(offset).load(Ordering::Relaxed);
        let seconds = u64::from(word(WC_SEC_HIGH)) << 32 | u64::from(word(WC_SEC));
        // More nanoseconds than a second has would be carried over; Xen writes none such.
        Some(
            Duration::from_secs(seconds).saturating_add(Duration::from_nanos(word(WC_NSEC).into())),
        )
    })
}

/// What `read` finds between two writes of Xen's to the part whose version is at `version_at`.
fn consistent<T>(page: &SharedPage, version_at: usize, read: impl Fn() -> Option<T>) -> Option<T> {
    for _ in 0..TRIES {
        let version = page.u32_at(version_at).load(Ordering::Acquire);
        let found = read();
        fence(Ordering::Acquire);
        let after = page.u32_at(version_at).load(Ordering::Relaxed);
        if version & 1 == 0 && version == after {
            return found;
        }
        core::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use proptest::prelude::*;
    use std::thread_local;
    use std::vec::Vec;

    thread_local!(static TSC: Cell<u64> = const { Cell::new(0) });

    fn tsc() -> u64 {
        TSC.get()
    }

    /// A page that says: one tick is one nanosecond, system time `system_ns` at counter `stamp`.
    fn set(page: &SharedPage, stamp: u64, system_ns: u64) {
        page.u64_at(VCPU_TIME + 8).store(stamp, Ordering::Relaxed);
        page.u64_at(VCPU_TIME + 16).store(system_ns, Ordering::Relaxed);
        page.u32_at(VCPU_TIME + 24).store(1 << 31, Ordering::Relaxed);
        page.u8_at(VCPU_TIME + 28).store(1, Ordering::Relaxed);
        page.u32_at(VCPU_TIME).fetch_add(2, Ordering::Release);
    }

    fn clock(first_tsc: u64) -> (Clock, SharedPage) {
        let page = SharedPage::allocate().unwrap();
        let xen = page.peer();
        set(&xen, 1000, 5_000_000);
        (Clock::by_page(Arc::new(page), first_tsc, tsc), xen)
    }

    #[test]
    fn time_begins_at_the_first_instruction() {
        TSC.set(3000);
        let (clock, _) = clock(2000);
        assert_eq!(clock.now_ns(tsc), 1000);
        assert_eq!(clock.system_ns(tsc), Some(5_002_000));
        assert_eq!(clock.system_ns_at(1500), 5_002_500);
        assert_eq!(clock.system_ns_at(0), 5_001_000);
        TSC.set(4000);
        assert_eq!(clock.now_ns(tsc), 2000);
    }

    #[test]
    fn time_never_goes_back() {
        TSC.set(3000);
        let (clock, xen) = clock(2000);
        assert_eq!(clock.now_ns(tsc), 1000);
        set(&xen, 3000, 4_000_000);
        assert_eq!(clock.now_ns(tsc), 1000, "Xen's time went back, ours waits");
        set(&xen, 3000, 5_100_000);
        assert_eq!(clock.now_ns(tsc), 99_000);
    }

    #[test]
    fn time_goes_on_in_a_new_domain() {
        TSC.set(3000);
        let (clock, xen) = clock(2000);
        clock.now_ns(tsc);
        for system_ns in [7, 1 << 60] {
            set(&xen, 900_000, system_ns);
            TSC.set(900_000);
            let before_ns = clock.now_ns(tsc);
            clock.resume(tsc);
            assert!(clock.now_ns(tsc) - before_ns < 10);
            TSC.set(900_500);
            assert_eq!(clock.now_ns(tsc) - before_ns, 500);
            assert_eq!(clock.system_ns_at(before_ns + 500), system_ns + 500);
        }
    }

    #[test]
    fn the_wall_clock_counts_beyond_32_bits() {
        TSC.set(1000);
        let (clock, xen) = clock(1000);
        xen.u32_at(WC_SEC).store(7, Ordering::Relaxed);
        xen.u32_at(WC_SEC_HIGH).store(1, Ordering::Relaxed);
        xen.u32_at(WC_NSEC).store(999_999_999, Ordering::Relaxed);
        let expected = Duration::new((1 << 32) + 7, 999_999_999) + Duration::from_nanos(5_000_000);
        assert_eq!(clock.wall(tsc), Some(expected));
        xen.u32_at(WC_VERSION).store(3, Ordering::Relaxed);
        assert_eq!(clock.wall(tsc), None, "given up, not spun for ever");
    }

    #[test]
    fn a_page_that_never_holds_still_stops_the_clock() {
        TSC.set(3000);
        let (clock, xen) = clock(2000);
        assert_eq!(clock.now_ns(tsc), 1000);
        xen.u32_at(VCPU_TIME).fetch_or(1, Ordering::Relaxed);
        TSC.set(9000);
        assert_eq!(clock.now_ns(tsc), 1000);
    }

    proptest! {
        #[test]
        fn no_page_can_turn_time_back(steps: Vec<(u64, u64, u64, bool)>) {
            TSC.set(3000);
            let (clock, xen) = clock(2000);
            let mut latest_ns = 0;
            for (stamp, system_ns, counter, resume) in steps {
                set(&xen, stamp, system_ns);
                TSC.set(counter);
                if resume {
                    clock.resume(tsc);
                }
                let now_ns = clock.now_ns(tsc);
                prop_assert!(now_ns as i64 >= latest_ns as i64);
                latest_ns = now_ns;
                let _ = (clock.system_ns_at(counter), clock.wall(tsc));
            }
        }
    }
}
