//! The rings of a network device, without input and output: what is written into which slot, and
//! what is believed of what comes back.
//!
//! | module | what it knows |
//! |---|---|
//! | [`TxRing`] | packets as requests, and whose responses are missing |
//! | [`RxRing`] | pages as requests, and packets put together from responses |
//! | `Chain` | which response may follow which |
//! | [`Lie`] | what a backend cannot say without being broken or hostile |
//!
//! Both rings are driven by [`super::NetDevice`], which has the pages, and tested against a backend
//! that works on the same bytes. Neither reads anything from a ring that it wrote there itself.

mod chain;
mod counters;
mod lie;
mod rx;
#[cfg(test)]
mod tests;
mod tx;

pub use counters::{Counters, RxCounters, TxCounters};
pub use lie::Lie;
pub use rx::{RX_IDS, RxPacket, RxRing};
pub use tx::{Piece, TX_HEADER_BYTES, TX_IDS, TxDone, TxError, TxRing};

use xen::gnttab::GrantedPage;
use xen::page::SharedPage;
use xen_abi::gnttab::GrantRef;
use xen_abi::netif::Gso;

/// A page that the backend may fill.
pub trait RxPage {
    /// What the backend knows it by.
    fn reference(&self) -> GrantRef;
    /// Its bytes.
    fn page(&self) -> &SharedPage;
}

impl RxPage for GrantedPage {
    fn reference(&self) -> GrantRef {
        Self::reference(self)
    }

    fn page(&self) -> &SharedPage {
        self
    }
}

/// What is known of a packet's TCP or UDP checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// Nothing: it is to be verified.
    #[default]
    Unverified,
    /// It is right.
    Valid,
    /// It is that of the pseudo header alone. The packet has not left this machine, and its
    /// contents are as good as valid; who sends it on has it completed.
    Blank,
}

/// What goes with a packet on its way to the backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxMeta {
    /// What the backend may believe of the checksum, or has to do about it.
    pub checksum: Checksum,
    /// How the packet is to be cut. Its checksum is [`Checksum::Blank`] then.
    pub gso: Option<Gso>,
}
