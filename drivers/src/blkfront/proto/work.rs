//! Everything that is to be done, whatever the connection: jobs, their waiting pieces, flushes, and
//! who is to be woken.

use super::job::{Action, Job, JobId, Jobs, Piece};
use super::pool::Pool;
use super::stable::Stability;
use crate::blkfront::buffer::Page;
use crate::blkfront::disk::{Geometry, SectorRange};
use crate::blkfront::error::BlockError;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::{Poll, Waker};

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests that were put on a ring.
    pub sent: u64,
    /// Responses that were taken from one. If it stands still while requests are open, the backend
    /// is stuck.
    pub answered: u64,
    /// Pieces of the app's requests that went along with a neighbour.
    pub merged: u64,
    /// Indirect requests among those sent.
    pub indirect: u64,
    /// Flushes and barriers among those sent.
    pub flushes: u64,
    /// Pages that were copied because the backend keeps its own mapped.
    pub covered_pages: u64,
    /// Requests that had to be sent again, over a new connection or in another form.
    pub again: u64,
}

/// What is to be done.
pub(super) struct Work {
    pub jobs: Jobs,
    /// First come, first sent.
    pub backlog: VecDeque<Piece>,
    pub stable: Stability,
    pub pool: Pool,
    /// To be called when no lock is held.
    pub wakers: Vec<Waker>,
    /// Who puts requests on the ring.
    pub driver: Option<Waker>,
    pub counters: Counters,
    /// Jobs that are done, and that nobody waits for.
    pub orphans: Vec<JobId>,
    /// Durable writes that are not done.
    durable: Vec<JobId>,
    last_serial: u64,
}

impl Work {
    pub fn new(pool: Pool) -> Self {
        Self {
            jobs: Jobs::default(),
            backlog: VecDeque::new(),
            stable: Stability::new(),
            pool,
            wakers: Vec::new(),
            driver: None,
            counters: Counters::default(),
            orphans: Vec::new(),
            durable: Vec::new(),
            last_serial: 0,
        }
    }

    /// Has the driver look for something to do.
    pub fn call_driver(&mut self) {
        self.wakers.extend(self.driver.take());
    }

    /// Takes a job on. Its range is one of the disk's; if it has data, `pages` hold all of it.
    pub fn submit(&mut self, mut job: Job) -> JobId {
        job.write = job.action.writes().then(|| self.stable.begin_write());
        let flushes = job.action == Action::Flush;
        job.pieces = u32::from(!flushes);
        self.last_serial += 1;
        job.serial = self.last_serial;
        let whole = job.whole(JobId(0));
        let id = self.jobs.add(job);
        if whole.action == (Action::Write { durable: true }) {
            self.durable.push(id);
        }
        if flushes {
            self.stable.flush(id);
        } else {
            self.backlog.push_back(Piece { job: id, ..whole });
        }
        self.call_driver();
        id
    }

    /// Adds a job that has its result already.
    pub fn submit_done(&mut self, mut job: Job, result: Result<(), BlockError>) -> JobId {
        job.is_done = true;
        job.result = result;
        self.jobs.add(job)
    }

    /// The next piece that is to be sent. Those that cannot be, or need not, are ended on the way.
    pub fn front(&mut self, geometry: &Geometry) -> Option<Piece> {
        while let Some(piece) = self.backlog.front().copied() {
            let unwanted = piece.action == Action::Read
                && self.jobs.get(piece.job).is_none_or(|job| job.is_abandoned);
            let result = check(geometry, piece.action, &piece.range);
            if result.is_ok() && !unwanted {
                return Some(piece);
            }
            self.backlog.pop_front();
            self.piece_done(&piece, result);
        }
        None
    }

    /// Whether a piece that writes has to wait for a durable write that was submitted before it. If
    /// the backend died that one would be done again, so nothing may be written over it before.
    pub fn is_unsettled(&self, piece: &Piece) -> bool {
        let Some(job) = self.jobs.get(piece.job) else { return false };
        self.durable
            .iter()
            .filter_map(|id| self.jobs.get(*id))
            .any(|earlier| earlier.serial < job.serial && earlier.range.overlaps(&piece.range))
    }

    /// Cuts the first piece down to `pages` pages.
    pub fn split_front(&mut self, pages: usize) {
        if let Some(piece) = self.backlog.front_mut().filter(|piece| piece.pages() > pages) {
            let rest = piece.split_off(pages);
            self.backlog.insert(1, rest);
            if let Some(job) = self.jobs.get_mut(rest.job) {
                job.pieces += 1;
            }
        }
    }

    /// Puts pieces that were sent before everything else, in their order, to be sent (again).
    pub fn send_again(&mut self, pieces: impl DoubleEndedIterator<Item = Piece>) {
        pieces.rev().for_each(|piece| self.backlog.push_front(piece));
    }

    /// A piece is done with.
    pub fn piece_done(&mut self, piece: &Piece, result: Result<(), BlockError>) {
        let Some(job) = self.jobs.get_mut(piece.job) else { return };
        job.note(result);
        job.pieces -= 1;
        if job.pieces > 0 {
            return;
        }
        if let Some(number) = job.write.take() {
            self.stable.end_write(number);
        }
        if job.action == (Action::Write { durable: true }) && job.result.is_ok() {
            self.stable.make_durable(piece.job);
        } else {
            self.complete(piece.job);
        }
    }

    /// The flush on the way was answered.
    pub fn flush_answered(&mut self, result: Result<(), BlockError>) {
        for id in self.stable.answered(result.is_ok()) {
            self.end(id, result);
        }
    }

    /// Nothing can be flushed: all who wait for that are told.
    pub fn cannot_flush(&mut self) {
        for id in self.stable.give_up() {
            self.end(id, Err(BlockError::NoFlush));
        }
    }

    /// Durable writes that a dead backend answered but did not flush are done again.
    pub fn redo_durable(&mut self) {
        let jobs = &self.jobs;
        let is_write = |id| jobs.get(id).is_some_and(|job| job.action != Action::Flush);
        let again = self.stable.backend_died(is_write);
        for id in again.into_iter().rev() {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.write = Some(self.stable.begin_write());
            job.pieces = 1;
            self.counters.again += 1;
            self.backlog.push_front(job.whole(id));
        }
    }

    fn end(&mut self, id: JobId, result: Result<(), BlockError>) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.note(result);
            self.complete(id);
        }
    }

    fn complete(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.is_done = true;
        self.wakers.extend(job.waker.take());
        if job.action == (Action::Write { durable: true }) {
            self.durable.retain(|other| *other != id);
        }
        if job.is_abandoned {
            self.orphans.push(id);
        }
    }

    /// Nothing will be done any more: every job ends with `error`.
    pub fn fail_all(&mut self, error: BlockError) {
        self.backlog.clear();
        self.stable.give_up();
        let open = |(_, job): &(JobId, &mut Job)| !job.is_done;
        let ids: Vec<JobId> = self.jobs.iter_mut().filter(open).map(|(id, _)| id).collect();
        for id in ids {
            self.end(id, Err(error));
        }
        self.pool.budget.call_all(&mut self.wakers);
    }

    /// Whether a job is done; `waker` is woken when it is.
    pub fn poll(&mut self, id: JobId, waker: &Waker) -> Poll<()> {
        match self.jobs.get_mut(id) {
            Some(job) if !job.is_done => {
                if !job.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    // The old one may run code of its owner's when it is dropped: not here.
                    self.wakers.extend(job.waker.replace(waker.clone()));
                }
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Makes the pages of all jobs ours alone again, after a connection.
    pub fn recover_pages(&mut self) {
        for (_, job) in self.jobs.iter_mut() {
            let keep = job.is_done || job.action.writes();
            for page in &mut job.pages {
                page.recover(keep);
            }
            if keep && !job.is_done && job.pages.iter().any(|page| matches!(page, Page::Lost)) {
                job.note(Err(BlockError::OutOfMemory));
            }
        }
    }
}

/// Whether the disk has these sectors, and lets this be done with them.
pub(super) fn check(
    geometry: &Geometry,
    action: Action,
    range: &SectorRange,
) -> Result<(), BlockError> {
    if geometry.read_only && action.writes() {
        return Err(BlockError::ReadOnly);
    }
    geometry.check(range)
}
