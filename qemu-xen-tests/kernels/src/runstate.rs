//! How long this domain has had the CPU, as Xen counts it.
//!
//! Source: Xen: vcpu.h, VCPUOP_get_runstate_info and struct vcpu_runstate_info: `{ i32 state; u64
//! state_entry_time; u64 time[4]; }`, `time[0]` being the nanoseconds spent running.

use core::time::Duration;

/// Hypercall number of `vcpu_op` (Xen: xen.h).
const VCPU_OP: u64 = 24;
/// Its command (Xen: vcpu.h).
const GET_RUNSTATE_INFO: u64 = 4;
/// Index of `time[0]` in the structure as words.
const RUNNING: usize = 2;

/// How long vCPU 0 has run in all; nothing if Xen does not tell.
pub fn running_time() -> Option<Duration> {
    let mut info = [0_u64; 6];
    let args = [GET_RUNSTATE_INFO, 0, &raw mut info as u64, 0, 0];
    // SAFETY: kernels run on Xen, and have made hypercalls before `main`; Xen writes the 48 bytes
    // of the structure, which `info` has and nothing else uses.
    let result = unsafe { arch::vmcall::call5(VCPU_OP, args) };
    (result == 0).then(|| Duration::from_nanos(info[RUNNING]))
}
