//! The driver of a disk as a task, and the handle that apps use.
//!
//! ```text
//!   app ── BlockDevice ── Transfer ──┐  submit, poll
//!   app ── BlockDevice ──────────────┤
//!                                 Shared: Engine under a lock, taken for moments
//!                                    │  service: ring, events
//!                                 Driver ── xenbus: states, keys ── Rings: pages, grants, ports
//! ```
//!
//! Requests of all tasks that ran since gather in the engine; then the driver puts them on the ring
//! and sends one event for all of them.

mod bytes;
mod device;
mod driver;
mod rings;
mod session;
mod shared;
#[cfg(test)]
mod tests;
mod transfer;

pub use device::{BlockDevice, Connecting};
pub use driver::{Driver, new};
