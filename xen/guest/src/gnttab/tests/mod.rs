//! Grants on the fake hypervisor, with peers that behave and peers that do not.

mod copying;
mod interleaving;
mod lending;
mod life;
mod mapping;
mod model;

use super::*;
use crate::Hypervisor as _;
use crate::testing::FakeXen;
use crate::window::Sizes;
use std::vec::Vec;
use xen_abi::Errno;

const DOM0: DomId = DomId::ZERO;
const BOTH: [Version; 2] = [Version::One, Version::Two];

fn window(xen: &FakeXen, grant_frames: u32) -> Window {
    let sizes = Sizes { grant_frames, foreign_slots: 100 };
    Window::new(&xen.memory_map(), sizes, 48).unwrap()
}

/// A table that may have `frames` frames.
fn table(version: Version, frames: u32) -> (FakeXen, Grants<FakeXen>) {
    let xen = FakeXen::new();
    xen.set_grant_frames_limit(frames);
    let grants = Grants::new(xen.clone(), &window(&xen, frames), version).unwrap();
    (xen, grants)
}

fn page() -> SharedPage {
    SharedPage::allocate().unwrap()
}

/// Grants that can be had from a table of so many frames.
fn grants_in(version: Version, frames: u32) -> usize {
    let per_frame = if version == Version::One { 512 } else { 256 };
    (frames * per_frame - 8) as usize
}

fn grant_all(grants: &Grants<FakeXen>) -> (Vec<GrantedPage>, GrantError) {
    let mut all = Vec::new();
    loop {
        match grants.grant(DOM0, page(), Access::ReadOnly) {
            Ok(granted) => all.push(granted),
            Err(error) => return (all, error),
        }
    }
}
