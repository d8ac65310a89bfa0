//! What goes out: pieces become requests.
//!
//! ```text
//!   backlog:  │ A 0–7 │ A 8–19 │ B 20–27 │ C 90–97 │        pieces of jobs, by sectors
//!              └─── one request ───────┘   └ next ┘         neighbours together, cut where the
//!                                                           backend takes no more segments
//! ```
//!
//! Only pieces that follow each other in the backlog are joined, so nothing is overtaken.

use super::job::{Action, Piece};
use super::link::{Link, pages_of};
use super::queue::write_segment;
use super::shadow::{Asked, Place};
use super::work::{Work, check};
use crate::blkfront::buffer::{Page, copy_page};
use crate::blkfront::disk::{Durability, Geometry, SectorRange};
use crate::blkfront::error::{BlockError, Lie};
use alloc::vec::Vec;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantError};
use xen::page::{PAGE_BYTES, SharedPage};
use xen_abi::blkif::{
    DIRECT_SEGMENTS_MAX, Direct, DirectOperation, Direction, Discard, Indirect, SECTOR_BYTES,
    SECTORS_PER_PAGE, Sector, Segment, Slot,
};

/// What became of the first piece of the backlog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// It is on a ring, or done with.
    Gone,
    /// It has to wait for an answer.
    Waits,
}

impl<X: Hypervisor> Link<X> {
    /// Puts as much on the rings as there is, and as they take.
    pub(super) fn fill(&mut self, work: &mut Work, geometry: &Geometry) -> Result<(), Lie> {
        self.starved = false;
        if self.frozen {
            return Ok(());
        }
        while let Some(queue) = self.next_queue() {
            if work.stable.is_due() {
                self.send_flush(queue, work);
                continue;
            }
            let Some(piece) = work.front(geometry) else { break };
            if self.has_to_wait(work, &piece) {
                break;
            }
            let outcome = match piece.action {
                Action::Discard { secure } => self.send_discard(queue, work, secure),
                Action::Read => self.send_data(queue, work, Direction::Read, geometry)?,
                _ => self.send_data(queue, work, Direction::Write, geometry)?,
            };
            if outcome == Outcome::Waits {
                break;
            }
        }
        Ok(())
    }

    /// Whether something has to be done before this piece.
    fn has_to_wait(&self, work: &Work, piece: &Piece) -> bool {
        let writes = piece.action.writes();
        self.order.forbids(&piece.range, writes) || (writes && work.is_unsettled(piece))
    }

    fn send_flush(&mut self, queue: usize, work: &mut Work) {
        let (asked, operation) = match self.durability() {
            Durability::Flush => (Asked::Flush, DirectOperation::Flush),
            Durability::Barrier => (Asked::Barrier, DirectOperation::Barrier),
            Durability::Unknown => return work.cannot_flush(),
        };
        let handle = self.backend.handle;
        let sequence = self.next_sequence();
        let Some((_, shadow)) = self.queues[queue].shadows.add(asked) else { return };
        shadow.sequence = sequence;
        let request = Direct::new(operation, handle, shadow.id, Sector(0));
        self.push(queue, work, &request.emit());
        work.stable.sent();
        work.counters.flushes += 1;
    }

    fn send_discard(&mut self, queue: usize, work: &mut Work, secure: bool) -> Outcome {
        let Some(piece) = work.backlog.pop_front() else { return Outcome::Gone };
        let can = self.features.discard.is_some_and(|limits| limits.secure || !secure);
        if !can {
            work.piece_done(&piece, Err(BlockError::NotSupported));
            return Outcome::Gone;
        }
        let Some(place) = self.open_request(queue, Asked::Discard, piece.range) else {
            work.send_again([piece].into_iter());
            return Outcome::Waits;
        };
        let shadow = self.queues[queue].shadows.get_mut(place);
        shadow.parts.push(piece);
        let request = Discard {
            handle: self.backend.handle,
            id: shadow.id,
            sector: piece.range.first,
            count_sectors: piece.range.count_sectors,
            secure,
        };
        self.push(queue, work, &request.emit());
        Outcome::Gone
    }

    /// Sends the first piece of the backlog, which reads or writes, with the neighbours behind it.
    fn send_data(
        &mut self,
        queue: usize,
        work: &mut Work,
        direction: Direction,
        geometry: &Geometry,
    ) -> Result<Outcome, Lie> {
        let limit = self.segments_max(queue);
        let mut parts = core::mem::take(&mut self.spare_parts);
        let segments = self.gather(work, geometry, limit, &mut parts);
        let lent = parts.iter().try_for_each(|part| {
            let pages = pages_of(&mut work.jobs, part).iter_mut();
            let mut left_sectors = part.range.count_sectors;
            { pages }.try_for_each(|page| {
                let sectors = left_sectors.min(u64::from(SECTORS_PER_PAGE));
                left_sectors -= sectors;
                let covered = self.lend(page, direction, sectors as usize)?;
                work.counters.covered_pages += u64::from(covered);
                Ok(())
            })
        });
        if let Err(error) = lent {
            self.take_back(&mut work.jobs, &parts, false)?;
            let outcome = self.not_lent(work, &parts, error);
            self.keep_spare(parts);
            return Ok(outcome);
        }
        let asked = match direction {
            Direction::Read => Asked::Read,
            Direction::Write => Asked::Write,
        };
        let count_sectors = parts.iter().map(|part| part.range.count_sectors).sum();
        let first = parts.first().map_or(Sector(0), |part| part.range.first);
        let range = SectorRange { first, count_sectors };
        let Some(place) = self.open_request(queue, asked, range) else {
            self.take_back(&mut work.jobs, &parts, false)?;
            work.send_again(parts.drain(..));
            return Ok(Outcome::Waits);
        };
        let shadow = self.queues[queue].shadows.get_mut(place);
        let old_list = core::mem::replace(&mut shadow.parts, parts);
        self.keep_spare(old_list);
        let slot = match segments {
            0..=DIRECT_SEGMENTS_MAX => self.direct(queue, place, work, direction),
            _ => self.indirect(queue, place, work, (direction, segments)),
        };
        self.push(queue, work, &slot);
        Ok(Outcome::Gone)
    }

    /// Keeps the memory of a list for the next request.
    fn keep_spare(&mut self, mut parts: Vec<Piece>) {
        parts.clear();
        self.spare_parts = parts;
    }

    /// Takes the first piece of the backlog and the neighbours behind it, as far as they go into
    /// one request; how many segments they need.
    fn gather(
        &self,
        work: &mut Work,
        geometry: &Geometry,
        limit: usize,
        parts: &mut Vec<Piece>,
    ) -> usize {
        work.split_front(limit);
        let Some(mut last) = work.backlog.pop_front() else { return 0 };
        parts.push(last);
        let mut segments = last.pages();
        while let Some(next) = work.backlog.front().copied() {
            let fits = self.merge && last.is_followed_by(&next) && segments + next.pages() <= limit;
            let good = check(geometry, next.action, &next.range).is_ok();
            if !fits || !good || self.has_to_wait(work, &next) {
                break;
            }
            work.backlog.pop_front();
            parts.push(next);
            segments += next.pages();
            last = next;
            work.counters.merged += 1;
        }
        segments
    }

    /// Lets the backend use a page of which the first `sectors` sectors hold data; whether another
    /// one had to take its place.
    fn lend(
        &mut self,
        page: &mut Page,
        direction: Direction,
        sectors: usize,
    ) -> Result<bool, GrantError> {
        if matches!(page, Page::Lost) {
            *page = Page::Plain(SharedPage::allocate().ok_or(GrantError::OutOfMemory)?);
        }
        let Page::Plain(plain) = &*page else { return Ok(false) };
        let domid = self.backend.domid;
        if let Some(pool) = &mut self.persistent {
            let pooled = pool.take(&self.grants, domid)?;
            if direction == Direction::Write {
                copy_page(plain, &pooled);
            }
            if let Page::Plain(plain) = core::mem::replace(page, Page::Lost) {
                *page = Page::Covered(plain, pooled);
            }
            return Ok(true);
        }
        if !self.backend.trusted {
            let kept = if direction == Direction::Write { sectors * SECTOR_BYTES } else { 0 };
            clear_from(plain, kept);
        }
        let access = match direction {
            Direction::Read => Access::ReadWrite,
            Direction::Write => Access::ReadOnly,
        };
        page.lend(&self.grants, domid, access)?;
        Ok(false)
    }

    /// Some pages could not be lent: `parts` wait, or fail.
    fn not_lent(&mut self, work: &mut Work, parts: &[Piece], error: GrantError) -> Outcome {
        if !matches!(error, GrantError::Exhausted | GrantError::OwnerLimit { .. }) {
            log::error!("block request without a grant: {error}");
            for part in parts {
                work.piece_done(part, Err(BlockError::OutOfMemory));
            }
            return Outcome::Gone;
        }
        work.send_again(parts.iter().copied());
        if self.open() > 0 {
            return Outcome::Waits;
        }
        let segments: usize = parts.iter().map(Piece::pages).sum();
        if segments > 1 {
            // Nothing will be let go, but perhaps there are enough grants for less at a time.
            self.segments_limit = segments / 2;
            return Outcome::Gone;
        }
        self.starved = true;
        Outcome::Waits
    }

    /// A place for a request that has sectors.
    fn open_request(&mut self, queue: usize, asked: Asked, range: SectorRange) -> Option<Place> {
        let sequence = self.next_sequence();
        let (place, shadow) = self.queues[queue].shadows.add(asked)?;
        (shadow.range, shadow.sequence) = (range, sequence);
        self.order.add(queue, place, range, asked.writes());
        Some(place)
    }

    fn direct(&mut self, queue: usize, place: Place, work: &mut Work, to: Direction) -> Slot {
        let shadow = self.queues[queue].shadows.get_mut(place);
        let operation = match to {
            Direction::Read => DirectOperation::Read,
            Direction::Write => DirectOperation::Write,
        };
        let first = shadow.range.first;
        let mut request = Direct::new(operation, self.backend.handle, shadow.id, first);
        for_segments(work, &shadow.parts, |_, segment| {
            let fits = request.push(segment);
            debug_assert!(fits);
        });
        request.emit()
    }

    fn indirect(
        &mut self,
        queue: usize,
        place: Place,
        work: &mut Work,
        (direction, segments): (Direction, usize),
    ) -> Slot {
        let queue = &mut self.queues[queue];
        let pages: Vec<_> = queue.take_segment_pages(segments).collect();
        let shadow = queue.shadows.get_mut(place);
        shadow.pages = pages;
        for_segments(work, &shadow.parts, |index, segment| {
            write_segment(&shadow.pages, index, segment);
        });
        work.counters.indirect += 1;
        let references: Vec<_> = shadow.pages.iter().map(|page| page.reference()).collect();
        let place = (self.backend.handle, shadow.id, shadow.range.first);
        let request = Indirect::new(direction, place, segments, &references);
        debug_assert!(request.is_some());
        request.map(|request| request.emit()).unwrap_or([0; _])
    }

    fn push(&mut self, queue: usize, work: &mut Work, slot: &Slot) {
        let index = self.queues[queue].ring.push(slot);
        debug_assert!(index.is_some(), "as many places as slots");
        work.counters.sent += 1;
    }
}

/// Gives `take` every segment of `parts`, whose pages are lent, and its index.
fn for_segments(work: &mut Work, parts: &[Piece], mut take: impl FnMut(usize, Segment)) {
    let mut index = 0;
    for part in parts {
        let mut left_sectors = part.range.count_sectors;
        for page in pages_of(&mut work.jobs, part) {
            let sectors = left_sectors.min(u64::from(SECTORS_PER_PAGE));
            left_sectors -= sectors;
            let Some(reference) = page.reference() else { continue };
            take(index, Segment::leading(reference, sectors as u8));
            index += 1;
        }
    }
}

/// Clears a page from `offset` on.
fn clear_from(page: &SharedPage, offset: usize) {
    const ZEROES: [u8; SECTOR_BYTES] = [0; SECTOR_BYTES];
    (offset..PAGE_BYTES).step_by(SECTOR_BYTES).for_each(|at| page.write(at, &ZEROES));
}
