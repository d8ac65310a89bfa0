//! The handle that apps use.

use super::shared::Shared;
use super::transfer::{Memory, transfer};
use crate::blkfront::buffer::DmaBuffer;
use crate::blkfront::disk::{DiscardLimits, Durability, Geometry, SectorRange};
use crate::blkfront::error::{BlockError, CloseReason};
use crate::blkfront::proto::{Action, Counters, JobId};
use core::future::poll_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use xen::Hypervisor;
use xen_abi::blkif::{SECTOR_BYTES, Sector, Vdev};

/// A disk that may not be connected yet.
#[derive(Clone)]
pub struct Connecting<X: Hypervisor> {
    pub(super) shared: Shared<X>,
    pub(super) vdev: Vdev,
}

impl<X: Hypervisor> Connecting<X> {
    /// Which disk it is.
    pub fn vdev(&self) -> Vdev {
        self.vdev
    }

    /// Waits until the disk can be used.
    ///
    /// # Errors
    /// When it cannot be, and why.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn ready(&self) -> Result<BlockDevice<X>, CloseReason> {
        let poll = |engine: &mut crate::blkfront::proto::Engine<X>, waker: &_| {
            let poll = engine.poll_change(0, waker);
            poll.map_ok(|(change, _)| (change, engine.losses()))
        };
        let (change, losses) =
            poll_fn(|context| self.shared.with(|engine| poll(engine, context.waker()))).await?;
        Ok(BlockDevice {
            shared: self.shared.clone(),
            vdev: self.vdev,
            losses: AtomicU32::new(losses),
            change: AtomicU32::new(change),
        })
    }
}

/// A disk. Clones are handles to the same one.
///
/// Any number of requests may be under way at once, by any number of tasks. Those that have a
/// sector in common take effect in the order in which they were submitted; all others in any order.
/// While there is no connection (the domain was suspended, the backend is started anew) requests
/// wait.
///
/// Places are in sectors of 512 bytes; places and lengths are multiples of the disk's sector size.
/// Memory may lie anywhere: data in slices is copied through pages of the driver's, data in a
/// [`DmaBuffer`] is not copied.
///
/// # Cancellation
/// Every request may be dropped at any time. What was submitted is done or not; nobody touches the
/// memory of a slice afterwards, and pages of a buffer are freed when the backend is done with
/// them.
pub struct BlockDevice<X: Hypervisor> {
    pub(super) shared: Shared<X>,
    vdev: Vdev,
    /// Losses that this handle has told of.
    losses: AtomicU32,
    /// The last change that this handle has told of.
    change: AtomicU32,
}

impl<X: Hypervisor> Clone for BlockDevice<X> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            vdev: self.vdev,
            losses: AtomicU32::new(self.losses.load(Ordering::Relaxed)),
            change: AtomicU32::new(self.change.load(Ordering::Relaxed)),
        }
    }
}

impl<X: Hypervisor> BlockDevice<X> {
    /// Which disk it is.
    pub fn vdev(&self) -> Vdev {
        self.vdev
    }

    /// Size and shape.
    pub fn geometry(&self) -> Geometry {
        self.shared.with(|engine| engine.geometry())
    }

    /// Bytes of the disk.
    pub fn capacity_bytes(&self) -> u64 {
        self.geometry().capacity_bytes()
    }

    /// How it brings writes to stable storage.
    pub fn durability(&self) -> Durability {
        self.shared.with(|engine| engine.durability())
    }

    /// How it discards, if it does.
    pub fn discard_limits(&self) -> Option<DiscardLimits> {
        self.shared.with(|engine| engine.discard_limits())
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.with(|engine| engine.counters())
    }

    /// Requests that the backend has not answered.
    pub fn open_requests(&self) -> usize {
        self.shared.with(|engine| engine.open_requests())
    }

    /// Waits until size or shape of the disk have changed (`xl block-resize`, another medium); what
    /// they are now. Each handle is told of each change once, several as one.
    ///
    /// # Errors
    /// When the disk is gone.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn changed(&self) -> Result<Geometry, CloseReason> {
        let seen = self.change.load(Ordering::Relaxed);
        let (change, geometry) =
            poll_fn(|context| self.shared.with(|engine| engine.poll_change(seen, context.waker())))
                .await?;
        self.change.store(change, Ordering::Relaxed);
        Ok(geometry)
    }

    /// Reads from `first` on into `to`.
    ///
    /// # Errors
    /// What is in `to` then is unspecified.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn read(&self, first: Sector, to: &mut [u8]) -> Result<(), BlockError> {
        transfer(&self.shared, Action::Read, first, Memory::Into(to)).await
    }

    /// Writes `from` to `first` and the sectors behind it. When this is done the data may still lie
    /// in a cache that a power cut empties.
    ///
    /// # Errors
    /// Some of it may have been written.
    ///
    /// # Cancellation
    /// Some of it may be written, also later.
    pub async fn write(&self, first: Sector, from: &[u8]) -> Result<(), BlockError> {
        let action = Action::Write { durable: false };
        transfer(&self.shared, action, first, Memory::From(from)).await
    }

    /// Writes `from` and brings it to stable storage: when this is done the data survives a power
    /// cut. Several at once share their flush. Writes by others are not brought there.
    ///
    /// # Errors
    /// [`BlockError::NoFlush`] if the backend cannot do that; as a rule nothing was written then.
    /// With any other, some of it may have been.
    ///
    /// # Cancellation
    /// As for [`Self::write`].
    pub async fn write_durable(&self, first: Sector, from: &[u8]) -> Result<(), BlockError> {
        let action = Action::Write { durable: true };
        transfer(&self.shared, action, first, Memory::From(from)).await
    }

    /// Writes zeroes into `range`.
    ///
    /// # Errors
    /// Some of it may have been written.
    ///
    /// # Cancellation
    /// As for [`Self::write`].
    pub async fn write_zeroes(&self, range: SectorRange) -> Result<(), BlockError> {
        let action = Action::Write { durable: false };
        let len_bytes = range.count_sectors.checked_mul(SECTOR_BYTES as u64);
        let zeroes = Memory::Zeroes(len_bytes.ok_or(BlockError::OutOfRange)?);
        transfer(&self.shared, action, range.first, zeroes).await
    }

    /// Reads into the pages of `buffer`, without a copy. It comes back in any case; if the backend
    /// kept pages that it had said to be done with, with others in their place, or without.
    ///
    /// # Cancellation
    /// The buffer is freed when the backend is done with it.
    pub async fn read_buffer(
        &self,
        first: Sector,
        buffer: DmaBuffer,
    ) -> (Result<(), BlockError>, DmaBuffer) {
        self.with_buffer(Action::Read, first, buffer).await
    }

    /// Writes the pages of `buffer`, without a copy; to stable storage if `durable`. It comes back
    /// as from [`Self::read_buffer`].
    ///
    /// # Cancellation
    /// It may be written, also later; the buffer is freed then.
    pub async fn write_buffer(
        &self,
        first: Sector,
        buffer: DmaBuffer,
        durable: bool,
    ) -> (Result<(), BlockError>, DmaBuffer) {
        self.with_buffer(Action::Write { durable }, first, buffer).await
    }

    /// Brings to stable storage all that was written by requests submitted before.
    ///
    /// # Errors
    /// [`BlockError::NoFlush`] if the backend cannot do that. [`BlockError::WritesLost`] once for
    /// each handle, if since its last flush the backend died with writes in its cache or a flush
    /// failed: what was written before may be lost, what is written after is not concerned.
    ///
    /// # Cancellation
    /// It is done or not.
    pub async fn flush(&self) -> Result<(), BlockError> {
        let result = self.plain(Action::Flush, SectorRange::default()).await;
        let losses = self.shared.with(|engine| engine.losses());
        let lost = self.losses.swap(losses, Ordering::Relaxed) != losses;
        result.and(if lost { Err(BlockError::WritesLost) } else { Ok(()) })
    }

    /// Says that what is in `range` has no value any more. Only pieces that the disk discards as a
    /// whole are ([`DiscardLimits`]); what is read from them afterwards is unspecified.
    ///
    /// # Errors
    /// [`BlockError::NotSupported`] if the backend does not do that.
    ///
    /// # Cancellation
    /// It is done or not.
    pub async fn discard(&self, range: SectorRange) -> Result<(), BlockError> {
        let Some(limits) = self.discard_limits() else { return Err(BlockError::NotSupported) };
        self.shared.with(|engine| engine.admit(Action::Discard { secure: false }, &range))?;
        self.plain(Action::Discard { secure: false }, limits.within(&range)).await
    }

    /// Discards all of `range` so that no copy of the data is left.
    ///
    /// # Errors
    /// [`BlockError::Misaligned`] unless it consists of whole pieces ([`DiscardLimits`]);
    /// [`BlockError::NotSupported`].
    ///
    /// # Cancellation
    /// It is done or not.
    pub async fn discard_secure(&self, range: SectorRange) -> Result<(), BlockError> {
        let Some(limits) = self.discard_limits() else { return Err(BlockError::NotSupported) };
        if limits.within(&range) != range {
            return Err(BlockError::Misaligned);
        }
        self.plain(Action::Discard { secure: true }, range).await
    }

    async fn with_buffer(
        &self,
        action: Action,
        first: Sector,
        buffer: DmaBuffer,
    ) -> (Result<(), BlockError>, DmaBuffer) {
        match self.shared.with(|engine| engine.submit_buffer(action, first, buffer)) {
            Ok(job) => self.result(job).await,
            Err((error, buffer)) => (Err(error), buffer),
        }
    }

    async fn plain(&self, action: Action, range: SectorRange) -> Result<(), BlockError> {
        let job = self.shared.with(|engine| engine.submit_plain(action, range))?;
        self.result(job).await.0
    }

    async fn result(&self, job: JobId) -> (Result<(), BlockError>, DmaBuffer) {
        let mut pending = Pending { shared: &self.shared, job: Some(job) };
        poll_fn(|context| {
            let poll = self.shared.with(|engine| engine.poll(job, context.waker()));
            if poll.is_ready() {
                pending.job = None;
            }
            poll
        })
        .await
    }
}

/// A job that somebody waits for; abandoned when it is dropped.
struct Pending<'d, X: Hypervisor> {
    shared: &'d Shared<X>,
    job: Option<JobId>,
}

impl<X: Hypervisor> Drop for Pending<'_, X> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.shared.with(|engine| engine.abandon(job));
        }
    }
}
