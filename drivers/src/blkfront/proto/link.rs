//! A connection to a backend: its rings, what it can do, and the pages that it has access to.
//!
//! `send` (what goes out) and `answer` (what comes back) are its two halves.

use super::features::Features;
use super::job::{Jobs, Piece};
use super::order::Order;
use super::pool::PersistentPool;
use super::queue::Queue;
use super::shadow::Shadow;
use crate::blkfront::buffer::Page;
use crate::blkfront::config::Config;
use crate::blkfront::disk::Durability;
use crate::blkfront::error::Lie;
use alloc::vec::Vec;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantedPage, Grants};
use xen::page::SharedPage;
use xen::ring::Front;
use xen_abi::DomId;
use xen_abi::blkif::{DIRECT_SEGMENTS_MAX, Handle, SEGMENTS_PER_PAGE};

/// Whom a connection is to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backend {
    /// The domain.
    pub domid: DomId,
    /// What requests name the disk by.
    pub handle: Handle,
    /// Whether it may see what else is in the pages that it has access to (node `trusted`). If not,
    /// they are cleared before.
    pub trusted: bool,
}

/// A connection.
pub struct Link<X: Hypervisor> {
    pub(super) grants: Grants<X>,
    pub(super) backend: Backend,
    /// What the backend can do, less what it turned out not to.
    pub(super) features: Features,
    pub(super) queues: Vec<Queue>,
    pub(super) order: Order,
    /// Pages that stay granted, if that is how data is passed.
    pub(super) persistent: Option<PersistentPool>,
    pub(super) merge: bool,
    /// Most segments of a request while grants are short.
    pub(super) segments_limit: usize,
    /// Whether a request is held back until something else lets go of a grant.
    pub(super) starved: bool,
    /// Whether nothing more is sent.
    pub(super) frozen: bool,
    sequence: u64,
    /// An empty list that has memory.
    pub(super) spare_parts: Vec<Piece>,
}

impl<X: Hypervisor> Link<X> {
    /// A connection over `rings`, which are new. `grants` is the disk's own.
    pub fn new(
        grants: Grants<X>,
        backend: Backend,
        features: Features,
        rings: Vec<Front<GrantedPage>>,
        config: &Config,
    ) -> Self {
        let queues: Vec<Queue> = rings.into_iter().map(Queue::new).collect();
        let mut link = Self {
            grants,
            backend,
            features,
            queues,
            order: Order::default(),
            persistent: None,
            merge: config.merge,
            segments_limit: usize::MAX,
            starved: false,
            frozen: false,
            sequence: 0,
            spare_parts: Vec::new(),
        };
        if features.persistent {
            let reserve = config.reserve_pages();
            let others = reserve + link.own_grants_max();
            let room = (config.grants_max as usize).saturating_sub(others);
            link.persistent = Some(PersistentPool::new(config.pool_pages.min(room), reserve));
        }
        link
    }

    /// Most grants that rings and segments take.
    fn own_grants_max(&self) -> usize {
        let segment_pages =
            usize::from(self.features.indirect_segments).div_ceil(SEGMENTS_PER_PAGE);
        let of_queue = |queue: &Queue| {
            let pages = queue.ring.pages();
            pages.pages().len() + pages.slots() as usize * segment_pages
        };
        self.queues.iter().map(of_queue).sum()
    }

    /// How writes are made durable.
    pub(super) fn durability(&self) -> Durability {
        match (self.features.flush, self.features.barrier) {
            (true, _) => Durability::Flush,
            (false, true) => Durability::Barrier,
            (false, false) => Durability::Unknown,
        }
    }

    /// Requests without answer.
    pub(super) fn open(&self) -> usize {
        self.queues.iter().map(|queue| queue.shadows.open()).sum()
    }

    /// The queue that is to have the next request: the one with the fewest.
    pub(super) fn next_queue(&self) -> Option<usize> {
        let queues = self.queues.iter().enumerate();
        let free = queues.filter(|(_, queue)| queue.shadows.has_room());
        free.min_by_key(|(_, queue)| queue.shadows.open()).map(|(index, _)| index)
    }

    /// Numbers the requests in the order in which they are sent.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Most segments of the next request on queue `index`. If it is more than a slot holds, there
    /// are pages for them.
    pub(super) fn segments_max(&mut self, index: usize) -> usize {
        let indirect = usize::from(self.features.indirect_segments);
        let mut most = DIRECT_SEGMENTS_MAX;
        if indirect > DIRECT_SEGMENTS_MAX {
            // Backends with persistent grants keep these pages too, mapped for writing.
            let access = match self.persistent {
                Some(_) => Access::ReadWrite,
                None => Access::ReadOnly,
            };
            let to = (self.backend.domid, access);
            if self.queues[index].reserve_segments(indirect, &self.grants, to) {
                most = indirect;
            }
        }
        most.min(self.segments_limit)
    }

    /// Ends the backend's access to the pages of `parts`.
    ///
    /// # Errors
    /// When it still uses one. All are ended nevertheless.
    pub(super) fn take_back(
        &mut self,
        jobs: &mut Jobs,
        parts: &[Piece],
        copy_back: bool,
    ) -> Result<(), Lie> {
        let mut result = Ok(());
        for part in parts {
            for page in pages_of(jobs, part) {
                if let Err(still) = page.take_back() {
                    result = Err(Lie::StillInUse(still.0));
                }
                self.uncover(page, copy_back);
            }
        }
        result
    }

    /// Puts the page of the app's back into the place of the pool's.
    fn uncover(&mut self, page: &mut Page, copy_back: bool) {
        match core::mem::replace(page, Page::Lost) {
            Page::Covered(plain, pooled) => {
                if copy_back {
                    crate::blkfront::buffer::copy_page(&pooled, &plain);
                }
                if let Some(pool) = &mut self.persistent {
                    pool.put(pooled);
                }
                *page = Page::Plain(plain);
            }
            other => *page = other,
        }
    }

    /// A page for data of a slice: one of the pool's if they stay granted.
    pub(super) fn page_for_slice(&mut self) -> Option<Page> {
        let pool = self.persistent.as_mut()?;
        pool.take_for_slice(&self.grants, self.backend.domid).map(Page::Pooled)
    }

    /// Takes a page of a slice back; gives it back if it is none of the connection's.
    pub(super) fn put_from_slice(&mut self, page: Page) -> Option<SharedPage> {
        match (page, &mut self.persistent) {
            (Page::Pooled(page), Some(pool)) => {
                pool.put_from_slice(page);
                None
            }
            (Page::Plain(page), _) => Some(page),
            _ => None,
        }
    }

    /// The requests without answer, in the order in which they were sent. The backend's access to
    /// rings and to the pages of the pool ends.
    pub(super) fn into_open(self) -> Vec<Shadow> {
        let mut open: Vec<Shadow> = self.queues.into_iter().flat_map(Queue::into_open).collect();
        open.sort_unstable_by_key(|shadow| shadow.sequence);
        open
    }
}

/// The pages that a piece reaches over.
pub(super) fn pages_of<'a>(jobs: &'a mut Jobs, piece: &Piece) -> &'a mut [Page] {
    let pages = jobs.get_mut(piece.job).map(|job| &mut job.pages[..]).unwrap_or_default();
    let end = (piece.first_page + piece.pages()).min(pages.len());
    &mut pages[piece.first_page.min(end)..end]
}
