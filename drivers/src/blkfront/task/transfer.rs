//! Transfers between the disk and a slice of any length: cut into requests, several of them at
//! once.

use super::shared::Shared;
use crate::blkfront::disk::SectorRange;
use crate::blkfront::error::BlockError;
use crate::blkfront::proto::{Action, JobId, Place, Source};
use alloc::collections::VecDeque;
use core::future::poll_fn;
use core::task::{Context, Poll};
use xen::Hypervisor;
use xen_abi::blkif::{SECTOR_BYTES, Sector};

/// The memory of a transfer.
pub(super) enum Memory<'a> {
    /// To be filled.
    Into(&'a mut [u8]),
    /// To be written.
    From(&'a [u8]),
    /// As many zeroes are to be written.
    Zeroes(u64),
}

impl Memory<'_> {
    fn len_bytes(&self) -> u64 {
        match self {
            Self::Into(to) => to.len() as u64,
            Self::From(from) => from.len() as u64,
            Self::Zeroes(len) => *len,
        }
    }

    fn source(&self, start: u64, len_bytes: usize) -> Source<'_> {
        match self {
            Self::Into(_) => Source::Nothing,
            Self::From(from) => Source::Bytes(&from[start as usize..][..len_bytes]),
            Self::Zeroes(_) => Source::Zeroes,
        }
    }

    fn part_mut(&mut self, start: u64, len_bytes: usize) -> &mut [u8] {
        match self {
            Self::Into(to) => &mut to[start as usize..][..len_bytes],
            _ => &mut [],
        }
    }
}

/// A request that is under way, and the part of the memory that it is for.
struct Request {
    job: JobId,
    start: u64,
    len_bytes: usize,
}

/// A transfer. Requests that are under way when it is dropped go on without it.
struct Transfer<'d, X: Hypervisor> {
    shared: &'d Shared<X>,
    action: Action,
    first: Sector,
    /// How much has been submitted.
    submitted_bytes: u64,
    under_way: VecDeque<Request>,
    place: Option<Place>,
}

/// Transfers all of `memory`.
///
/// # Cancellation
/// What was submitted is done or not; pages stay the driver's until it is. Reads that were not sent
/// are not sent any more.
pub(super) async fn transfer<X: Hypervisor>(
    shared: &Shared<X>,
    action: Action,
    first: Sector,
    mut memory: Memory<'_>,
) -> Result<(), BlockError> {
    let len_bytes = memory.len_bytes();
    if !len_bytes.is_multiple_of(SECTOR_BYTES as u64) {
        return Err(BlockError::Misaligned);
    }
    // All of it or nothing, as far as that is known now.
    let range = SectorRange::new(first, len_bytes / SECTOR_BYTES as u64);
    shared.with(|engine| engine.admit(action, &range))?;
    let (under_way, place) = (VecDeque::new(), None);
    let mut transfer = Transfer { shared, action, first, submitted_bytes: 0, under_way, place };
    poll_fn(|context| transfer.poll(&mut memory, context)).await
}

impl<X: Hypervisor> Transfer<'_, X> {
    fn poll(
        &mut self,
        memory: &mut Memory<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BlockError>> {
        loop {
            while self.submitted_bytes < memory.len_bytes() {
                match self.submit(memory, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                }
            }
            let Some(oldest) = self.under_way.front() else {
                let is_done = self.submitted_bytes == memory.len_bytes();
                return if is_done { Poll::Ready(Ok(())) } else { Poll::Pending };
            };
            let to = memory.part_mut(oldest.start, oldest.len_bytes);
            let poll =
                self.shared.with(|engine| engine.poll_slice(oldest.job, to, context.waker()));
            let Poll::Ready(result) = poll else { return Poll::Pending };
            self.under_way.pop_front();
            if result.is_err() {
                return Poll::Ready(result);
            }
        }
    }

    fn submit(
        &mut self,
        memory: &Memory<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BlockError>> {
        let start = self.submitted_bytes;
        let first = Sector(self.first.0 + start / SECTOR_BYTES as u64);
        let left_bytes = memory.len_bytes() - start;
        let submitted = self.shared.with(|engine| {
            let len_bytes = left_bytes.min(engine.slice_max_bytes() as u64) as usize;
            let what = (len_bytes, memory.source(start, len_bytes));
            let asker = (&mut self.place, context.waker());
            let poll = engine.poll_submit_slice(self.action, first, what, asker);
            poll.map_ok(|job| Request { job, start, len_bytes })
        });
        submitted.map_ok(|request| {
            self.submitted_bytes += request.len_bytes as u64;
            self.under_way.push_back(request);
        })
    }
}

impl<X: Hypervisor> Drop for Transfer<'_, X> {
    fn drop(&mut self) {
        if self.under_way.is_empty() && self.place.is_none() {
            return;
        }
        self.shared.with(|engine| {
            engine.leave_line(&mut self.place);
            self.under_way.iter().for_each(|request| engine.abandon(request.job));
        });
    }
}
