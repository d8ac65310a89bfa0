//! Xen's public interface as bytes and values: layouts, constants, parsers. No mechanism, no
//! unsafe.
//!
//! Everything that comes from outside (the loader, the hypervisor, a peer) is bytes until a `parse`
//! here has made a checked value of it. Numbers and plain structures that the `xen-sys` crate has
//! right are taken from there; the rest is restated from Xen's public headers, named at each item.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod blkif;
mod bytes;
pub mod console;
pub mod domid;
pub mod elfnote;
pub mod errno;
pub mod event;
pub mod gnttab;
pub mod hvm;
pub mod hypercall;
pub mod identity;
pub mod memory;
pub mod netif;
pub mod ring;
pub mod sched;
pub mod shared_info;
pub mod start_info;
pub mod time;
pub mod vcpu;
pub mod xenbus;
pub mod xs_wire;

pub use domid::DomId;
pub use errno::Errno;
