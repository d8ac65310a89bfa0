//! The device as a whole: driver and stack's end in a domain on the fake hypervisor, against a
//! backend that behaves and one that does not.

mod handshake;
mod hostile;
mod life;
mod traffic;

use super::testing::{ALL, Delivery, World, pattern};
use super::*;
