//! Frontends of Xen's split devices. No unsafe code: what is shared with a backend is reached
//! through [`xen::page`] and [`xen::ring`], and what a backend says is checked before it is used.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod blkfront;
mod domain;
pub mod netfront;
mod timer;

pub use domain::Domain;
pub use timer::Timer;
