//! The disk as a whole: driver and apps in a domain on the fake hypervisor, against a backend that
//! behaves and one that does not.

mod handshake;
mod life;
mod requests;
mod world;

use super::*;
use crate::blkfront::testing::{Offer, RamDisk};
use crate::blkfront::{
    BlockError, CloseReason, Config, DmaBuffer, Durability, Lie, Refusal, Sector, SectorRange,
};
use std::vec;
use std::vec::Vec;
use world::{BACK, World, pattern};
