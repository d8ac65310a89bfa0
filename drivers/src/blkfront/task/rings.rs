//! What a connection is made of: rings in granted pages, and event channels; and what the backend
//! is told of them.

use crate::Domain;
use crate::blkfront::proto::RingLayout;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use xen::Hypervisor;
use xen::evtchn::Channel;
use xen::gnttab::{Access, GrantError, GrantedPage};
use xen::page::SharedPage;
use xen::ring::{Front, RingPages};
use xen::xenbus::{Key, Value};
use xen_abi::blkif::SLOT_BYTES;
use xen_abi::blkif::keys::{FEATURE_PERSISTENT, frontend as keys};
use xen_abi::event::Priority;
use xen_abi::{DomId, Errno};

/// Why there are no rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RingsError {
    Grant(GrantError),
    Port(Errno),
    OutOfMemory,
}

impl fmt::Display for RingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(error) => error.fmt(f),
            Self::Port(errno) => write!(f, "no event channel: {errno}"),
            Self::OutOfMemory => f.write_str("no memory for rings"),
        }
    }
}

/// The rings of a connection, with a channel each.
pub(super) struct Rings<X: Hypervisor> {
    pub rings: Vec<Front<GrantedPage>>,
    pub channels: Vec<Channel<X>>,
}

impl<X: Hypervisor> Rings<X> {
    pub fn new(domain: &Domain<X>, backend: DomId, layout: RingLayout) -> Result<Self, RingsError> {
        let mut all = Self { rings: Vec::new(), channels: Vec::new() };
        for _ in 0..layout.queues {
            let mut pages = Vec::new();
            for _ in 0..layout.pages() {
                let page = SharedPage::allocate().ok_or(RingsError::OutOfMemory)?;
                let granted = domain.grants.grant(backend, page, Access::ReadWrite);
                pages.push(granted.map_err(RingsError::Grant)?);
            }
            all.rings.push(Front::new(RingPages::new(pages, SLOT_BYTES)));
            let channel = domain.events.alloc_unbound(backend, Priority::DEFAULT);
            all.channels.push(channel.map_err(RingsError::Port)?);
        }
        Ok(all)
    }

    /// What the backend is told.
    pub fn keys(&self, layout: RingLayout, persistent: bool) -> Vec<(String, Value<'static>)> {
        let number = |name: &str, number: u64| (String::from(name), Value::Number(number));
        let mut all = Vec::from([
            (String::from(keys::PROTOCOL), Value::Text(keys::PROTOCOL_X86_64)),
            number(FEATURE_PERSISTENT, u64::from(persistent)),
        ]);
        if layout.order > 0 {
            all.push(number(keys::RING_PAGE_ORDER, u64::from(layout.order)));
            all.push(number(keys::NUM_RING_PAGES, layout.pages() as u64));
        }
        if layout.queues > 1 {
            all.push(number(keys::MULTI_QUEUE_NUM_QUEUES, u64::from(layout.queues)));
        }
        for (index, (ring, channel)) in self.rings.iter().zip(&self.channels).enumerate() {
            let directory = match layout.queues {
                1 => String::new(),
                _ => format!("{}{index}/", keys::QUEUE),
            };
            for (index, page) in ring.pages().pages().iter().enumerate() {
                let name = match layout.order {
                    0 => format!("{directory}{}", keys::RING_REF),
                    _ => format!("{directory}{}{index}", keys::RING_REF),
                };
                all.push((name, Value::Number(page.reference().0.into())));
            }
            let name = format!("{directory}{}", keys::EVENT_CHANNEL);
            all.push((name, Value::Number(channel.port().0.into())));
        }
        all
    }
}

/// Names of nodes that an earlier connection may have left, and that would mislead the backend.
pub(super) fn stale_keys(layout: RingLayout) -> Vec<&'static str> {
    let mut stale = Vec::new();
    match layout.order {
        0 => stale.extend([keys::RING_PAGE_ORDER, keys::NUM_RING_PAGES]),
        _ => stale.push(keys::RING_REF),
    }
    if layout.queues == 1 {
        stale.push(keys::MULTI_QUEUE_NUM_QUEUES);
    }
    stale
}

/// Keys whose names are borrowed, as they are written.
pub(super) fn borrowed<'a>(keys: &'a [(String, Value<'static>)]) -> Vec<Key<'a>> {
    keys.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}
