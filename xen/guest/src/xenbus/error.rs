//! What can go wrong with a device, and who is to blame.

use crate::xenstore::StoreError;
use alloc::string::String;
use core::fmt;

/// Why a device cannot be used (any more).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeviceError {
    /// The store, or the way to it.
    Store(StoreError),
    /// A key that somebody else wrote makes no sense.
    Key {
        /// The key with its path, which tells whose it is.
        path: String,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The other end, or the toolstack, closes the device. To be closed here as well.
    Closing,
    /// The device does not exist any more.
    Gone,
}

/// What is wrong with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFault {
    /// It is not there, and has to be.
    Missing,
    /// It is not of the form it has to have.
    Malformed,
    /// It is longer than it may be.
    TooLong,
}

impl From<StoreError> for DeviceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Key { path, fault } => {
                f.write_str(path)?;
                f.write_str(match fault {
                    KeyFault::Missing => " is missing",
                    KeyFault::Malformed => " is malformed",
                    KeyFault::TooLong => " is too long",
                })
            }
            Self::Closing => f.write_str("closed by the other end"),
            Self::Gone => f.write_str("the device is gone"),
        }
    }
}
