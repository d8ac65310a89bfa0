//! Requests whose data lies in slices of the app's: it is copied through pages of the pool.
//!
//! A slice can be gone at any time, with the future that borrows it. So a write is copied when it
//! is submitted, and a read when its result is taken.

use super::job::{Action, Job, JobId};
use super::pool::Place;
use super::{Engine, Phase};
use crate::blkfront::buffer::{Page, read_pages, write_pages};
use crate::blkfront::disk::SectorRange;
use crate::blkfront::error::BlockError;
use core::task::{Poll, Waker};
use xen::Hypervisor;
use xen::page::{PAGE_BYTES, SharedPage};
use xen_abi::blkif::Sector;

/// What the pages of a request hold when it is submitted.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Nothing that counts: they are to be filled.
    Nothing,
    /// A copy of these bytes.
    Bytes(&'a [u8]),
    /// Zeroes.
    Zeroes,
}

/// Most pages of one request: what a backend takes at once, or enough to keep it busy.
const REQUEST_PAGES_MAX: usize = 256;

impl<X: Hypervisor> Engine<X> {
    /// Most bytes of one request.
    pub fn slice_max_bytes(&self) -> usize {
        // Two at a time, so that one is on its way while the other is copied.
        (self.work.pool.budget.limit() / 2).clamp(1, REQUEST_PAGES_MAX) * PAGE_BYTES
    }

    /// Submits a read or a write of `len_bytes` bytes, at most [`Self::slice_max_bytes`]. While
    /// there are no pages for it, the caller has a `place` in line, and its `waker` is woken.
    ///
    /// # Errors
    /// At once if it makes no sense to send it.
    pub fn poll_submit_slice(
        &mut self,
        action: Action,
        first: Sector,
        (len_bytes, source): (usize, Source<'_>),
        (place, waker): (&mut Option<Place>, &Waker),
    ) -> Poll<Result<JobId, BlockError>> {
        let admitted = SectorRange::of_bytes(first, len_bytes)
            .and_then(|range| self.admit(action, &range).map(|()| range));
        let range = match admitted {
            Ok(range) => range,
            Err(error) => {
                self.leave_line(place);
                return Poll::Ready(Err(error));
            }
        };
        let count = len_bytes.div_ceil(PAGE_BYTES);
        let work = &mut self.work;
        if !work.pool.budget.take(count, place, waker, &mut work.wakers) {
            return Poll::Pending;
        }
        let mut job = Job::new(action, range);
        (job.len_bytes, job.from_pool) = (len_bytes, true);
        let mut complete = job.pages.try_reserve_exact(count).is_ok();
        while complete && job.pages.len() < count {
            match self.page_for_slice() {
                Some(page) => job.pages.push(page),
                None => complete = false,
            }
        }
        if !complete {
            self.put_pages(job, count);
            return Poll::Ready(Err(BlockError::OutOfMemory));
        }
        match source {
            Source::Nothing => {}
            Source::Bytes(data) => write_pages(&job.pages, 0, data),
            Source::Zeroes => job.pages.iter().filter_map(Page::shared).for_each(SharedPage::clear),
        }
        Poll::Ready(Ok(self.submit(job)))
    }

    /// Gives up a place in line.
    pub fn leave_line(&mut self, place: &mut Option<Place>) {
        let work = &mut self.work;
        work.pool.budget.leave(place, &mut work.wakers);
    }

    /// Whether a job of [`Self::poll_submit_slice`] is done; `waker` is woken when it is. What was
    /// read is copied into `to`.
    pub fn poll_slice(
        &mut self,
        id: JobId,
        to: &mut [u8],
        waker: &Waker,
    ) -> Poll<Result<(), BlockError>> {
        if self.work.poll(id, waker).is_pending() {
            return Poll::Pending;
        }
        let Some(job) = self.work.jobs.remove(id) else { return Poll::Ready(Ok(())) };
        let result = job.result;
        if result.is_ok() {
            read_pages(&job.pages, 0, to);
        }
        let count = job.pages.len();
        self.put_pages(job, count);
        Poll::Ready(result)
    }

    /// Waits until no one else writes parts of sectors; [`Self::put_edge`] lets the next one.
    pub fn poll_edge(
        &mut self,
        place: &mut Option<Place>,
        waker: &Waker,
    ) -> Poll<Result<(), BlockError>> {
        if let Phase::Closed(reason) = self.phase {
            return Poll::Ready(Err(BlockError::Gone(reason)));
        }
        match self.edge.take(1, place, waker, &mut self.work.wakers) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// The writer of a part of a sector is done.
    pub fn put_edge(&mut self) {
        self.edge.put(1, &mut self.work.wakers);
    }

    /// Gives up a place in that line.
    pub fn leave_edge(&mut self, place: &mut Option<Place>) {
        self.edge.leave(place, &mut self.work.wakers);
    }

    fn page_for_slice(&mut self) -> Option<Page> {
        let persistent = match &mut self.phase {
            Phase::Attached(link) => link.page_for_slice(),
            _ => None,
        };
        persistent.or_else(|| self.work.pool.page())
    }

    /// Takes the pages of a job back, for which `count` were taken out of the pool.
    fn put_pages(&mut self, job: Job, count: usize) {
        for page in job.pages {
            let plain = match (&mut self.phase, page) {
                (Phase::Attached(link), page) => link.put_from_slice(page),
                (_, Page::Plain(page)) => Some(page),
                _ => None,
            };
            if let Some(page) = plain {
                self.work.pool.keep(page);
            }
        }
        let work = &mut self.work;
        work.pool.budget.put(count, &mut work.wakers);
    }

    /// Throws away a job that is done and that nobody waits for.
    pub(super) fn release(&mut self, id: JobId) {
        let Some(job) = self.work.jobs.remove(id) else { return };
        if job.from_pool {
            let count = job.len_bytes.div_ceil(PAGE_BYTES);
            self.put_pages(job, count);
        }
    }

    /// The same for all of them.
    pub(super) fn release_abandoned(&mut self) {
        while let Some(id) = self.work.orphans.pop() {
            self.release(id);
        }
    }
}
