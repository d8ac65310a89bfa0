//! Event channels of the two-level interface.
//!
//! Source: Xen: event_channel.h; common/event_2l.c for which bit is set when.

use crate::page::SharedPage;
use alloc::collections::BTreeMap;
use core::sync::atomic::Ordering;
use xen_abi::event::{EvtchnPort, Virq};
use xen_abi::shared_info::{EVTCHN_MASK, EVTCHN_PENDING, PENDING_SEL, UPCALL_PENDING};
use xen_abi::{DomId, Errno};

/// Ports that the interface has; port 0 is none.
const PORTS: u32 = 4096;

/// What a port of the guest's is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Open for this domain to connect.
    Unbound(DomId),
    /// A peer's port.
    Peer(DomId, EvtchnPort),
    Virq(Virq),
}

/// A port of a peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PeerEnd {
    /// The guest's port; nothing while it is open for the guest to connect.
    guest: Option<EvtchnPort>,
    /// Events that the guest has sent and the peer not taken.
    received: u64,
}

#[derive(Default)]
pub(super) struct Events {
    guest: BTreeMap<EvtchnPort, End>,
    peers: BTreeMap<(DomId, EvtchnPort), PeerEnd>,
    peer_ports: u32,
}

impl Events {
    fn free_port(&self) -> Result<EvtchnPort, Errno> {
        let mut ports = (1..PORTS).map(EvtchnPort);
        ports.find(|port| !self.guest.contains_key(port)).ok_or(Errno::NOSPC)
    }

    fn open(&mut self, end: End) -> Result<EvtchnPort, Errno> {
        let port = self.free_port()?;
        self.guest.insert(port, end);
        Ok(port)
    }

    /// An error for a port that is not open.
    pub fn check(&self, port: EvtchnPort) -> Result<(), Errno> {
        self.guest.get(&port).map(|_| ()).ok_or(Errno::INVAL)
    }

    pub fn port_of(&self, virq: Virq) -> Option<EvtchnPort> {
        self.guest.iter().find(|(_, end)| **end == End::Virq(virq)).map(|(port, _)| *port)
    }

    pub fn bind_virq(&mut self, virq: Virq) -> Result<EvtchnPort, Errno> {
        if self.port_of(virq).is_some() {
            return Err(Errno::EXIST);
        }
        self.open(End::Virq(virq))
    }

    pub fn alloc_unbound(&mut self, remote: DomId) -> Result<EvtchnPort, Errno> {
        self.open(End::Unbound(remote))
    }

    pub fn bind_interdomain(
        &mut self,
        remote: DomId,
        port: EvtchnPort,
    ) -> Result<EvtchnPort, Errno> {
        if !matches!(self.peers.get(&(remote, port)), Some(PeerEnd { guest: None, .. })) {
            return Err(Errno::INVAL);
        }
        let local = self.open(End::Peer(remote, port))?;
        self.peers.insert((remote, port), PeerEnd { guest: Some(local), received: 0 });
        Ok(local)
    }

    pub fn send(&mut self, port: EvtchnPort) -> Result<(), Errno> {
        match self.guest.get(&port) {
            Some(End::Peer(domid, remote)) => {
                if let Some(end) = self.peers.get_mut(&(*domid, *remote)) {
                    end.received += 1;
                }
                Ok(())
            }
            // No one hears it.
            Some(End::Unbound(_)) => Ok(()),
            Some(End::Virq(_)) | None => Err(Errno::INVAL),
        }
    }

    pub fn close(&mut self, port: EvtchnPort) -> Result<(), Errno> {
        match self.guest.remove(&port).ok_or(Errno::INVAL)? {
            End::Peer(domid, remote) => {
                // The other end waits for a new connection.
                self.peers.insert((domid, remote), PeerEnd { guest: None, received: 0 });
            }
            End::Unbound(_) | End::Virq(_) => {}
        }
        Ok(())
    }

    /// A peer opens a port for the guest.
    pub fn peer_alloc_unbound(&mut self, domid: DomId) -> EvtchnPort {
        self.peer_ports += 1;
        let port = EvtchnPort(self.peer_ports);
        self.peers.insert((domid, port), PeerEnd { guest: None, received: 0 });
        port
    }

    /// A peer connects to a port that the guest has opened for it.
    pub fn peer_bind(&mut self, domid: DomId, guest: EvtchnPort) -> Result<EvtchnPort, Errno> {
        if self.guest.get(&guest) != Some(&End::Unbound(domid)) {
            return Err(Errno::INVAL);
        }
        let port = self.peer_alloc_unbound(domid);
        self.peers.insert((domid, port), PeerEnd { guest: Some(guest), received: 0 });
        self.guest.insert(guest, End::Peer(domid, port));
        Ok(port)
    }

    /// The guest's port that a peer's is connected to.
    pub fn peer_target(&self, domid: DomId, port: EvtchnPort) -> Option<EvtchnPort> {
        self.peers.get(&(domid, port))?.guest
    }

    /// Takes the events that a peer has received.
    pub fn peer_take(&mut self, domid: DomId, port: EvtchnPort) -> u64 {
        let end = self.peers.get_mut(&(domid, port));
        end.map_or(0, |end| core::mem::take(&mut end.received))
    }

    /// A peer closes its port.
    pub fn peer_close(&mut self, domid: DomId, port: EvtchnPort) {
        if let Some(PeerEnd { guest: Some(guest), .. }) = self.peers.remove(&(domid, port)) {
            self.guest.insert(guest, End::Unbound(domid));
        }
    }
}

/// The word of a bit map that a port is in, and its bit.
fn place(map: usize, port: EvtchnPort) -> (usize, u64) {
    (map + 8 * (port.0 as usize / 64), 1 << (port.0 % 64))
}

pub(super) fn is_pending(page: &SharedPage, port: EvtchnPort) -> bool {
    let (word, bit) = place(EVTCHN_PENDING, port);
    page.u64_at(word).load(Ordering::SeqCst) & bit != 0
}

/// Raises an event: pending, then (unless it is masked) selected, then the upcall.
pub(super) fn set_pending(page: &SharedPage, port: EvtchnPort) {
    let (word, bit) = place(EVTCHN_PENDING, port);
    if page.u64_at(word).fetch_or(bit, Ordering::SeqCst) & bit == 0 {
        let (word, bit) = place(EVTCHN_MASK, port);
        if page.u64_at(word).load(Ordering::SeqCst) & bit == 0 {
            select(page, port);
        }
    }
}

/// Unmasks; an event that came meanwhile is raised now.
pub(super) fn unmask(page: &SharedPage, port: EvtchnPort) {
    let (word, bit) = place(EVTCHN_MASK, port);
    if page.u64_at(word).fetch_and(!bit, Ordering::SeqCst) & bit != 0 && is_pending(page, port) {
        select(page, port);
    }
}

/// A port that is closed is not pending.
pub(super) fn forget(page: &SharedPage, port: EvtchnPort) {
    let (word, bit) = place(EVTCHN_PENDING, port);
    page.u64_at(word).fetch_and(!bit, Ordering::SeqCst);
}

fn select(page: &SharedPage, port: EvtchnPort) {
    let bit = 1 << (port.0 / 64);
    if page.u64_at(PENDING_SEL).fetch_or(bit, Ordering::SeqCst) & bit == 0 {
        page.u8_at(UPCALL_PENDING).store(1, Ordering::SeqCst);
    }
}
