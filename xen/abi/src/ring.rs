//! Layout of a shared ring of requests and responses (Xen: io/ring.h).
//!
//! ```text
//!   0   req_prod    requests written by the frontend
//!   4   req_event   the backend wants an event when req_prod passes this
//!   8   rsp_prod    responses written by the backend
//!   12  rsp_event   the frontend wants an event when rsp_prod passes this
//!   64  slots       each holds a request, then its response; their number is a power of two
//! ```

/// u32: requests written.
pub const REQ_PROD: usize = 0;
/// u32: when the backend wants an event.
pub const REQ_EVENT: usize = 4;
/// u32: responses written.
pub const RSP_PROD: usize = 8;
/// u32: when the frontend wants an event.
pub const RSP_EVENT: usize = 12;
/// First byte of the first slot.
pub const SLOTS: usize = 64;

/// Slots of `slot_bytes` each that fit into `ring_bytes`: a power of two.
pub const fn slot_count(ring_bytes: usize, slot_bytes: usize) -> u32 {
    let fit = (ring_bytes - SLOTS) / slot_bytes;
    if fit == 0 { 0 } else { 1 << fit.ilog2() }
}

// Xen's own: netif tx and rx in one page, blkif in one page and in sixteen.
const _: () = assert!(slot_count(4096, 12) == 256 && slot_count(4096, 8) == 256);
const _: () = assert!(slot_count(4096, 112) == 32 && slot_count(16 * 4096, 112) == 512);
