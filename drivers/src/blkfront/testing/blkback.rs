//! A backend with its xenstore part: does what Linux's blkback does
//! (drivers/block/xen-blkback/xenbus.c), by the rules of the fake hypervisor: it reaches no page
//! that was not granted to it, and looks at a ring only when it was sent an event.

use super::{FakeBackend, Offer, RamDisk};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use xen::testing::Peer;
use xen::testing::store::FakeStore;
use xen_abi::blkif::Vdev;
use xen_abi::event::EvtchnPort;
use xen_abi::gnttab::GrantRef;

/// The backend of one disk.
pub struct Blkback {
    /// The domain that it runs in.
    pub peer: Peer,
    store: FakeStore,
    /// The frontend's directory.
    pub front_path: String,
    /// Its own.
    pub back_path: String,
    /// The disk.
    pub disk: RamDisk,
    /// What is done with requests.
    pub backend: FakeBackend,
    ports: Vec<EvtchnPort>,
    /// Values of its keys; what is `None` is not written.
    pub keys: BTreeMap<&'static str, Option<String>>,
    /// Whether requests are answered as they come.
    pub answers: bool,
    /// Does nothing any more: its domain is dead or hangs.
    pub dead: bool,
}

impl Blkback {
    /// The backend of the device that the toolstack has made at `paths`: the frontend's and its
    /// own.
    pub fn new(
        peer: Peer,
        store: FakeStore,
        paths: (String, String),
        vdev: Vdev,
        (disk, offer): (RamDisk, Offer),
    ) -> Self {
        let (front_path, back_path) = paths;
        let backend = FakeBackend::new(peer.clone(), disk.clone(), vdev.handle(), offer);
        let (ports, keys) = (Vec::new(), BTreeMap::new());
        let (answers, dead) = (true, false);
        Self { peer, store, front_path, back_path, disk, backend, ports, keys, answers, dead }
    }

    fn state(&self, path: &str) -> u64 {
        self.number(&format!("{path}/state")).unwrap_or(0)
    }

    /// Its own state.
    pub fn own_state(&self) -> u64 {
        self.state(&self.back_path)
    }

    /// The frontend's state.
    pub fn front_state(&self) -> u64 {
        self.state(&self.front_path)
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.store.text(path)?.parse().ok()
    }

    /// A key of the frontend's.
    pub fn front(&self, key: &str) -> Option<String> {
        self.store.text(&format!("{}/{key}", self.front_path))
    }

    fn front_number(&self, key: &str) -> Option<u64> {
        self.front(key)?.parse().ok()
    }

    /// Enters a state.
    pub fn set_state(&self, state: u64) {
        self.tell("state", &state.to_string());
    }

    /// Writes one of its keys.
    pub fn tell(&self, key: &str, value: &str) {
        self.store.write(&format!("{}/{key}", self.back_path), value);
    }

    /// Writes a key of the frontend's, as the toolstack or an earlier kernel does.
    pub fn tell_front(&self, key: &str, value: &str) {
        self.store.write(&format!("{}/{key}", self.front_path), value);
    }

    /// Writes keys, with the values that the test has set for them instead.
    fn tell_all(&self, all: &[(&'static str, u64)]) {
        for (key, value) in all {
            match self.keys.get(key) {
                Some(None) => {}
                Some(Some(text)) => self.tell(key, text),
                None => self.tell(key, &value.to_string()),
            }
        }
    }

    /// Answers the frontend's state, and its requests; whether anything has happened.
    pub fn turn(&mut self) -> bool {
        if self.dead {
            return false;
        }
        match (self.front_state(), self.own_state()) {
            (1, 1 | 6) if self.number(&format!("{}/online", self.back_path)) != Some(0) => {
                self.tell_all(&[("max-ring-page-order", 4), ("multi-queue-max-queues", 4)]);
                self.set_state(2);
            }
            (3 | 4, 2) => self.connect(),
            (5, 2..=4) => {
                self.disconnect();
                self.set_state(5);
            }
            (6 | 0, 1..=5) => {
                self.disconnect();
                self.set_state(6);
            }
            _ => return self.serve(),
        }
        true
    }

    /// Takes the requests of rings that it was sent events for, and answers them.
    fn serve(&mut self) -> bool {
        let mut came = false;
        for (ring, port) in self.ports.iter().enumerate() {
            if self.peer.take_events(*port) > 0 {
                self.backend.take_from(ring);
                came = true;
            }
        }
        while self.answers && self.backend.waiting() > 0 {
            self.answer(0);
        }
        came
    }

    /// Answers the waiting request `index`.
    pub fn answer(&mut self, index: usize) {
        if let Some(ring) = self.backend.answer(index) {
            self.notify(ring);
        }
    }

    /// Sends an event for a ring.
    pub fn notify(&self, ring: usize) {
        self.peer.notify(self.ports[ring]);
    }

    fn connect(&mut self) {
        assert_eq!(self.front("protocol").as_deref(), Some("x86_64-abi"));
        let queues = self.front_number("multi-queue-num-queues").unwrap_or(1);
        for index in 0..queues {
            let folder = if queues > 1 { format!("queue-{index}/") } else { String::new() };
            let order = self.front_number("ring-page-order");
            let names: Vec<String> = match order {
                None => Vec::from([format!("{folder}ring-ref")]),
                Some(order) => (0..1 << order).map(|n| format!("{folder}ring-ref{n}")).collect(),
            };
            let grant = |name: &String| GrantRef(self.front_number(name).unwrap() as u32);
            let grants: Vec<_> = names.iter().map(grant).collect();
            self.backend.attach(&grants);
            let port = self.front_number(&format!("{folder}event-channel")).unwrap();
            self.ports.push(self.peer.bind(EvtchnPort(port as u32)).unwrap());
        }
        let offer = self.backend.offer;
        let wants = self.front_number("feature-persistent") == Some(1);
        self.backend.keeps_pages = offer.persistent && wants;
        self.tell_all(&[
            ("feature-flush-cache", offer.flush.into()),
            ("feature-barrier", offer.barrier.into()),
            ("feature-discard", offer.discard.into()),
            ("discard-secure", offer.secure.into()),
            ("discard-granularity", offer.sector_bytes.into()),
            ("discard-alignment", 0),
            ("feature-persistent", offer.persistent.into()),
            ("feature-max-indirect-segments", offer.indirect_segments.into()),
            ("sectors", self.disk.capacity_sectors()),
            ("info", if offer.read_only { 4 } else { 0 }),
            ("sector-size", offer.sector_bytes.into()),
            ("physical-sector-size", offer.sector_bytes.into()),
        ]);
        self.set_state(4);
    }

    /// The disk has another size: blkback writes it, and its state once more.
    pub fn resize(&self, capacity_sectors: u64) {
        self.disk.resize(capacity_sectors);
        self.tell("sectors", &capacity_sectors.to_string());
        self.set_state(4);
    }

    /// Lets go of rings, pages and ports, and brings the cache home.
    fn disconnect(&mut self) {
        self.disk.flush();
        self.drop_all();
    }

    fn drop_all(&mut self) {
        self.backend.detach();
        self.ports.drain(..).for_each(|port| self.peer.close(port));
    }

    /// Dies with all that it has mapped and what it has in its cache; Xen takes it away.
    pub fn die(&mut self) {
        self.disk.power_cut(|_| 0);
        self.drop_all();
        self.dead = true;
        self.store.remove(&self.back_path);
    }
}
