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
#![cfg_attr(not(xenios_kernel), allow(dead_code, reason = "its users exist in a kernel only"))]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(xenios_kernel)]
mod app;
pub mod balloon;
pub mod boot_line;
#[cfg(xenios_kernel)]
pub mod console;
#[cfg(xenios_kernel)]
mod crash;
pub mod exec;
#[cfg(xenios_kernel)]
#[doc(hidden)]
pub mod guest;
#[allow(unsafe_code, reason = "an allocator deals in raw memory")]
pub mod heap;
pub mod lifecycle;
mod logger;
#[cfg(xenios_kernel)]
pub mod memory;
pub mod net;
#[cfg(xenios_kernel)]
mod platform;
pub mod rng;
#[cfg(xenios_kernel)]
#[doc(hidden)]
pub mod start;
pub mod sync;
pub mod time;

#[cfg(xenios_kernel)]
pub use app::xenstore;
#[cfg(xenios_kernel)]
pub use app::{Env, Error, Outcome, Status};
#[doc(hidden)]
pub use boot;
pub use exec::{JoinHandle, spawn, spawn_named};
pub use log;
#[doc(hidden)]
pub use xen;

/// Says how an app is built, where it is built as if it were a program of the host's.
#[cfg(not(xenios_kernel))]
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        ::core::compile_error!("this is a Xenios app: build and start it with `cargo xenios run`");
    };
}
