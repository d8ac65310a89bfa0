//! Our end of a device that we provide to another domain.

use super::device::Device;
use super::discovery::Place;
use super::error::DeviceError;
use super::keys::Key;
use super::machine::{Goal, Side};
use crate::xenstore::Xenstore;
use alloc::format;
use core::ops::{Deref, DerefMut};
use xen_abi::xenbus::XenbusState;

/// A device that we provide.
///
/// ```text
///   open ─▶ offer ─▶ (map the rings, bind the port) ─▶ accept ─▶ event … ─▶ close
///             ▲                                                               │
///             └────────────────── the frontend comes back ◀───────────────────┘
/// ```
pub struct Backend(Device);

impl Deref for Backend {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl DerefMut for Backend {
    fn deref_mut(&mut self) -> &mut Device {
        &mut self.0
    }
}

impl Backend {
    /// The device `backend/CLASS/FRONTEND/ID`.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Gone`] if there is none.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn open(store: &Xenstore, class: &str, place: Place) -> Result<Self, DeviceError> {
        let path = format!("backend/{class}/{}/{}", place.frontend.0, place.id);
        Ok(Self(Device::open(store, Side::Backend, path, place.id).await?))
    }

    /// Tells the frontend our features, `keys`, and waits until it has told its rings.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Closing`] if the toolstack removes the device.
    ///
    /// # Cancellation
    ///
    /// Safe: to be called again.
    pub async fn offer(&mut self, keys: &[Key<'_>]) -> Result<(), DeviceError> {
        self.0.drive(Goal::Prepare, keys).await
    }

    /// Tells what the frontend is to know of the device, and that it can be used.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Closing`] if the two ends are not as [`Self::offer`] has left them.
    ///
    /// # Cancellation
    ///
    /// All is told or nothing.
    pub async fn accept(&mut self, keys: &[Key<'_>]) -> Result<(), DeviceError> {
        self.0.tell(Goal::Prepare, keys, XenbusState::Connected).await
    }
}
