//! The engine against the fake backend, on the same ring pages.

mod durability;
mod features;
mod hostile;
mod model;
mod reconnect;

use super::*;
use crate::blkfront::disk::Geometry;
use crate::blkfront::testing::{FakeBackend, Offer, RamDisk};
use std::vec;
use xen::gnttab::{Access, Grants, Version};
use xen::ring::{Front, RingIdx, RingPages};
use xen::testing::FakeXen;
use xen::window::{Sizes, Window};
use xen_abi::DomId;
use xen_abi::blkif::{Handle, SLOT_BYTES, Sector};

const BACKEND: DomId = DomId(3);
const HANDLE: Handle = Handle(51712);

/// One disk, its backend, and the hypervisor between them.
struct Rig {
    xen: FakeXen,
    grants: Grants<FakeXen>,
    config: Config,
    /// log2 of the pages in each ring; rings.
    layout: (u8, u8),
    trusted: bool,
    /// Where ring indices start.
    start: u32,
    disk: RamDisk,
    engine: Engine<FakeXen>,
    backend: FakeBackend,
}

impl Rig {
    /// A disk of `capacity_sectors`, connected.
    fn new(config: Config, offer: Offer, capacity_sectors: u64) -> Self {
        let mut rig = Self::detached(config, offer, capacity_sectors);
        rig.connect();
        rig
    }

    fn detached(config: Config, offer: Offer, capacity_sectors: u64) -> Self {
        let xen = FakeXen::new();
        let sizes = Sizes { grant_frames: 64, foreign_slots: 0 };
        let window = Window::new(&xen.memory_map(), sizes, 52).unwrap();
        let all = Grants::new(xen.clone(), &window, Version::One).unwrap();
        let grants = all.for_owner("disk", config.grants_max);
        let disk = RamDisk::new(capacity_sectors);
        let backend = FakeBackend::new(xen.peer(BACKEND), disk.clone(), HANDLE, offer);
        let (start, trusted, layout) = (u32::MAX - 5, true, (0, 1));
        let engine = Engine::new(&config);
        Self { xen, grants, config, layout, trusted, start, disk, engine, backend }
    }

    fn connect(&mut self) {
        let offer = self.backend.offer;
        self.connect_claiming(offer);
    }

    /// Connects to a backend that says it offers `claim`.
    fn connect_claiming(&mut self, claim: Offer) {
        self.backend.keeps_pages = claim.persistent && self.config.persistent;
        let mut rings = Vec::new();
        for _ in 0..self.layout.1 {
            let ring = self.ring();
            let references: Vec<_> =
                ring.pages().pages().iter().map(|page| page.reference()).collect();
            self.backend.attach(&references);
            rings.push(ring);
        }
        let capacity_sectors = self.disk.capacity_sectors();
        let geometry = geometry_of(&claim, capacity_sectors);
        let features = features_of(&claim, &self.config);
        let backend = Backend { domid: BACKEND, handle: HANDLE, trusted: self.trusted };
        let link = Link::new(self.grants.clone(), backend, features, rings, &self.config);
        self.engine.attach(link, geometry);
    }

    fn ring(&self) -> Front<xen::gnttab::GrantedPage> {
        let pages = (0..1 << self.layout.0).map(|_| {
            let page = xen::page::SharedPage::allocate().unwrap();
            self.grants.grant(BACKEND, page, Access::ReadWrite).unwrap()
        });
        let pages = RingPages::new(pages.collect(), SLOT_BYTES);
        Front::starting_at(pages, RingIdx(self.start))
    }

    /// The connection ends; the backend lets go of everything.
    fn disconnect(&mut self, ending: Ending) {
        self.backend.detach();
        self.engine.detach(ending);
        self.grants.reclaim();
    }

    /// Lets both sides run until nothing moves any more.
    fn settle(&mut self) {
        loop {
            self.engine.service().unwrap();
            if self.backend.run() == 0 {
                break;
            }
        }
        self.engine.take_wakers();
    }

    /// A job's result, if it is done.
    fn result(&mut self, id: JobId) -> Option<(Result<(), BlockError>, DmaBuffer)> {
        match self.engine.poll(id, Waker::noop()) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    fn submit_write(
        &mut self,
        first: u64,
        data: &[u8],
        durable: bool,
    ) -> Result<JobId, BlockError> {
        let mut buffer = DmaBuffer::allocate(data.len()).unwrap();
        buffer.write(0, data);
        let action = Action::Write { durable };
        let submitted = self.engine.submit_buffer(action, Sector(first), buffer);
        submitted.map_err(|(error, buffer)| {
            assert_eq!(buffer.len_bytes(), data.len(), "it comes back");
            error
        })
    }

    fn submit_read(&mut self, first: u64, len_bytes: usize) -> Result<JobId, BlockError> {
        let buffer = DmaBuffer::allocate(len_bytes).unwrap();
        self.engine.submit_buffer(Action::Read, Sector(first), buffer).map_err(|(error, _)| error)
    }

    fn write(&mut self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        let id = self.submit_write(first, data, false)?;
        self.settle();
        self.result(id).unwrap().0
    }

    fn read(&mut self, first: u64, len_bytes: usize) -> Result<Vec<u8>, BlockError> {
        let id = self.submit_read(first, len_bytes)?;
        self.settle();
        let (result, buffer) = self.result(id).unwrap();
        result.map(|()| contents(&buffer))
    }

    fn plain(&mut self, action: Action, first: u64, count: u64) -> Result<(), BlockError> {
        let id = self.engine.submit_plain(action, SectorRange::new(Sector(first), count))?;
        self.settle();
        self.result(id).unwrap().0
    }

    /// No reference and no page is left behind, once the connection is gone.
    fn check_clean(mut self) {
        self.disconnect(Ending::Orderly);
        assert_eq!(self.grants.counters().in_use, 0);
        assert_eq!(self.grants.counters().quarantined, 0);
    }
}

fn geometry_of(offer: &Offer, capacity_sectors: u64) -> Geometry {
    Geometry {
        capacity_sectors,
        sector_bytes: offer.sector_bytes,
        physical_sector_bytes: offer.sector_bytes,
        read_only: offer.read_only,
        removable: false,
    }
}

fn features_of(offer: &Offer, config: &Config) -> Features {
    let limits = DiscardLimits {
        granularity_bytes: offer.sector_bytes,
        alignment_bytes: 0,
        secure: offer.secure,
    };
    Features {
        flush: offer.flush,
        barrier: offer.barrier,
        discard: offer.discard.then_some(limits),
        persistent: offer.persistent && config.persistent,
        indirect_segments: offer.indirect_segments.min(config.indirect_segments_max),
    }
}

fn contents(buffer: &DmaBuffer) -> Vec<u8> {
    let mut bytes = vec![0; buffer.len_bytes()];
    buffer.read(0, &mut bytes);
    bytes
}

/// Bytes that differ from place to place and from `seed` to `seed`.
fn pattern(seed: u64, len_bytes: usize) -> Vec<u8> {
    let byte = |at: usize| (seed as usize * 31 + at / 512 * 7 + at * 3) as u8 | 1;
    (0..len_bytes).map(byte).collect()
}
