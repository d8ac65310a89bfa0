//! Packets that wait: for room in the ring, or for a backend.

use super::TxOffload;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Most packets that wait.
pub(super) const FRAMES_MAX: usize = 256;
/// Most bytes that they have together.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// A packet that waits.
pub(super) struct Frame {
    pub bytes: Vec<u8>,
    pub offload: TxOffload,
}

/// Packets in the order in which they came.
#[derive(Default)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Backlog {
    /// Adds a packet; false if there is no room for it.
    pub fn push(&mut self, frame: Frame) -> bool {
        let bytes = self.bytes + frame.bytes.len();
        let fits = self.frames.len() < FRAMES_MAX && bytes <= BYTES_MAX;
        if fits {
            self.bytes = bytes;
            self.frames.push_back(frame);
        }
        fits
    }

    /// Takes the first packet.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// Whether no packet waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether a packet of any length has room, and half of all room is left for more.
    pub fn is_roomy(&self) -> bool {
        self.frames.len() < FRAMES_MAX / 2 && self.bytes < BYTES_MAX / 2
    }
}
