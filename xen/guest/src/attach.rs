//! The pages that every domain has: shared info and the rings of console and xenstore, found and
//! mapped.

use crate::Hypervisor;
use crate::console::Ring;
use crate::page::{PageError, SharedPage};
use crate::window;
use core::fmt;
use xen_abi::Errno;
use xen_abi::event::EvtchnPort;
use xen_abi::hvm::Param;
use xen_abi::memory::{MemoryMapEntry, map_space};

/// Why a page could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachError {
    /// Xen refused.
    Xen(Errno),
    /// The page is not where a page of Xen's can be.
    Page(PageError),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xen(errno) => write!(f, "Xen refuses: {errno}"),
            Self::Page(error) => error.fmt(f),
        }
    }
}

/// Has Xen put the shared info page above all RAM.
pub fn shared_info(
    xen: &impl Hypervisor,
    memory_map: &[MemoryMapEntry],
) -> Result<SharedPage, AttachError> {
    let gfn = window::first_gfn(memory_map);
    xen.add_to_physmap(map_space::SHARED_INFO, 0, gfn).map_err(AttachError::Xen)?;
    SharedPage::outside_ram(gfn, memory_map).map_err(AttachError::Page)
}

/// The console ring and its port, or nothing if the toolstack gave this domain no console.
pub fn console(
    xen: &impl Hypervisor,
    memory_map: &[MemoryMapEntry],
) -> Result<Option<(Ring, EvtchnPort)>, AttachError> {
    let found = ring_page(xen, memory_map, Param::ConsolePfn, Param::ConsoleEvtchn)?;
    Ok(found.map(|(page, port)| (Ring::new(page), port)))
}

/// The page of the xenstore ring and its port, or nothing if the toolstack gave this domain no
/// store. Both may be others after a resume.
pub fn xenstore(
    xen: &impl Hypervisor,
    memory_map: &[MemoryMapEntry],
) -> Result<Option<(SharedPage, EvtchnPort)>, AttachError> {
    ring_page(xen, memory_map, Param::StorePfn, Param::StoreEvtchn)
}

fn ring_page(
    xen: &impl Hypervisor,
    memory_map: &[MemoryMapEntry],
    pfn: Param,
    evtchn: Param,
) -> Result<Option<(SharedPage, EvtchnPort)>, AttachError> {
    let gfn = xen.hvm_param(pfn).map_err(AttachError::Xen)?;
    let port = xen.hvm_param(evtchn).map_err(AttachError::Xen)?;
    if gfn == 0 || port == 0 {
        return Ok(None);
    }
    let page = SharedPage::outside_ram(gfn, memory_map).map_err(AttachError::Page)?;
    Ok(Some((page, EvtchnPort(port as u32))))
}
