//! Time from the shared info page, without a hypercall.
//!
//! Xen writes a snapshot (counter, system time, rate) for the vCPU and bumps its version before and
//! after: odd means that it is writing. A reader copies, and keeps the copy if the version was even and
//! the same before and after (Xen: xen.h, vcpu_time_info).

use crate::page::SharedPage;
use core::sync::atomic::{Ordering, fence};
use xen_abi::shared_info::VCPU_TIME;
use xen_abi::time::{VCPU_TIME_BYTES, VcpuTime};

/// Tries before a snapshot is given up; Xen writes for less than a microsecond.
const TRIES: u32 = 1000;

/// A consistent snapshot of vCPU 0's time, or nothing if the page never holds still.
pub fn snapshot(shared_info: &SharedPage) -> Option<VcpuTime> {
    for _ in 0..TRIES {
        let version = shared_info.u32_at(VCPU_TIME).load(Ordering::Acquire);
        let mut bytes = [0; VCPU_TIME_BYTES];
        shared_info.read(VCPU_TIME, &mut bytes);
        fence(Ordering::Acquire);
        let after = shared_info.u32_at(VCPU_TIME).load(Ordering::Relaxed);
        if version & 1 == 0 && version == after {
            return VcpuTime::parse(&bytes);
        }
        core::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_taken_between_writes_only() {
        let page = SharedPage::allocate().unwrap();
        page.u32_at(VCPU_TIME).store(4, Ordering::Relaxed);
        page.u64_at(VCPU_TIME + 16).store(99, Ordering::Relaxed);
        assert_eq!(snapshot(&page).map(|time| (time.version, time.system_time_ns)), Some((4, 99)));
        page.u32_at(VCPU_TIME).store(5, Ordering::Relaxed);
        assert_eq!(snapshot(&page), None, "given up, not spun for ever");
    }
}
