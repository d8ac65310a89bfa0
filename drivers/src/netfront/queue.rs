//! A pair of rings, its event channels, and the packets that wait for it.

use super::TxOffload;
use super::backlog::Backlog;
use super::buffer::{NO_PIECE, TxBuffer, TxPool};
use super::features::QueueKeys;
use super::proto::{Counters, Lie, RxRing, TxMeta, TxRing};
use core::task::{Context, Poll};
use xen::Hypervisor;
use xen::evtchn::{Channel, Closed};
use xen::gnttab::{Access, GrantedPage, Grants};
use xen::page::SharedPage;
use xen_abi::DomId;
use xen_abi::netif::PACKET_SLOTS_MAX;

/// A packet that the backend has not answered yet.
pub(super) struct Sending {
    pub buffer: TxBuffer,
    pub len_bytes: usize,
    pub offload: TxOffload,
}

/// The event channels of a pair of rings.
pub(super) struct Channels<X: Hypervisor> {
    /// Of the transmit ring; of both, if the receive ring has none of its own.
    pub tx: Channel<X>,
    pub rx: Option<Channel<X>>,
}

/// A pair of rings.
pub(super) struct Queue<X: Hypervisor> {
    pub tx: TxRing<Sending>,
    pub rx: RxRing<GrantedPage>,
    pub channels: Channels<X>,
    /// Packets that found no room in the ring.
    pub backlog: Backlog,
    /// What the backend is told.
    pub keys: QueueKeys,
}

impl<X: Hypervisor> Channels<X> {
    /// Takes the events that have come; whether any has. Wakes the task when one comes.
    pub fn poll(&self, context: &mut Context<'_>) -> Result<bool, Closed> {
        let mut any = false;
        for channel in core::iter::once(&self.tx).chain(&self.rx) {
            // The second look registers the waker.
            while let Poll::Ready(event) = channel.poll_wait(context) {
                event?;
                any = true;
            }
        }
        Ok(any)
    }

    fn all(&self) -> impl Iterator<Item = &Channel<X>> {
        core::iter::once(&self.tx).chain(&self.rx)
    }

    /// Holds events back.
    pub fn mask(&self) {
        self.all().for_each(Channel::mask);
    }

    /// Lets them through again.
    pub fn unmask(&self) -> Result<(), Closed> {
        self.all().try_for_each(Channel::unmask)
    }
}

impl<X: Hypervisor> Queue<X> {
    /// Takes the transmit ring's responses.
    pub fn collect(&mut self, pool: &mut TxPool<X>, counters: &mut Counters) -> Result<(), Lie> {
        self.tx.collect(&mut counters.tx, |sending, _| pool.put(sending.buffer))
    }

    /// Whether a packet can go into the ring before any that waits.
    pub fn is_free(&self) -> bool {
        self.backlog.is_empty() && self.tx.has_room()
    }

    /// Writes a packet into the ring, which has room for any; false if it cannot be one.
    pub fn push(&mut self, sending: Sending, meta: &TxMeta) -> Result<(), Sending> {
        let mut pieces = [NO_PIECE; PACKET_SLOTS_MAX];
        let count = sending.buffer.pieces(sending.len_bytes, &mut pieces);
        self.tx.push(sending, &pieces[..count], meta).map_err(|(sending, _)| sending)
    }

    /// Posts pages for received packets, shows the backend all that is new, and sends the events
    /// that it asks for.
    pub fn publish(&mut self, grants: &Grants<X>, backend: DomId) -> Result<(), Closed> {
        self.rx.refill(|| {
            let page = SharedPage::allocate()?;
            // Fewer pages will do.
            grants.grant(backend, page, Access::ReadWrite).ok()
        });
        // What is beyond the target is given back.
        self.rx.excess();
        let (tx_due, rx_due) = (self.tx.publish(), self.rx.publish());
        match &self.channels.rx {
            Some(rx) => {
                if tx_due {
                    self.channels.tx.notify()?;
                }
                if rx_due { rx.notify() } else { Ok(()) }
            }
            None if tx_due || rx_due => self.channels.tx.notify(),
            None => Ok(()),
        }
    }
}
