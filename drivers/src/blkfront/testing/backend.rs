//! A backend: takes requests from rings, does them in any order, answers.

use super::ram_disk::RamDisk;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use xen::gnttab::Access;
use xen::ring::{Back, RingPages};
use xen::testing::{Peer, PeerMapping};
use xen_abi::blkif::{
    Direct, DirectOperation, Direction, Discard, Handle, Indirect, Operation, Request, RequestId,
    Response, SECTOR_BYTES, SEGMENT_BYTES, SEGMENTS_PER_PAGE, SLOT_BYTES, Segment, Slot, Status,
};
use xen_abi::gnttab::GrantRef;

/// What a backend offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Bytes of a sector.
    pub sector_bytes: u32,
    /// Whether writes fail.
    pub read_only: bool,
    /// Flush requests.
    pub flush: bool,
    /// Barrier requests.
    pub barrier: bool,
    /// Discard requests.
    pub discard: bool,
    /// Secure ones.
    pub secure: bool,
    /// Pages stay mapped.
    pub persistent: bool,
    /// Most segments of an indirect request.
    pub indirect_segments: u16,
}

impl Offer {
    /// Everything.
    pub const ALL: Self = Self {
        sector_bytes: 512,
        read_only: false,
        flush: true,
        barrier: true,
        discard: true,
        secure: true,
        persistent: false,
        indirect_segments: 256,
    };
    /// A disk and nothing else.
    pub const NONE: Self = Self {
        flush: false,
        barrier: false,
        discard: false,
        secure: false,
        indirect_segments: 0,
        ..Self::ALL
    };
}

/// A request that was taken from a ring and not answered.
struct Pending {
    ring: usize,
    slot: Slot,
}

struct Ring {
    back: Back,
    mappings: Vec<PeerMapping>,
}

/// The backend of one disk.
pub struct FakeBackend {
    peer: Peer,
    disk: RamDisk,
    handle: Handle,
    /// What it does; may be less than what it said.
    pub offer: Offer,
    rings: Vec<Ring>,
    pending: Vec<Pending>,
    /// Pages that stay mapped.
    persistent: BTreeMap<GrantRef, PeerMapping>,
    /// Requests done, by operation.
    pub done: BTreeMap<u8, u64>,
    /// Segments of the largest request.
    pub largest: usize,
    /// Whether pages stay mapped: it is offered, and the frontend wants it too.
    pub keeps_pages: bool,
    /// Whether an indirect request is answered as what it is.
    pub echo_indirect: bool,
}

impl FakeBackend {
    /// A backend without rings.
    pub fn new(peer: Peer, disk: RamDisk, handle: Handle, offer: Offer) -> Self {
        Self {
            peer,
            disk,
            handle,
            offer,
            rings: Vec::new(),
            pending: Vec::new(),
            persistent: BTreeMap::new(),
            done: BTreeMap::new(),
            largest: 0,
            keeps_pages: false,
            echo_indirect: false,
        }
    }

    /// Maps a ring of the pages `grants`.
    pub fn attach(&mut self, grants: &[GrantRef]) {
        let map = |grant: &GrantRef| self.peer.map(*grant, Access::ReadWrite).unwrap();
        let mappings: Vec<_> = grants.iter().map(map).collect();
        let pages = mappings.iter().map(|mapping| mapping.page().peer()).collect();
        let back = Back::attach(RingPages::new(pages, SLOT_BYTES));
        self.rings.push(Ring { back, mappings });
    }

    /// Lets go of everything, as a backend does that closes, or as Xen does for one that is dead.
    pub fn detach(&mut self) {
        self.pending.clear();
        let rings = self.rings.drain(..).flat_map(|ring| ring.mappings);
        let pages = core::mem::take(&mut self.persistent).into_values();
        rings.chain(pages).for_each(|mapping| self.peer.unmap(mapping));
    }

    /// Takes requests from the rings; how many wait now.
    pub fn take(&mut self) -> usize {
        (0..self.rings.len()).for_each(|ring| self.take_from(ring));
        self.waiting()
    }

    /// Takes requests from one ring, and asks for an event for the next.
    pub fn take_from(&mut self, ring: usize) {
        let back = &mut self.rings[ring].back;
        let mut slot = [0; SLOT_BYTES];
        loop {
            while back.pop(&mut slot).unwrap() {
                self.pending.push(Pending { ring, slot });
            }
            if !back.arm().unwrap() {
                return;
            }
        }
    }

    /// Requests that were taken and not answered.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Does the waiting request `index` and answers it; the ring, if its frontend wants an event.
    pub fn answer(&mut self, index: usize) -> Option<usize> {
        let Pending { ring, slot } = self.pending.remove(index);
        let response = self.execute(&slot);
        self.respond(ring, &response).then_some(ring)
    }

    /// Does the waiting request `index` without answering it: it stays.
    pub fn execute_only(&mut self, index: usize) {
        let slot = self.pending[index].slot;
        self.execute(&slot);
    }

    /// Forgets the waiting request `index` and hands it out, for a test to answer as it likes.
    pub fn steal(&mut self, index: usize) -> (usize, Slot) {
        let Pending { ring, slot } = self.pending.remove(index);
        (ring, slot)
    }

    /// Puts a response on a ring, whatever it says; whether the frontend wants an event.
    pub fn respond(&mut self, ring: usize, response: &Response) -> bool {
        let back = &mut self.rings[ring].back;
        assert!(back.push(&response.emit()));
        back.publish()
    }

    /// The pages of a ring, for a test that writes there.
    pub fn ring_page(&self, ring: usize) -> &xen::page::SharedPage {
        self.rings[ring].mappings[0].page()
    }

    /// Takes and does everything, in the order that it came; how many requests that were.
    pub fn run(&mut self) -> usize {
        let count = self.take();
        for _ in 0..count {
            self.answer(0);
        }
        count
    }

    fn execute(&mut self, slot: &Slot) -> Response {
        let request = Request::parse(slot).unwrap();
        let (operation, status) = match &request {
            Request::Direct(request) => (slot[0], self.direct(request)),
            Request::Indirect(request) => {
                let inner = request.direction.operation().0;
                let operation = if self.echo_indirect { slot[0] } else { inner };
                (operation, self.indirect(request))
            }
            Request::Discard(request) => (slot[0], self.discard(request)),
        };
        *self.done.entry(slot[0]).or_default() += 1;
        Response { id: id_of(&request), operation: Operation(operation), status }
    }

    fn direct(&mut self, request: &Direct) -> Status {
        assert_eq!(request.handle, self.handle);
        let segments = request.segments();
        let direction = match request.operation {
            DirectOperation::Read => Direction::Read,
            DirectOperation::Write => Direction::Write,
            DirectOperation::Flush | DirectOperation::Barrier => {
                let offered = match request.operation {
                    DirectOperation::Flush => self.offer.flush,
                    _ => self.offer.barrier,
                };
                assert!(segments.is_empty() && request.sector.0 == 0);
                if !offered {
                    return Status::EOPNOTSUPP;
                }
                self.disk.flush();
                return Status::OKAY;
            }
        };
        assert!(!segments.is_empty());
        self.transfer(direction, request.sector.0, segments)
    }

    fn indirect(&mut self, request: &Indirect) -> Status {
        assert_eq!(request.handle, self.handle);
        if self.offer.indirect_segments == 0 {
            return Status::EOPNOTSUPP;
        }
        assert!(request.segments() <= usize::from(self.offer.indirect_segments));
        let mut segments = Vec::new();
        for (page, grant) in request.pages().iter().enumerate() {
            let count = (request.segments() - page * SEGMENTS_PER_PAGE).min(SEGMENTS_PER_PAGE);
            self.with_page(*grant, Access::ReadOnly, |page| {
                for index in 0..count {
                    let mut bytes = [0; SEGMENT_BYTES];
                    page.read(index * SEGMENT_BYTES, &mut bytes);
                    segments.push(Segment::parse(&bytes).unwrap());
                }
            });
        }
        self.transfer(request.direction, request.sector.0, &segments)
    }

    fn discard(&mut self, request: &Discard) -> Status {
        assert_eq!(request.handle, self.handle);
        if !self.offer.discard || (request.secure && !self.offer.secure) {
            return Status::EOPNOTSUPP;
        }
        let (first, count) = (request.sector.0, request.count_sectors);
        self.check_whole_sectors(first, count);
        if self.disk.fails(first, count) || self.offer.read_only {
            return Status::ERROR;
        }
        self.disk.discard(first, count);
        Status::OKAY
    }

    /// The frontend knows the disk's sector size, and sends nothing else.
    fn check_whole_sectors(&self, first: u64, count: u64) {
        let unit = u64::from(self.offer.sector_bytes) / SECTOR_BYTES as u64;
        let whole = first.is_multiple_of(unit) && count.is_multiple_of(unit);
        assert!(count > 0 && whole, "{first} + {count}");
    }

    fn transfer(&mut self, direction: Direction, first: u64, segments: &[Segment]) -> Status {
        self.largest = self.largest.max(segments.len());
        let count = segments.iter().map(|segment| u64::from(segment.sectors())).sum();
        self.check_whole_sectors(first, count);
        if self.disk.fails(first, count) || (direction == Direction::Write && self.offer.read_only)
        {
            return Status::ERROR;
        }
        let mut sector = first;
        for segment in segments {
            let access = match direction {
                Direction::Read => Access::ReadWrite,
                Direction::Write => Access::ReadOnly,
            };
            let disk = self.disk.clone();
            self.with_page(segment.grant(), access, |page| {
                for at in segment.first()..segment.first() + segment.sectors() {
                    let offset = usize::from(at) * SECTOR_BYTES;
                    match direction {
                        Direction::Read => page.write(offset, &disk.read(sector)),
                        Direction::Write => {
                            let mut data = [0; SECTOR_BYTES];
                            page.read(offset, &mut data);
                            disk.write(sector, &data);
                        }
                    }
                    sector += 1;
                }
            });
        }
        Status::OKAY
    }

    /// Works on a page of the frontend's.
    fn with_page(
        &mut self,
        grant: GrantRef,
        access: Access,
        work: impl FnOnce(&xen::page::SharedPage),
    ) {
        if self.keeps_pages {
            let peer = &self.peer;
            let map = || peer.map(grant, Access::ReadWrite).unwrap();
            work(self.persistent.entry(grant).or_insert_with(map).page());
            return;
        }
        if access == Access::ReadOnly {
            assert!(self.peer.map(grant, Access::ReadWrite).is_err(), "a grant too generous");
        }
        let mapping = self.peer.map(grant, access).unwrap();
        work(mapping.page());
        self.peer.unmap(mapping);
    }
}

fn id_of(request: &Request) -> RequestId {
    match request {
        Request::Direct(request) => request.id,
        Request::Indirect(request) => request.id,
        Request::Discard(request) => request.id,
    }
}
