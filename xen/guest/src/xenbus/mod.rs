//! Devices as their two ends meet in xenstore: the states they write, and the keys they exchange.
//!
//! ```text
//!   frontend (device/CLASS/ID)                 backend (backend/CLASS/FRONTEND/ID, another domain)
//!   Initialising 1 ────────────── sees ──────▶ tells its features
//!         waits ◀──────────────────────────── InitWait 2
//!   tells its rings
//!   Initialised 3 or Connected 4 ────────────▶ maps the rings
//!   in use ◀───────────────────────────────── Connected 4
//!         either side, at any time: Closing 5, the other one answers Closing or Closed
//!   Closed 6 ◀───────────────────────────────▶ Closed 6         and from there to 1 again
//! ```
//!
//! [`machine`] decides what to do in each pair of states and touches nothing; [`Frontend`] and
//! [`Backend`] carry it out; [`Discovery`] tells which devices there are. All that is read from the
//! other domain is checked when it is read: what makes no sense closes the device and nothing else.

mod backend;
mod device;
mod discovery;
mod error;
mod frontend;
mod keys;
pub mod machine;
#[cfg(test)]
mod tests;

pub use backend::Backend;
pub use device::{Device, Event};
pub use discovery::{Change, DEVICES_MAX, Discovery, Place};
pub use error::{DeviceError, KeyFault};
pub use frontend::Frontend;
pub use keys::{Key, Keys, Value};
pub use xen_abi::xenbus::XenbusState;
