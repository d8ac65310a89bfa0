//! The other side of a disk, for tests: a backend that speaks the protocol on the same ring pages,
//! and a disk in memory with a volatile cache.
//!
//! Written from the protocol's description, not from the frontend, so that the two do not share
//! mistakes. What the frontend must not do (ask for what was not offered, miss the disk's sectors,
//! grant too much or too little) panics here.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by a panic")]

mod backend;
mod blkback;
mod ram_disk;

pub use backend::{FakeBackend, Offer};
pub use blkback::Blkback;
pub use ram_disk::RamDisk;
