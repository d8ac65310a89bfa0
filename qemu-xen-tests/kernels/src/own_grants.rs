//! Grants of a domain to itself: what the kernels about grants share.
//!
//! A domain may be its own peer. One thing is different then: a page that is mapped leaves its own
//! guest frame, for Xen keeps a page of a domain's at one frame of it only. [`OwnGrants::refill`]
//! gives the frame a new page before it is used again.

use alloc::format;
use alloc::string::String;
use arch::cpu;
use xen::gnttab::{Foreign, Grants, SetupError, Version};
use xen::hypercall::Extents;
use xen::page::SharedPage;
use xen::window::{Sizes, Window};
use xen::{Hypervisor, Native};
use xen_abi::DomId;
use xen_abi::identity::{
    DOMAIN_LEAF, DOMAIN_LEAF_HAS_DOMID, FIRST_LEAF, LEAF_PLACES, LEAF_STEP, XEN_SIGNATURE,
};

/// The table, the slots, and who we are.
pub struct OwnGrants {
    /// The table.
    pub grants: Grants<Native>,
    /// Slots for foreign pages, and for our own.
    pub foreign: Foreign<Native>,
    /// Where all that is.
    pub window: Window,
    /// This domain.
    pub domid: DomId,
}

/// Why a test cannot run, or has failed.
pub enum Trouble {
    /// It cannot be shown here.
    Skip(String),
    /// Something is wrong.
    Failure(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failure(why)
    }
}

impl OwnGrants {
    /// The table of the version that `--version` names, and so many slots.
    pub fn new(env: &libos::Env, foreign_slots: u32) -> Result<Self, Trouble> {
        let number = env.boot_line().option("version");
        let version = if number == Some("2") { Version::Two } else { Version::One };
        let domid = own_domid()
            .ok_or_else(|| Trouble::Skip("CPUID does not tell the domain's number".into()))?;
        let frames = Native.grant_frames().map_err(|errno| format!("query size: {errno}"))?;
        let sizes = Sizes { grant_frames: frames.limit, foreign_slots };
        let window = Window::new(env.memory().map(), sizes, cpu::physical_address_bits())
            .map_err(|error| format!("{error}"))?;
        let grants = Grants::new(Native, &window, version).map_err(|error| match error {
            SetupError::NoVersion2(_) => Trouble::Skip(format!("{error}")),
            _ => Trouble::Failure(format!("{error}")),
        })?;
        let foreign = Foreign::new(Native, &window);
        Ok(Self { grants, foreign, window, domid })
    }

    /// Gives frames whose pages were mapped elsewhere new pages.
    pub fn refill(&self, gfns: &[u64]) -> Result<(), String> {
        match Native.populate_physmap(Extents { gfns, order: 0 }) {
            Ok(done) if done == gfns.len() => Ok(()),
            other => Err(format!("{} frames are to be refilled: {other:?}", gfns.len())),
        }
    }
}

/// A page of our own.
pub fn page() -> Result<SharedPage, String> {
    SharedPage::allocate().ok_or_else(|| "out of memory".into())
}

/// Ends with the verdict.
pub fn conclude(result: Result<(), Trouble>) {
    match result {
        Ok(()) => crate::success(),
        Err(Trouble::Skip(why)) => crate::skip(format_args!("{why}")),
        Err(Trouble::Failure(why)) => crate::failure(format_args!("{why}")),
    }
}

/// This domain's number, by CPUID.
fn own_domid() -> Option<DomId> {
    let mut places = (0..LEAF_PLACES).map(|place| FIRST_LEAF + place * LEAF_STEP);
    let first = places.find(|&place| {
        let leaf = cpu::leaf(place, 0);
        cpu::vendor_bytes(leaf.ebx, leaf.ecx, leaf.edx) == XEN_SIGNATURE
    })?;
    let leaf = cpu::leaf(first + DOMAIN_LEAF, 0);
    (leaf.eax & DOMAIN_LEAF_HAS_DOMID != 0).then_some(DomId(leaf.ecx as u16))
}
