//! The CPU below everything else: paging, traps, page frames, entropy, time stamps, early output.
//!
//! Nothing here knows a word of Xen; `vmcall` offers the bare instruction that hypercalls are made
//! of. What only a guest can execute is behind `cfg(xenios_kernel)`, which `cargo xenios build`
//! sets; all logic that decides something (page tables, frames, fault causes) builds and is tested
//! on the host as well.
#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

#[cfg(test)]
extern crate std;

pub mod addr;
pub mod canary;
pub mod cpu;
#[cfg(xenios_kernel)]
mod critical;
pub mod early_console;
pub mod entropy;
pub mod frames;
pub mod idle;
pub mod layout;
#[cfg(xenios_kernel)]
mod mem;
pub mod paging;
pub mod phys;
pub mod segments;
pub mod text;
pub mod trap;
pub mod tsc;
pub mod vmcall;
