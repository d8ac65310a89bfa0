//! Time as Xen tells it: a counter and how to turn it into nanoseconds (Xen: xen.h,
//! vcpu_time_info).

use crate::bytes::{u32_at, u64_at};

/// Bytes of the structure.
pub const VCPU_TIME_BYTES: usize = size_of::<xen_sys::vcpu_time_info>();

/// A snapshot of `vcpu_time_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VcpuTime {
    /// Odd while Xen writes; changed by every write.
    pub version: u32,
    /// Time stamp counter at `system_time_ns`.
    pub tsc_timestamp: u64,
    /// Nanoseconds since Xen's own start.
    pub system_time_ns: u64,
    /// Nanoseconds a tick, as a fraction of 2^32 after the shift.
    pub tsc_to_system_mul: u32,
    /// Power of two that ticks are multiplied by first; negative divides.
    pub tsc_shift: i8,
}

impl VcpuTime {
    /// The structure from its bytes; the reader checks the version before and after copying.
    pub fn parse(bytes: &[u8; VCPU_TIME_BYTES]) -> Option<Self> {
        Some(Self {
            version: u32_at(bytes, 0)?,
            tsc_timestamp: u64_at(bytes, 8)?,
            system_time_ns: u64_at(bytes, 16)?,
            tsc_to_system_mul: u32_at(bytes, 24)?,
            tsc_shift: *bytes.get(28)? as i8,
        })
    }

    /// Nanoseconds that `ticks` of the counter take.
    pub fn ticks_to_ns(&self, ticks: u64) -> u64 {
        let ticks = u128::from(ticks);
        let shift = u32::from(self.tsc_shift.unsigned_abs()).min(63);
        let shifted = if self.tsc_shift >= 0 { ticks << shift } else { ticks >> shift };
        (shifted.wrapping_mul(u128::from(self.tsc_to_system_mul)) >> 32) as u64
    }

    /// System time at a reading of the counter, in nanoseconds.
    pub fn system_time_ns_at(&self, tsc: u64) -> u64 {
        let ticks = tsc.saturating_sub(self.tsc_timestamp);
        self.system_time_ns.saturating_add(self.ticks_to_ns(ticks))
    }
}

const _: () = assert!(VCPU_TIME_BYTES == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(mul: u32, shift: i8) -> VcpuTime {
        VcpuTime {
            version: 2,
            tsc_timestamp: 1000,
            system_time_ns: 5_000,
            tsc_to_system_mul: mul,
            tsc_shift: shift,
        }
    }

    #[test]
    fn a_counter_of_2_ghz_takes_half_a_nanosecond() {
        assert_eq!(clock(1 << 31, 0).system_time_ns_at(1000 + 2_000_000), 5_000 + 1_000_000);
        assert_eq!(clock(1 << 31, 1).ticks_to_ns(4), 4);
        assert_eq!(clock(1 << 31, -1).ticks_to_ns(4), 1);
    }

    #[test]
    fn a_counter_behind_the_snapshot_gives_the_snapshot() {
        assert_eq!(clock(1 << 31, 0).system_time_ns_at(0), 5_000);
    }

    #[test]
    fn fields_are_where_the_header_puts_them() {
        let mut bytes = [0; VCPU_TIME_BYTES];
        bytes[0] = 4;
        bytes[8] = 1;
        bytes[16] = 2;
        bytes[24] = 3;
        bytes[28] = 0xff;
        let time = VcpuTime::parse(&bytes).unwrap();
        assert_eq!((time.version, time.tsc_timestamp, time.system_time_ns), (4, 1, 2));
        assert_eq!((time.tsc_to_system_mul, time.tsc_shift), (3, -1));
    }

    proptest! {
        #[test]
        fn no_values_overflow(mul: u32, shift: i8, tsc: u64, stamp: u64) {
            let mut time = clock(mul, shift);
            time.tsc_timestamp = stamp;
            let _ = time.system_time_ns_at(tsc);
        }
    }
}
