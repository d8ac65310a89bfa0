//! Freed blocks that wait before they are used again.

use super::POISON;
use super::block::{Block, Key};
use super::fault::{FaultKind, HeapFault};

/// Blocks that wait at the most.
const BLOCKS: usize = 64;
/// Longest block that waits: a longer one costs too much to look through again.
const BLOCK_BYTES_MAX: usize = 1024;

/// A freed block with the size it had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freed {
    pub(super) block: Block,
    pub(super) len_bytes: usize,
}

/// First in, first out.
#[derive(Debug)]
pub(super) struct Quarantine {
    waiting: [Option<Freed>; BLOCKS],
    /// Where the next one goes; the oldest stands there.
    next: usize,
    disabled: bool,
}

impl Quarantine {
    pub(super) const fn new() -> Self {
        Self { waiting: [None; BLOCKS], next: 0, disabled: false }
    }

    /// Takes a block in, if it is short enough; gives the block that may be used again: the one
    /// that had waited longest, or the given one.
    pub(super) fn exchange(&mut self, freed: Freed) -> Option<Freed> {
        if self.disabled || freed.len_bytes > BLOCK_BYTES_MAX {
            return Some(freed);
        }
        let oldest = self.waiting[self.next].replace(freed);
        self.next = (self.next + 1) % BLOCKS;
        oldest
    }

    /// Gives the block that has waited longest, for when memory is short.
    pub(super) fn take_oldest(&mut self) -> Option<Freed> {
        let order = (0..BLOCKS).map(|i| (self.next + i) % BLOCKS);
        order.into_iter().find_map(|at| self.waiting[at].take())
    }

    /// All blocks that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = Freed> + '_ {
        self.waiting.iter().flatten().copied()
    }

    /// Whether blocks wait at all from now on.
    pub(super) fn set_enabled(&mut self, enabled: bool) {
        self.disabled = !enabled;
    }
}

impl Freed {
    /// Fills the payload with poison and seals the header as freed.
    ///
    /// # Safety
    /// The block is the heap's alone and has `len_bytes`.
    pub(super) unsafe fn poison(self, key: Key) {
        // SAFETY: the caller's word.
        unsafe {
            self.block.payload().write_bytes(POISON, self.len_bytes);
            self.block.set_header(key.freed(self.block, self.block.header()));
        }
    }

    /// Checks that no one has written to the block since [`Self::poison`].
    ///
    /// # Safety
    /// As for [`Self::poison`].
    pub(super) unsafe fn check(self, key: Key) -> Result<(), HeapFault> {
        let fault = |kind| HeapFault { kind, addr: self.block.addr(), len_bytes: self.len_bytes };
        // SAFETY: the caller's word: the header and the payload are the heap's.
        let (header, payload) = unsafe {
            let payload =
                core::slice::from_raw_parts(self.block.payload().as_ptr(), self.len_bytes);
            (self.block.header(), payload)
        };
        if !key.is_freed(self.block, &header) {
            return Err(fault(FaultKind::Underflow));
        }
        // Eight bytes at a time: this is most of what a free costs.
        let (words, rest) = payload.as_chunks();
        if words.iter().all(|word| *word == [POISON; 8]) && rest.iter().all(|byte| *byte == POISON)
        {
            return Ok(());
        }
        let changed = payload.iter().position(|byte| *byte != POISON);
        Err(fault(FaultKind::WriteAfterFree { offset_bytes: changed.unwrap_or(0) }))
    }
}
