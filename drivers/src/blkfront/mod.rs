//! Disks: the frontend of Xen's block protocol.

mod buffer;
mod config;
mod disk;
mod error;
pub mod proto;
mod task;
#[cfg(not(xenios_kernel))]
pub mod testing;

pub use crate::domain::Domain;
pub use buffer::DmaBuffer;
pub use config::Config;
pub use disk::{DiscardLimits, Durability, Geometry, SectorRange};
pub use error::{BlockError, CloseReason, Lie, Refusal};
pub use task::{BlockDevice, Connecting, Driver, new};
pub use xen_abi::blkif::{Sector, Vdev, VdevError};
