//! The Xen lab and the test kernels that run in it.
//!
//! A lab is a real Xen with a Linux dom0 and the `xl` toolstack, booted inside QEMU on an ordinary
//! machine: it needs neither root, nor KVM, nor a network once its pieces are in the cache.
#![forbid(unsafe_code)]

pub mod apt;
pub mod cache;
pub mod error;
mod host;
pub mod image;
pub mod lab;
pub mod pieces;
pub mod progress;
pub mod runner;
pub mod suite;
mod suite_apps;
mod suite_console;
mod suite_devices;
mod suite_life;
pub mod xl;

pub use cache::Cache;
pub use error::{Context, Error, Result};
pub use lab::{Lab, LabOptions};
pub use progress::Progress;
