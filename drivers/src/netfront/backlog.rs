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
        let fits = self.reserve(&frame);
        if fits {
            self.frames.push_back(frame);
        }
        fits
    }

    /// Adds a packet before all others; false if there is no room for it.
    pub fn push_front(&mut self, frame: Frame) -> bool {
        let fits = self.reserve(&frame);
        if fits {
            self.frames.push_front(frame);
        }
        fits
    }

    /// Counts a packet that is added, if it fits.
    fn reserve(&mut self, frame: &Frame) -> bool {
        let bytes = self.bytes + frame.bytes.len();
        let fits = self.frames.len() < FRAMES_MAX && bytes <= BYTES_MAX;
        if fits {
            self.bytes = bytes;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame { bytes: alloc::vec![0; bytes], offload: TxOffload::default() }
    }

    #[test]
    fn packets_and_bytes_are_bounded() {
        let mut backlog = Backlog::default();
        for number in 0..FRAMES_MAX {
            assert_eq!(backlog.is_roomy(), number < FRAMES_MAX / 2);
            assert!(backlog.push(frame(60)));
        }
        assert!(!backlog.push(frame(60)) && !backlog.push_front(frame(60)));
        while backlog.pop().is_some() {}
        for _ in 0..16 {
            assert!(backlog.push(frame(65_535)));
        }
        assert!(backlog.push_front(frame(16)) && !backlog.push(frame(1)));
        assert_eq!(backlog.pop().map(|frame| frame.bytes.len()), Some(16));
        while backlog.pop().is_some() {}
        assert!(backlog.is_empty() && backlog.push(frame(BYTES_MAX)));
    }
}
