//! Our end of a device that another domain provides.

use super::device::Device;
use super::error::DeviceError;
use super::keys::Key;
use super::machine::{Goal, Side};
use crate::xenstore::Xenstore;
use alloc::format;
use core::ops::{Deref, DerefMut};
use xen_abi::xenbus::XenbusState;

/// A device that we use.
///
/// ```text
///   open ─▶ prepare ─▶ (rings, grants, port) ─▶ publish ─▶ connect ─▶ event … ─▶ close
///              ▲                                                                  │
///              └──────────────────── the device comes back ◀──────────────────────┘
/// ```
pub struct Frontend(Device);

impl Deref for Frontend {
    type Target = Device;

    fn deref(&self) -> &Device {
        &self.0
    }
}

impl DerefMut for Frontend {
    fn deref_mut(&mut self) -> &mut Device {
        &mut self.0
    }
}

impl Frontend {
    /// The device `device/CLASS/ID`.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Gone`] if there is none.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn open(store: &Xenstore, class: &str, id: u32) -> Result<Self, DeviceError> {
        let path = format!("device/{class}/{id}");
        Ok(Self(Device::open(store, Side::Frontend, path, id).await?))
    }

    /// Waits until the backend is ready to be told our rings. Closes first what an earlier kernel,
    /// or an earlier use by this one, has left, and finds the backend again, which may be another
    /// one.
    ///
    /// # Cancellation
    ///
    /// Safe: to be called again.
    pub async fn prepare(&mut self) -> Result<(), DeviceError> {
        self.0.drive(Goal::Prepare, &[]).await
    }

    /// Tells the backend `keys` and enters `state`, Initialised or Connected by the class of the
    /// device, in one transaction.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Closing`] if the two ends are not as [`Self::prepare`] has left them.
    ///
    /// # Cancellation
    ///
    /// All is told or nothing.
    pub async fn publish(
        &mut self,
        keys: &[Key<'_>],
        state: XenbusState,
    ) -> Result<(), DeviceError> {
        self.0.tell(Goal::Prepare, keys, state).await
    }

    /// Waits until the backend is connected.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Closing`] if it closes instead.
    ///
    /// # Cancellation
    ///
    /// Safe: to be called again.
    pub async fn connect(&mut self) -> Result<(), DeviceError> {
        self.0.drive(Goal::Connect, &[]).await
    }

    /// Goes from Initialised to Connected, for classes that do so when the backend has.
    ///
    /// # Errors
    ///
    /// As for [`Self::publish`].
    ///
    /// # Cancellation
    ///
    /// The state is written or not.
    pub async fn connected(&mut self) -> Result<(), DeviceError> {
        self.0.tell(Goal::Connect, &[], XenbusState::Connected).await
    }
}
