//! `vcpu_op`: which vCPUs there are, and the one-shot timer (Xen: vcpu.h).

/// `vcpu_op` commands.
pub mod op {
    /// Whether a vCPU runs; an error if there is none of that number.
    pub const IS_UP: u64 = 3;
    /// Stops the periodic timer that a vCPU may start with.
    pub const STOP_PERIODIC_TIMER: u64 = 7;
    /// Arms the one-shot timer; a time that has passed fires at once.
    pub const SET_SINGLESHOT_TIMER: u64 = 8;
    /// Disarms it.
    pub const STOP_SINGLESHOT_TIMER: u64 = 9;
}

/// Argument of `SET_SINGLESHOT_TIMER` (Xen: vcpu.h, vcpu_set_singleshot_timer).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SetSingleshotTimer {
    /// System time in nanoseconds.
    pub timeout_abs_ns: u64,
    /// 0: a time in the past is no error.
    pub flags: u32,
    /// Padding.
    pub pad: u32,
}

const _: () = assert!(size_of::<SetSingleshotTimer>() == 16);
