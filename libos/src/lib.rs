//! The runtime an app links: start, executor, heap, log, console, boot line.
//!
//! ```text
//!   entry! ─▶ start ─▶ heap ─▶ clock ─▶ console ─▶ boot line ─▶ exec::run(main(Env)) ─▶ shutdown
//!                                                     crash: from anywhere
//! ```
//!
//! An app knows this crate alone, and begins with [`entry!`].
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod app;
pub mod boot_line;
#[cfg(xenios_kernel)]
pub mod console;
#[cfg(xenios_kernel)]
mod crash;
#[cfg(xenios_kernel)]
mod exec;
#[allow(unsafe_code, reason = "an allocator deals in raw memory")]
pub mod heap;
mod logger;
pub mod memory;
pub mod pages;
#[cfg(xenios_kernel)]
mod platform;
#[cfg(xenios_kernel)]
#[doc(hidden)]
pub mod start;
pub mod time;

pub use app::{Env, Error, Outcome, Status};
#[doc(hidden)]
pub use boot;
pub use log;
