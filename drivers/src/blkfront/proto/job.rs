//! What the app has asked for, until it has taken the result.
//!
//! ```text
//!   submitted ──▶ pieces wait or are on a ring ──▶ all answered ──▶ done ──▶ taken
//!                        ▲                            │ durable       ▲
//!                        │ backend died               ▼               │
//!                        └─────────────────── waits for a flush ──────┘
//! ```
//!
//! A job whose future was dropped goes on: its pages are the driver's until the last answer.

use super::stable::WriteNumber;
use crate::blkfront::buffer::Page;
use crate::blkfront::disk::SectorRange;
use crate::blkfront::error::BlockError;
use alloc::vec::Vec;
use core::task::Waker;
use xen_abi::blkif::SECTORS_PER_PAGE;

/// Names a job until its result is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct JobId(pub(super) u32);

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Sectors into pages.
    Read,
    /// Pages into sectors.
    Write {
        /// Whether it is done only when the data is on stable storage.
        durable: bool,
    },
    /// Sectors hold nothing of value any more.
    Discard {
        /// Whether no copy of them may be left.
        secure: bool,
    },
    /// What was written is brought to stable storage.
    Flush,
}

impl Action {
    /// Whether it changes the disk's contents.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write { .. } | Self::Discard { .. })
    }
}

/// Part of a job, as large as the whole of it or smaller, that waits or is on a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub job: JobId,
    pub action: Action,
    pub range: SectorRange,
    /// The page of the job's buffer that it begins with.
    pub first_page: usize,
    /// Whether it is to have a request of its own, because one with others has failed.
    pub alone: bool,
}

impl Piece {
    /// Pages that it reaches over; data begins at the beginning of each.
    pub fn pages(&self) -> usize {
        self.range.count_sectors.div_ceil(u64::from(SECTORS_PER_PAGE)) as usize
    }

    /// Cuts off all but the first `pages` pages, fewer than there are.
    pub fn split_off(&mut self, pages: usize) -> Self {
        let sectors = pages as u64 * u64::from(SECTORS_PER_PAGE);
        let rest_sectors = self.range.count_sectors - sectors;
        let rest = Self {
            range: self.range.part(sectors, rest_sectors),
            first_page: self.first_page + pages,
            ..*self
        };
        self.range.count_sectors = sectors;
        rest
    }

    /// Whether `next` goes on where this ends, in the same direction.
    pub fn is_followed_by(&self, next: &Self) -> bool {
        let same = matches!(
            (self.action, next.action),
            (Action::Read, Action::Read) | (Action::Write { .. }, Action::Write { .. })
        );
        same && !self.alone && !next.alone && self.range.end() == Some(next.range.first)
    }
}

/// What the app has asked for.
pub(super) struct Job {
    pub action: Action,
    pub range: SectorRange,
    pub pages: Vec<Page>,
    pub len_bytes: usize,
    /// Whether the pages are the pool's.
    pub from_pool: bool,
    /// Pieces that wait or are on a ring.
    pub pieces: u32,
    pub write: Option<WriteNumber>,
    /// Counts the jobs in the order of submission.
    pub serial: u64,
    pub is_done: bool,
    /// Whether nobody waits for the result.
    pub is_abandoned: bool,
    pub result: Result<(), BlockError>,
    pub waker: Option<Waker>,
}

impl Job {
    pub fn new(action: Action, range: SectorRange) -> Self {
        Self {
            action,
            range,
            pages: Vec::new(),
            len_bytes: 0,
            from_pool: false,
            pieces: 0,
            write: None,
            serial: 0,
            is_done: false,
            is_abandoned: false,
            result: Ok(()),
            waker: None,
        }
    }

    /// All of it, as one piece.
    pub fn whole(&self, job: JobId) -> Piece {
        Piece { job, action: self.action, range: self.range, first_page: 0, alone: false }
    }

    /// The first error counts.
    pub fn note(&mut self, result: Result<(), BlockError>) {
        if self.result.is_ok() {
            self.result = result;
        }
    }
}

/// All jobs, by their numbers.
#[derive(Default)]
pub(super) struct Jobs {
    slots: Vec<Option<Job>>,
    free: Vec<JobId>,
}

impl Jobs {
    pub fn add(&mut self, job: Job) -> JobId {
        match self.free.pop() {
            Some(id) => {
                self.slots[id.0 as usize] = Some(job);
                id
            }
            None => {
                self.slots.push(Some(job));
                JobId(self.slots.len() as u32 - 1)
            }
        }
    }

    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.push(id);
        Some(job)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (JobId, &mut Job)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| Some((JobId(index as u32), slot.as_mut()?)))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xen_abi::blkif::Sector;

    fn piece(first: u64, count: u64) -> Piece {
        let range = SectorRange::new(Sector(first), count);
        Piece { job: JobId(0), action: Action::Read, range, first_page: 3, alone: false }
    }

    #[test]
    fn only_neighbours_of_one_direction_follow_each_other() {
        let (a, b) = (piece(8, 4), piece(12, 8));
        assert!(a.is_followed_by(&b) && !b.is_followed_by(&a));
        let write = |piece, durable| Piece { action: Action::Write { durable }, ..piece };
        assert!(!a.is_followed_by(&write(b, false)));
        assert!(write(a, true).is_followed_by(&write(b, false)));
        assert!(!a.is_followed_by(&Piece { alone: true, ..b }));
        let discard = |piece| Piece { action: Action::Discard { secure: false }, ..piece };
        assert!(!discard(a).is_followed_by(&discard(b)));
    }

    #[test]
    fn a_number_is_used_again_only_after_its_job_is_gone() {
        let mut jobs = Jobs::default();
        let job = || Job::new(Action::Flush, SectorRange::default());
        let (a, b) = (jobs.add(job()), jobs.add(job()));
        assert!(a != b && jobs.len() == 2);
        assert!(jobs.remove(a).is_some() && jobs.remove(a).is_none());
        assert!(jobs.get(a).is_none() && jobs.get(b).is_some());
        assert_eq!(jobs.add(job()), a);
    }

    proptest! {
        #[test]
        fn what_is_split_stays_together(first in 0u64..1 << 40, count in 9u64..9000, cut: usize) {
            let whole = piece(first, count);
            let cut = 1 + cut % (whole.pages() - 1);
            let mut head = whole;
            let rest = head.split_off(cut);
            prop_assert_eq!(head.pages(), cut);
            prop_assert_eq!(head.pages() + rest.pages(), whole.pages());
            prop_assert_eq!(head.range.count_sectors + rest.range.count_sectors, count);
            prop_assert_eq!(rest.first_page, 3 + cut);
            prop_assert!(head.is_followed_by(&rest));
            prop_assert_eq!(rest.range.end(), whole.range.end());
        }
    }
}
