//! Keys of a device's directory, read with their types. What another domain wrote is an allegation.

use super::error::{DeviceError, KeyFault};
use crate::xenstore::{Nodes, StoreError};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use xen_abi::xenbus::XenbusState;
use xen_abi::xs_wire::decimal;

/// A key to be written: its name, which may lie in a subdirectory, and its value.
pub type Key<'a> = (&'a str, Value<'a>);

/// The value of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// A number, written in decimal.
    Number(u64),
    /// A text.
    Text(&'a str),
}

impl Value<'_> {
    /// The bytes to be written.
    pub(super) fn text(self) -> String {
        match self {
            Self::Number(number) => format!("{number}"),
            Self::Text(text) => text.into(),
        }
    }
}

/// The keys of one end of a device.
///
/// # Cancellation
///
/// Safe: reading has no effect.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub(super) nodes: &'a Nodes,
    pub(super) path: &'a str,
}

impl Keys<'_> {
    /// The path of the directory.
    pub fn path(&self) -> &str {
        self.path
    }

    /// A number of up to 64 bits; nothing if there is no such key.
    pub async fn wide_number(&self, key: &str) -> Result<Option<u64>, DeviceError> {
        let Some(value) = self.value(key).await? else { return Ok(None) };
        decimal(&value).map(Some).ok_or_else(|| self.fault(key, KeyFault::Malformed))
    }

    /// A number of up to 32 bits; nothing if there is no such key.
    pub async fn number(&self, key: &str) -> Result<Option<u32>, DeviceError> {
        let number = self.wide_number(key).await?.map(u32::try_from).transpose();
        number.map_err(|_| self.fault(key, KeyFault::Malformed))
    }

    /// A number that has to be there.
    pub async fn required(&self, key: &str) -> Result<u32, DeviceError> {
        self.number(key).await?.ok_or_else(|| self.fault(key, KeyFault::Missing))
    }

    /// A feature: 0, 1, or not there, which means 0.
    pub async fn flag(&self, key: &str) -> Result<bool, DeviceError> {
        match self.number(key).await? {
            None | Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(_) => Err(self.fault(key, KeyFault::Malformed)),
        }
    }

    /// A text of at most `max_bytes` printable ASCII characters; nothing if there is no such key.
    pub async fn text(&self, key: &str, max_bytes: usize) -> Result<Option<String>, DeviceError> {
        let Some(value) = self.value(key).await? else { return Ok(None) };
        if value.len() > max_bytes {
            return Err(self.fault(key, KeyFault::TooLong));
        }
        let text = String::from_utf8(value).ok();
        let text = text.filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        text.map(Some).ok_or_else(|| self.fault(key, KeyFault::Malformed))
    }

    /// The `state` key; Unknown if it is not there.
    pub async fn state(&self) -> Result<XenbusState, DeviceError> {
        match self.value("state").await? {
            None => Ok(XenbusState::Unknown),
            Some(value) => {
                let state = XenbusState::parse(&value);
                state.ok_or_else(|| self.fault("state", KeyFault::Malformed))
            }
        }
    }

    async fn value(&self, key: &str) -> Result<Option<Vec<u8>>, DeviceError> {
        match self.nodes.read(&format!("{}/{key}", self.path)).await {
            Ok(value) => Ok(Some(value)),
            // The store tells who may not read the parent of a missing node nothing but that.
            Err(StoreError::NO_ENTRY | StoreError::ACCESS) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// An error about a key.
    pub fn fault(&self, key: &str, fault: KeyFault) -> DeviceError {
        DeviceError::Key { path: format!("{}/{key}", self.path), fault }
    }
}
