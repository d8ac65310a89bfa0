//! The allocator itself, over any memory that can hold its list.

use crate::addr::{PAGE_2M_BYTES, PAGE_BYTES, PhysRange};
use core::fmt;

/// What is written at the beginning of a free extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// Bytes in the extent, whole pages.
    pub len_bytes: u64,
    /// Address of the next extent; 0 after the last. Page zero is never free.
    pub next: u64,
}

/// The memory in which free extents say how they go on.
pub trait FrameMemory {
    /// What is written at `addr`, the beginning of a free extent.
    fn extent(&self, addr: u64) -> Extent;
    /// Writes it.
    fn set_extent(&mut self, addr: u64, extent: Extent);
}

/// Which of the extents that are long enough is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// The one with the lowest address.
    #[default]
    FirstFit,
    /// The first after the place of the last allocation.
    NextFit,
    /// The shortest.
    BestFit,
}

/// Why frames cannot be freed. Whoever frees them is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// The range does not consist of whole pages above page zero.
    NotPages(PhysRange),
    /// Some of the range is free already.
    AlreadyFree(PhysRange),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPages(range) => {
                write!(f, "{range} is not made of whole pages above page zero")
            }
            Self::AlreadyFree(range) => write!(f, "some of {range} is free already"),
        }
    }
}

/// Free page frames. Allocation and freeing take time in proportion to the number of free extents,
/// which is small: neighbours are joined.
#[derive(Debug)]
pub struct FrameAllocator<M> {
    memory: M,
    /// First extent; 0 if none.
    first: u64,
    free_bytes: u64,
    policy: Policy,
    /// Where next-fit goes on.
    cursor: u64,
}

/// An extent that fits: its own place, the one before it, and where in it the allocation begins.
struct Fit {
    previous: u64,
    range: PhysRange,
    start: u64,
}

impl<M: FrameMemory> FrameAllocator<M> {
    /// No free frames yet.
    pub const fn new(memory: M, policy: Policy) -> Self {
        Self { memory, first: 0, free_bytes: 0, policy, cursor: 0 }
    }

    /// Changes the policy for what is allocated from now on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Free bytes in all.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// Bytes in the longest extent.
    pub fn largest_free_bytes(&self) -> u64 {
        self.extents().map(PhysRange::len_bytes).max().unwrap_or(0)
    }

    /// Free extents in address order.
    pub fn extents(&self) -> impl Iterator<Item = PhysRange> + '_ {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let extent = (at != 0).then(|| self.memory.extent(at))?;
            let range = PhysRange::from_len(at, extent.len_bytes)?;
            at = extent.next;
            Some(range)
        })
    }

    /// Takes `frames` neighbouring frames, the first on a multiple of `align_frames` (a power of
    /// two). Their contents are whatever they were.
    pub fn allocate(&mut self, frames: u64, align_frames: u64) -> Option<PhysRange> {
        if frames == 0 || !align_frames.is_power_of_two() {
            return None;
        }
        let len = frames.checked_mul(PAGE_BYTES)?;
        let fit = self.find(len, align_frames.checked_mul(PAGE_BYTES)?)?;
        let taken = PhysRange::from_len(fit.start, len)?;
        self.cut(&fit, taken);
        self.cursor = taken.end();
        Some(taken)
    }

    /// Takes up to `frames` neighbouring frames from the upper end of the highest extent, never
    /// across a boundary of 2 MiB.
    pub fn take_highest(&mut self, frames: u64) -> Option<PhysRange> {
        let (mut previous, mut at) = (0, self.first);
        loop {
            let extent = (at != 0).then(|| self.memory.extent(at))?;
            if extent.next == 0 {
                let range = PhysRange::from_len(at, extent.len_bytes)?;
                let above_boundary = (range.end() - 1) % PAGE_2M_BYTES + 1;
                let len = frames.checked_mul(PAGE_BYTES)?.min(extent.len_bytes).min(above_boundary);
                let taken = PhysRange::from_len(range.end() - len, len)?;
                self.cut(&Fit { previous, range, start: taken.start() }, taken);
                return Some(taken).filter(|taken| !taken.is_empty());
            }
            (previous, at) = (at, extent.next);
        }
    }

    /// Gives frames back, or adds new ones.
    pub fn free(&mut self, range: PhysRange) -> Result<(), FrameError> {
        if range.start() == 0 || range != range.whole_pages_inside() {
            return Err(FrameError::NotPages(range));
        }
        if range.is_empty() {
            return Ok(());
        }
        let (mut previous, mut at) = (0, self.first);
        while at != 0 && at < range.start() {
            (previous, at) = (at, self.memory.extent(at).next);
        }
        let before = if previous == 0 { Extent::default() } else { self.memory.extent(previous) };
        let before_end = previous + before.len_bytes;
        if before_end > range.start() || (at != 0 && at < range.end()) {
            return Err(FrameError::AlreadyFree(range));
        }
        let (mut len_bytes, mut next) = (range.len_bytes(), at);
        if at == range.end() {
            let after = self.memory.extent(at);
            (len_bytes, next) = (len_bytes + after.len_bytes, after.next);
        }
        if previous != 0 && before_end == range.start() {
            let len_bytes = before.len_bytes + len_bytes;
            self.memory.set_extent(previous, Extent { len_bytes, next });
        } else {
            self.memory.set_extent(range.start(), Extent { len_bytes, next });
            self.link(previous, range.start());
        }
        self.free_bytes += range.len_bytes();
        Ok(())
    }

    /// The extent that the policy takes for `len` bytes.
    fn find(&self, len: u64, align: u64) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        let mut previous = 0;
        for range in self.extents() {
            let from = match self.policy {
                Policy::NextFit if range.contains(self.cursor) => self.cursor,
                _ => range.start(),
            };
            let start = [from, range.start()]
                .into_iter()
                .filter_map(|from| from.checked_next_multiple_of(align))
                .find(|start| range.end().checked_sub(*start).is_some_and(|room| room >= len));
            if let Some(start) = start {
                let fit = Fit { previous, range, start };
                match self.policy {
                    Policy::FirstFit => return Some(fit),
                    Policy::NextFit if start >= self.cursor => return Some(fit),
                    Policy::NextFit => best = best.or(Some(fit)),
                    Policy::BestFit => {
                        let shorter = |best: &Fit| range.len_bytes() < best.range.len_bytes();
                        if best.as_ref().is_none_or(shorter) {
                            best = Some(fit);
                        }
                    }
                }
            }
            previous = range.start();
        }
        best
    }

    /// Takes `taken` out of the extent of `fit`.
    fn cut(&mut self, fit: &Fit, taken: PhysRange) {
        let mut next = self.memory.extent(fit.range.start()).next;
        if taken.end() < fit.range.end() {
            let len_bytes = fit.range.end() - taken.end();
            self.memory.set_extent(taken.end(), Extent { len_bytes, next });
            next = taken.end();
        }
        if fit.range.start() < taken.start() {
            let len_bytes = taken.start() - fit.range.start();
            self.memory.set_extent(fit.range.start(), Extent { len_bytes, next });
        } else {
            self.link(fit.previous, next);
        }
        self.free_bytes -= taken.len_bytes();
    }

    /// Makes `next` the one after `previous`; 0 stands for the list's head.
    fn link(&mut self, previous: u64, next: u64) {
        if previous == 0 {
            self.first = next;
        } else {
            let extent = self.memory.extent(previous);
            self.memory.set_extent(previous, Extent { next, ..extent });
        }
    }
}
