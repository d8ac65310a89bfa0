//! Offsets in the shared info page (Xen: xen.h, struct shared_info, 64-bit layout).

/// Bytes of one `vcpu_info`; that of vCPU 0 begins the page.
pub const VCPU_INFO_BYTES: usize = size_of::<xen_sys::vcpu_info>();
/// u8: events are pending for vCPU 0.
pub const UPCALL_PENDING: usize = core::mem::offset_of!(xen_sys::vcpu_info, evtchn_upcall_pending);
/// u64: which words of [`EVTCHN_PENDING`] have bits set.
pub const PENDING_SEL: usize = core::mem::offset_of!(xen_sys::vcpu_info, evtchn_pending_sel);
/// Time of vCPU 0, see [`crate::time`].
pub const VCPU_TIME: usize = core::mem::offset_of!(xen_sys::vcpu_info, time);
/// 64 words of pending bits, one bit a port.
pub const EVTCHN_PENDING: usize = core::mem::offset_of!(xen_sys::shared_info, evtchn_pending);
/// 64 words of mask bits.
pub const EVTCHN_MASK: usize = core::mem::offset_of!(xen_sys::shared_info, evtchn_mask);
/// Words of pending bits, and of mask bits.
pub const EVTCHN_WORDS: usize = 64;
/// Version of the wall clock, odd while it is written.
pub const WC_VERSION: usize = core::mem::offset_of!(xen_sys::shared_info, wc_version);
/// u32: seconds since 1970 at system time 0, the lower half.
pub const WC_SEC: usize = core::mem::offset_of!(xen_sys::shared_info, wc_sec);
/// u32: nanoseconds on top.
pub const WC_NSEC: usize = core::mem::offset_of!(xen_sys::shared_info, wc_nsec);
/// u32: the seconds' upper half.
pub const WC_SEC_HIGH: usize = WC_NSEC + 4;

// Two sources agree: the crate's generated structures and the offsets of Xen's headers.
const _: () = assert!(VCPU_INFO_BYTES == 64 && UPCALL_PENDING == 0 && PENDING_SEL == 8);
const _: () = assert!(VCPU_TIME == 32 && EVTCHN_PENDING == 2048 && EVTCHN_MASK == 2560);
const _: () = assert!(WC_VERSION == 3072 && WC_SEC == 3076 && WC_SEC_HIGH == 3084);
