//! What the tests of this crate and of those above it put in Xen's place.
//!
//! Written from Xen's documents, not from our own code, so that the two do not share mistakes.

pub mod store;
pub mod tasks;
