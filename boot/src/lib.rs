//! From the PVH entry to a W^X address space and the one call up: `libos_start`.
//!
//! ```text
//!   start.S ──▶ early::boot_main ──▶ libos_start(&BootInfo)
//!   32 bit       │ start_info, memory map, boot line, modules: checked (loader)
//!   boot tables  │ free RAM (memory)
//!   canary       │ final page tables (early), descriptor tables
//! ```
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
extern crate std;

#[cfg(xenios_kernel)]
mod early;
#[cfg(xenios_kernel)]
mod elfnote;
pub mod info;
pub mod loader;
pub mod memory;
#[cfg(xenios_kernel)]
mod platform;

pub use info::{BootInfo, Hypervisor, ModuleInfo};
pub use loader::BootError;
#[cfg(xenios_kernel)]
pub use platform::{crash_domain, early_console};
