//! The heap: talc behind a layer that finds what damages it.
//!
//! ```text
//!             ┌ header, 32 bytes ──────────────┐
//!   raw ─ … ─ │ prev │ next │ size, align │ canary │ payload … │ canary │ ─ end of the chunk
//!             └────────────────────────────────┘ ▲           ▲ the very next byte
//!                                                what the app has
//! ```
//!
//! The canaries are made from a key that is random in each boot, the block's address and what the
//! header says. Found at free and realloc, and by [`check_all`] at any time: overflow (the canary
//! after the block), underflow (the header), double free, wild free, a size or alignment that is
//! not the block's. Freed memory is filled with [`POISON`], small blocks wait in a quarantine
//! before they are used again; if the poison has changed by then, that was a write after free.
//!
//! A fault goes to the handler that [`set_fault_handler`] set, which ends the domain.

mod block;
mod checked;
mod fault;
#[cfg(xenios_kernel)]
mod kernel;
mod quarantine;
#[cfg(xenios_kernel)]
mod ram;
#[cfg(test)]
mod tests;

pub use checked::{CheckedHeap, Counters};
pub use fault::{FaultKind, HeapFault, OutOfMemory};
#[cfg(xenios_kernel)]
pub use kernel::{check_all, counters, init, out_of_memory, rekey, set_fault_handler};
#[cfg(xenios_kernel)]
pub use ram::KernelRam;

/// Each byte of freed memory. A pointer made of it is not canonical: following it is a fault.
pub const POISON: u8 = 0xde;
