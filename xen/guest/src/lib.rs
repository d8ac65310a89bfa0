//! The mechanisms a guest has on Xen: hypercalls, shared pages, events, grants, console, clock.
//!
//! ```text
//!   console  evtchn  gnttab  clock  what a peer says is alleged: copied once, checked, then used
//!      └────────┼───────┴──────┘
//!          page, window             memory that a peer writes while we read; where Xen's pages go
//!          hypercall                trait Hypervisor: Native in a guest, a fake in tests
//! ```
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attach;
pub mod clock;
pub mod console;
pub mod evtchn;
pub mod gnttab;
pub mod hypercall;
#[allow(unsafe_code, reason = "memory that a peer writes cannot be a Rust slice")]
pub mod page;
pub mod ring;
#[cfg(not(xenios_kernel))]
pub mod testing;
pub mod window;
pub mod xenbus;
pub mod xenstore;

pub use hypercall::Hypervisor;
#[cfg(xenios_kernel)]
pub use hypercall::Native;
