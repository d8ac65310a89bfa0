//! The mechanisms a guest has on Xen: hypercalls, shared pages, event channels, console, clock.
//!
//! ```text
//!   console   evtchn   clock        what a peer says is an allegation: copied once, checked, then used
//!      └────────┼────────┘
//!             page                  memory that a peer writes while we read
//!          hypercall                trait Hypervisor: Native in a guest, a fake in tests
//! ```
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(xenios_kernel)]
pub mod attach;
pub mod clock;
pub mod console;
pub mod evtchn;
pub mod hypercall;
#[allow(unsafe_code, reason = "memory that a peer writes cannot be a Rust slice")]
pub mod page;
#[cfg(not(xenios_kernel))]
pub mod testing;
pub mod xenbus;
pub mod xenstore;

pub use hypercall::Hypervisor;
#[cfg(xenios_kernel)]
pub use hypercall::Native;
