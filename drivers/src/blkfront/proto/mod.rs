//! The block protocol without any waiting: requests of the app in, ring slots out, responses in,
//! results out. Knows no xenstore, no event channel and no executor; a test drives it with a ring
//! and a fake.
//!
//! ```text
//!   submit ──▶ Work ───────────────────────────────▶ poll: result, pages
//!               jobs      what the app has asked for          ▲
//!               backlog   pieces that wait                    │
//!               stable    who waits for a flush               │
//!               pool      pages for data of slices            │
//!                 │ service                                   │
//!                 ▼                                           │
//!              Link ─── send ──▶ Queue, Queue … ─── answer ───┘
//!               order     what may not overtake what
//!               shadows   what was asked, out of the backend's reach
//! ```
//!
//! The link comes and goes ([`Engine::attach`], [`Engine::detach`]); the work stays. What was on a
//! ring without answer counts as not done and is sent again, in the same order, by the next link.

mod answer;
mod features;
mod job;
mod link;
mod order;
mod pool;
mod queue;
mod send;
mod shadow;
mod slices;
mod stable;
#[cfg(test)]
mod tests;
mod work;

pub use features::{Features, GEOMETRY_KEYS, Keys, RingLayout, capacity, geometry};
pub use job::{Action, JobId};
pub use link::{Backend, Link};
pub use pool::Place;
pub use slices::Source;
pub use work::Counters;

use super::buffer::DmaBuffer;
use super::config::Config;
use super::disk::{DiscardLimits, Durability, Geometry, SectorRange};
use super::error::{BlockError, CloseReason, Lie};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use job::{Job, Piece};
use pool::{Budget, Pool};
use shadow::Asked;
use work::Work;
use xen::Hypervisor;

/// Where a disk's connection is.
enum Phase<X: Hypervisor> {
    /// None: what is asked for waits.
    Detached,
    Attached(Box<Link<X>>),
    Closed(CloseReason),
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With the backend's consent, or because the domain was suspended: what was answered is as
    /// safe as it was.
    Orderly,
    /// The backend is dead: what it answered and had not flushed may be lost.
    Death,
}

/// What is to be done after [`Engine::service`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// A bit for each queue whose backend wants an event.
    pub notify: u32,
    /// Nothing goes on until grants become free somewhere else.
    pub starved: bool,
}

/// One disk.
pub struct Engine<X: Hypervisor> {
    phase: Phase<X>,
    work: Work,
    geometry: Geometry,
    /// As of the connection, or of the last one.
    features: Features,
    durability: Durability,
    /// Counts changes of the disk's size and shape; 0 before any is known.
    changes: u32,
    /// Who waits for a change.
    watchers: Vec<Waker>,
    /// One at a time writes parts of sectors.
    edge: Budget,
}

impl<X: Hypervisor> Engine<X> {
    /// A disk of which nothing is known.
    pub fn new(config: &Config) -> Self {
        Self {
            phase: Phase::Detached,
            work: Work::new(Pool::new(config.pool_pages.max(1), config.idle_pages)),
            geometry: Geometry::EMPTY,
            features: Features::NONE,
            durability: Durability::Unknown,
            changes: 0,
            watchers: Vec::new(),
            edge: Budget::new(1),
        }
    }

    /// Size and shape of the disk.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Whether there has ever been a connection.
    pub fn is_known(&self) -> bool {
        self.changes != 0
    }

    /// Waits until size or shape of the disk have changed since `seen`, which is 0 before any is
    /// known, or until the disk is gone.
    pub fn poll_change(
        &mut self,
        seen: u32,
        waker: &Waker,
    ) -> Poll<Result<(u32, Geometry), CloseReason>> {
        if let Phase::Closed(reason) = self.phase {
            return Poll::Ready(Err(reason));
        }
        if self.changes != seen {
            return Poll::Ready(Ok((self.changes, self.geometry)));
        }
        if !self.watchers.iter().any(|known| known.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
        Poll::Pending
    }

    fn set_geometry(&mut self, geometry: Geometry) {
        if self.changes == 0 || geometry != self.geometry {
            self.geometry = geometry;
            self.changes = self.changes.wrapping_add(1).max(1);
            self.work.wakers.append(&mut self.watchers);
        }
    }

    /// How writes are made durable.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// How discards work, if they do.
    pub fn discard_limits(&self) -> Option<DiscardLimits> {
        self.features.discard
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.work.counters
    }

    /// Requests on the rings without answer.
    pub fn open_requests(&self) -> usize {
        if let Phase::Attached(link) = &self.phase { link.open() } else { 0 }
    }

    /// Times that something written may have been lost, see [`BlockError::WritesLost`].
    pub fn losses(&self) -> u32 {
        self.work.stable.losses()
    }

    /// Why the disk is gone, if it is.
    pub fn close_reason(&self) -> Option<CloseReason> {
        if let Phase::Closed(reason) = self.phase { Some(reason) } else { None }
    }

    /// Wakers that are due. To be woken when no lock is held.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.work.wakers)
    }

    /// Wakes `waker` once when there is something to do for [`Self::service`] that the backend
    /// sends no event for.
    pub fn set_driver(&mut self, waker: &Waker) {
        let work = &mut self.work;
        if !work.driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            work.wakers.extend(work.driver.replace(waker.clone()));
        }
    }

    /// Checks a request before it is taken.
    ///
    /// # Errors
    /// When it makes no sense to send it.
    pub fn admit(&self, action: Action, range: &SectorRange) -> Result<(), BlockError> {
        if let Phase::Closed(reason) = self.phase {
            return Err(BlockError::Gone(reason));
        }
        work::check(&self.geometry, action, range)?;
        match action {
            Action::Write { durable: true } if self.cannot_flush() => Err(BlockError::NoFlush),
            Action::Discard { secure } => match self.features.discard {
                Some(limits) if limits.secure || !secure => Ok(()),
                _ => Err(BlockError::NotSupported),
            },
            _ => Ok(()),
        }
    }

    /// Whether the backend is there and has no way to flush.
    fn cannot_flush(&self) -> bool {
        self.durability == Durability::Unknown && matches!(self.phase, Phase::Attached(_))
    }

    /// Reads or writes the pages of `buffer`, which are the driver's until the result is taken.
    ///
    /// # Errors
    /// At once, with the buffer, if it makes no sense to send it.
    pub fn submit_buffer(
        &mut self,
        action: Action,
        first: xen_abi::blkif::Sector,
        buffer: DmaBuffer,
    ) -> Result<JobId, (BlockError, DmaBuffer)> {
        let range = match SectorRange::of_bytes(first, buffer.len_bytes()) {
            Ok(range) => range,
            Err(error) => return Err((error, buffer)),
        };
        if let Err(error) = self.admit(action, &range) {
            return Err((error, buffer));
        }
        let mut job = Job::new(action, range);
        (job.pages, job.len_bytes) = buffer.into_parts();
        Ok(self.submit(job))
    }

    /// Discards sectors, or flushes (the range has no meaning then).
    ///
    /// # Errors
    /// At once if it makes no sense to send it.
    pub fn submit_plain(
        &mut self,
        action: Action,
        range: SectorRange,
    ) -> Result<JobId, BlockError> {
        let range = if action == Action::Flush { SectorRange::default() } else { range };
        self.admit(action, &range)?;
        if action == Action::Flush && self.geometry.read_only {
            // Nothing was written.
            return Ok(self.work.submit_done(Job::new(action, range), Ok(())));
        }
        Ok(self.submit(Job::new(action, range)))
    }

    fn submit(&mut self, job: Job) -> JobId {
        if job.action != Action::Flush && job.range.count_sectors == 0 {
            return self.work.submit_done(job, Ok(()));
        }
        self.work.submit(job)
    }

    /// Whether a job is done; `waker` is woken when it is. A job that is done is taken once.
    pub fn poll(&mut self, id: JobId, waker: &Waker) -> Poll<(Result<(), BlockError>, DmaBuffer)> {
        if self.work.poll(id, waker).is_pending() {
            return Poll::Pending;
        }
        match self.work.jobs.remove(id) {
            Some(job) => {
                let buffer = DmaBuffer::from_parts(job.pages, job.len_bytes);
                Poll::Ready((job.result, buffer))
            }
            // Taken before: the caller's mistake, and nothing comes of it.
            None => Poll::Ready((Ok(()), DmaBuffer::from_parts(Vec::new(), 0))),
        }
    }

    /// Nobody waits for a job any more. It goes on, except for a read that was not sent.
    pub fn abandon(&mut self, id: JobId) {
        let Some(job) = self.work.jobs.get_mut(id) else { return };
        job.is_abandoned = true;
        self.work.wakers.extend(job.waker.take());
        if job.is_done {
            self.release(id);
        }
    }

    /// Goes on over a new connection, with the disk as it is now.
    pub fn attach(&mut self, link: Link<X>, geometry: Geometry) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.set_geometry(geometry);
        self.phase = Phase::Attached(Box::new(link));
        self.learn();
        self.work.call_driver();
    }

    /// Takes over what the connection has learnt of its backend.
    fn learn(&mut self) {
        if let Phase::Attached(link) = &self.phase {
            (self.features, self.durability) = (link.features, link.durability());
        }
    }

    /// The disk has another size.
    pub fn resize(&mut self, capacity_sectors: u64) {
        self.set_geometry(Geometry { capacity_sectors, ..self.geometry });
        self.work.call_driver();
    }

    /// Sends nothing more over this connection: it is about to end. What was sent may still be
    /// answered.
    pub fn freeze(&mut self) {
        if let Phase::Attached(link) = &mut self.phase {
            link.frozen = true;
        }
    }

    /// Takes what has been answered, and puts on the rings what there is.
    ///
    /// # Errors
    /// When the backend lies. The disk is closed then.
    pub fn service(&mut self) -> Result<Service, Lie> {
        let Phase::Attached(link) = &mut self.phase else { return Ok(Service::default()) };
        let result = run(link, &mut self.work, &self.geometry);
        self.learn();
        match result {
            Ok(service) => {
                self.release_abandoned();
                Ok(service)
            }
            Err(lie) => {
                self.close(CloseReason::Lie(lie));
                Err(lie)
            }
        }
    }

    /// Ends the connection. What was on its rings is sent again by the next.
    pub fn detach(&mut self, ending: Ending) {
        if !matches!(self.phase, Phase::Attached(_)) {
            return;
        }
        let Phase::Attached(link) = core::mem::replace(&mut self.phase, Phase::Detached) else {
            return;
        };
        let mut pieces: Vec<Piece> = Vec::new();
        for shadow in link.into_open() {
            if matches!(shadow.asked, Some(Asked::Flush | Asked::Barrier)) {
                self.work.stable.again();
            }
            pieces.extend(shadow.parts);
        }
        self.work.counters.again += pieces.len() as u64;
        self.work.send_again(pieces.into_iter());
        self.work.recover_pages();
        self.work.pool.forget();
        if ending == Ending::Death {
            self.work.redo_durable();
        }
        self.release_abandoned();
    }

    /// Ends the disk: everything asked for fails.
    pub fn close(&mut self, reason: CloseReason) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.detach(Ending::Orderly);
        self.phase = Phase::Closed(reason);
        self.work.fail_all(BlockError::Gone(reason));
        self.work.wakers.append(&mut self.watchers);
        self.edge.call_all(&mut self.work.wakers);
        self.work.call_driver();
        self.release_abandoned();
    }
}

/// One round, until the rings are as full as they can be and no answer is left.
fn run<X: Hypervisor>(
    link: &mut Link<X>,
    work: &mut Work,
    geometry: &Geometry,
) -> Result<Service, Lie> {
    let mut notify = 0;
    loop {
        link.collect(work)?;
        link.fill(work, geometry)?;
        let mut more = false;
        for (index, queue) in link.queues.iter_mut().enumerate() {
            notify |= u32::from(queue.ring.publish()) << index;
            more |= queue.ring.arm(1).map_err(Lie::Ring)?;
        }
        if !more {
            return Ok(Service { notify, starved: link.starved });
        }
    }
}
