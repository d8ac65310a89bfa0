//! A backend with its xenstore part: does what Linux's netback does
//! (drivers/net/xen-netback/xenbus.c), on the fake hypervisor's rules: it reaches no page that was
//! not granted to it.

use super::{FakeRx, FakeTx, Resolve};
use std::format;
use std::string::String;
use std::vec::Vec;
use xen::gnttab::Access;
use xen::page::SharedPage;
use xen::ring::{Back, RingPages};
use xen::testing::store::FakeStore;
use xen::testing::{Peer, PeerMapping};
use xen_abi::event::EvtchnPort;
use xen_abi::gnttab::GrantRef;

/// The backend's end of a queue.
pub(crate) struct BackQueue {
    pub tx: FakeTx,
    pub rx: FakeRx,
    /// Transmit and receive; the same one twice if there is one.
    pub ports: [EvtchnPort; 2],
    rings: Vec<PeerMapping>,
}

pub(crate) struct Netback {
    pub peer: Peer,
    store: FakeStore,
    pub front_path: String,
    pub back_path: String,
    /// What is offered.
    pub features: Vec<(&'static str, u32)>,
    pub queues: Vec<BackQueue>,
    /// Queues of earlier connections that it said to have closed and did not let go.
    kept: Vec<BackQueue>,
    /// Does nothing any more: its domain is dead or hangs.
    pub dead: bool,
}

/// Netback's features as Linux 6.1 writes them.
pub(crate) const ALL: [(&str, u32); 9] = [
    ("feature-sg", 1),
    ("feature-gso-tcpv4", 1),
    ("feature-gso-tcpv6", 1),
    ("feature-ipv6-csum-offload", 1),
    ("feature-rx-copy", 1),
    ("feature-multicast-control", 1),
    ("feature-split-event-channels", 1),
    ("multi-queue-max-queues", 4),
    ("feature-ctrl-ring", 1),
];

impl Netback {
    pub fn new(peer: Peer, store: FakeStore, paths: (String, String)) -> Self {
        let (front_path, back_path) = paths;
        let (features, queues) = (ALL.to_vec(), Vec::new());
        let kept = Vec::new();
        Self { peer, store, front_path, back_path, features, queues, kept, dead: false }
    }

    fn state(&self, path: &str) -> u32 {
        self.number(&format!("{path}/state")).unwrap_or(0)
    }

    pub fn own_state(&self) -> u32 {
        self.state(&self.back_path)
    }

    pub fn front_state(&self) -> u32 {
        self.state(&self.front_path)
    }

    fn number(&self, path: &str) -> Option<u32> {
        self.store.text(path)?.parse().ok()
    }

    /// A key of the frontend's.
    pub fn front(&self, key: &str) -> Option<u32> {
        self.number(&format!("{}/{key}", self.front_path))
    }

    pub fn set_state(&self, state: u32) {
        self.store.write(&format!("{}/state", self.back_path), &format!("{state}"));
    }

    /// Answers the frontend's state; whether anything has changed.
    pub fn turn(&mut self) -> bool {
        if self.dead {
            return false;
        }
        match (self.front_state(), self.own_state()) {
            (1, 1 | 6) => self.offer(),
            (4, 2) => self.connect(),
            (5, 2..=4) => {
                self.disconnect();
                self.set_state(5);
            }
            (6 | 0, 1..=5) => {
                self.disconnect();
                self.set_state(6);
            }
            _ => return false,
        }
        true
    }

    fn offer(&mut self) {
        if self.number(&format!("{}/online", self.back_path)) == Some(0) {
            return;
        }
        for (key, value) in &self.features {
            self.store.write(&format!("{}/{key}", self.back_path), &format!("{value}"));
        }
        self.set_state(2);
    }

    fn offers(&self, feature: &str) -> Option<u32> {
        self.number(&format!("{}/{feature}", self.back_path))
    }

    fn connect(&mut self) {
        assert_eq!(self.front("request-rx-copy"), Some(1), "netback refuses all else");
        assert_eq!(self.front("feature-rx-notify"), Some(1), "netback refuses all else");
        let count = self.front("multi-queue-num-queues").unwrap_or(1);
        assert!(count <= self.offers("multi-queue-max-queues").unwrap_or(1));
        let split = self.offers("feature-split-event-channels") == Some(1);
        self.kept.append(&mut self.queues);
        let queues: Option<Vec<_>> = (0..count)
            .map(|index| {
                let folder = if count > 1 { format!("queue-{index}/") } else { String::new() };
                self.map(&folder, split)
            })
            .collect();
        // netback: xenbus_dev_fatal closes the device.
        self.set_state(if queues.is_some() { 4 } else { 5 });
        self.queues = queues.unwrap_or_default();
    }

    fn map(&self, folder: &str, split: bool) -> Option<BackQueue> {
        let key = |name: &str| self.front(&format!("{folder}{name}"));
        let (tx_port, rx_port) = match (split, key("event-channel-tx"), key("event-channel-rx")) {
            (true, Some(tx), Some(rx)) => (tx, rx),
            _ => {
                let both = key("event-channel")?;
                (both, both)
            }
        };
        let tx_local = self.peer.bind(EvtchnPort(tx_port)).ok()?;
        let rx_local =
            if tx_port == rx_port { tx_local } else { self.peer.bind(EvtchnPort(rx_port)).ok()? };
        let map = |name: &str| {
            let grant = GrantRef(key(name)?);
            self.peer.map(grant, Access::ReadWrite).ok()
        };
        let rings = Vec::from([map("tx-ring-ref")?, map("rx-ring-ref")?]);
        let ring = |mapping: &PeerMapping, slot_bytes| {
            Back::attach(RingPages::new(Vec::from([mapping.page().peer()]), slot_bytes))
        };
        Some(BackQueue {
            tx: FakeTx::new(ring(&rings[0], 12), self.resolve(Access::ReadOnly)),
            rx: FakeRx::new(ring(&rings[1], 8), self.resolve(Access::ReadWrite)),
            ports: [tx_local, rx_local],
            rings,
        })
    }

    /// Finds granted pages: by mapping them for a moment, as a copy does.
    fn resolve(&self, access: Access) -> Resolve {
        let peer = self.peer.clone();
        std::boxed::Box::new(move |grant| {
            let mapping = peer.map(grant, access).ok()?;
            let page: SharedPage = mapping.page().peer();
            peer.unmap(mapping);
            Some(page)
        })
    }

    /// Lets the rings and the ports go.
    pub fn disconnect(&mut self) {
        for queue in self.queues.drain(..).chain(self.kept.drain(..)) {
            queue.rings.into_iter().for_each(|mapping| self.peer.unmap(mapping));
            self.peer.close(queue.ports[0]);
            if queue.ports[0] != queue.ports[1] {
                self.peer.close(queue.ports[1]);
            }
        }
    }

    /// Dies with all that it has mapped; Xen takes it away.
    pub fn die(&mut self) {
        self.disconnect();
        self.dead = true;
        self.store.remove(&self.back_path);
    }

    /// Takes all packets that were transmitted and answers them; how many.
    pub fn take_all(&mut self) -> usize {
        let mut count = 0;
        for queue in &mut self.queues {
            count += queue.tx.take_all().unwrap();
            let due = queue.tx.give_answers(usize::MAX);
            // A last look, as netback has it, decides whether it wants an event.
            while queue.tx.ring.arm().unwrap() {
                count += queue.tx.take_all().unwrap();
            }
            if due {
                self.peer.notify(queue.ports[0]);
            }
        }
        count
    }

    /// Publishes receive responses and notifies as asked for.
    pub fn publish(&mut self) {
        for queue in &mut self.queues {
            if queue.rx.ring.publish() {
                self.peer.notify(queue.ports[1]);
            }
        }
    }

    /// Packets taken so far, all queues together, and forgets them.
    pub fn packets(&mut self) -> Vec<super::TxPacket> {
        self.queues.iter_mut().flat_map(|queue| queue.tx.packets.drain(..)).collect()
    }

    /// Events that the frontend has sent.
    pub fn events(&self) -> u64 {
        let ports = self.queues.iter().flat_map(|queue| {
            let [tx, rx] = queue.ports;
            if tx == rx { Vec::from([tx]) } else { Vec::from([tx, rx]) }
        });
        ports.map(|port| self.peer.take_events(port)).sum()
    }
}
