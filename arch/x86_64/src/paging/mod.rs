//! The address space: RAM one to one, each page with one permission, none writable and executable.
//!
//! ```text
//!   plan (ranges and permissions) ──▶ AddressSpace::map ──▶ largest pages that fit
//!                                                            1 GiB  │ level 3
//!                                                            2 MiB  │ level 2
//!                                                            4 KiB  │ level 1
//!   AddressSpace::runs ──▶ what the tables really say (printed at boot, checked by tests)
//! ```
//!
//! A page that is not there says why: the bits of a non-present entry that the CPU ignores hold a
//! [`Hole`], so a fault can be told in words (guard page, page zero, returned to the hypervisor).

mod entry;
#[cfg(xenios_kernel)]
pub mod kernel;
mod space;
#[cfg(test)]
mod tests;

pub use entry::{Access, Hole, Leaf, Permission};
pub use space::{AddressSpace, MapError, Run, TableMemory};
