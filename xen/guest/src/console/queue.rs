//! Text on its way to the console: bounded, oldest lines dropped and counted.

use super::Ring;
use alloc::boxed::Box;
use alloc::vec;

/// A queue of text with room for a fixed number of bytes.
///
/// A line that does not fit pushes out the oldest ones; where they were, a note with their number
/// is put into the output; a line that was cut in two shows its beginning before the note. A
/// newline becomes carriage return and newline on the way out, as a terminal wants it.
pub struct Queue {
    bytes: Box<[u8]>,
    /// Index of the first byte; below the capacity.
    start: usize,
    len: usize,
    /// Lines dropped since the last note.
    lost: u64,
    /// Lines dropped in all.
    lost_total: u64,
}

impl Queue {
    /// An empty queue with room for `capacity_bytes`, at least one.
    pub fn new(capacity_bytes: usize) -> Self {
        let bytes = vec![0; capacity_bytes.max(1)].into_boxed_slice();
        Self { bytes, start: 0, len: 0, lost: 0, lost_total: 0 }
    }

    /// Bytes that it has room for.
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that can be pushed before lines are dropped.
    pub fn room(&self) -> usize {
        self.capacity() - self.len
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.len
    }

    /// Whether nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.lost == 0
    }

    /// Lines dropped since the start.
    pub fn lost_total(&self) -> u64 {
        self.lost_total
    }

    /// Appends text. Drops the oldest lines if it does not fit; of text longer than the whole queue
    /// the beginning is dropped.
    pub fn push(&mut self, text: &[u8]) {
        let capacity = self.capacity();
        let kept = &text[text.len().saturating_sub(capacity)..];
        let cut = text.len() - kept.len();
        if cut > 0 {
            self.count_lost(text[..cut].iter().filter(|&&byte| byte == b'\n').count().max(1));
        }
        while self.room() < kept.len() {
            self.drop_line();
        }
        let end = (self.start + self.len) % capacity;
        let (before_wrap, after_wrap) = kept.split_at(kept.len().min(capacity - end));
        self.bytes[end..end + before_wrap.len()].copy_from_slice(before_wrap);
        self.bytes[..after_wrap.len()].copy_from_slice(after_wrap);
        self.len += kept.len();
    }

    /// Moves as much as fits into the ring; whether anything was moved, so that the backend is to
    /// be notified.
    pub fn flush(&mut self, ring: &mut Ring) -> bool {
        let mut moved = self.flush_note(ring);
        if self.lost > 0 {
            return moved;
        }
        // A piece of the output, its newlines already made into two bytes each.
        let mut piece = [0; 128];
        loop {
            let room = ring.room();
            let (taken, filled) = self.fill(&mut piece, room);
            if taken == 0 {
                return moved;
            }
            ring.write(&piece[..filled]);
            self.start = (self.start + taken) % self.capacity();
            self.len -= taken;
            moved = true;
        }
    }

    /// Hands all that waits to `write`, newlines as they are, and empties the queue.
    pub fn drain(&mut self, mut write: impl FnMut(&[u8])) {
        let first = self.len.min(self.capacity() - self.start);
        write(&self.bytes[self.start..self.start + first]);
        write(&self.bytes[..self.len - first]);
        self.start = 0;
        self.len = 0;
        self.lost = 0;
    }

    /// Copies bytes into `piece` with newlines made into two, at most `room`; how many were taken
    /// from the queue and how many are in the piece.
    fn fill(&self, piece: &mut [u8], room: usize) -> (usize, usize) {
        let limit = room.min(piece.len());
        let (mut taken, mut filled) = (0, 0);
        while taken < self.len {
            let byte = self.bytes[(self.start + taken) % self.capacity()];
            let needed = if byte == b'\n' { 2 } else { 1 };
            if filled + needed > limit {
                break;
            }
            if byte == b'\n' {
                piece[filled] = b'\r';
            }
            piece[filled + needed - 1] = byte;
            filled += needed;
            taken += 1;
        }
        (taken, filled)
    }

    /// Writes the note about lost lines, if one is due and the ring has room for it.
    fn flush_note(&mut self, ring: &mut Ring) -> bool {
        if self.lost == 0 {
            return false;
        }
        let mut note = [0; 64];
        let mut len = 0;
        arch::text::format(format_args!("[{} console lines lost]\r\n", self.lost), &mut |piece| {
            // The note fits: a number has at most 20 digits.
            if let Some(to) = note.get_mut(len..len + piece.len()) {
                to.copy_from_slice(piece.as_bytes());
                len += piece.len();
            }
        });
        if ring.room() < len {
            return false;
        }
        ring.write(&note[..len]);
        self.lost = 0;
        true
    }

    /// Drops the oldest bytes up to and with the first newline, or all if there is none.
    fn drop_line(&mut self) {
        let newline =
            (0..self.len).find(|i| self.bytes[(self.start + i) % self.capacity()] == b'\n');
        let dropped = newline.map_or(self.len, |at| at + 1);
        self.start = (self.start + dropped) % self.capacity();
        self.len -= dropped;
        self.count_lost(1);
    }

    fn count_lost(&mut self, lines: usize) {
        self.lost += lines as u64;
        self.lost_total += lines as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::SharedPage;
    use core::sync::atomic::Ordering;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    /// A ring whose backend takes everything at once.
    struct Sink {
        page: SharedPage,
        ring: Ring,
    }

    impl Sink {
        fn new() -> Self {
            let page = SharedPage::allocate().unwrap();
            let ring = Ring::new(page.peer());
            Self { page, ring }
        }

        fn take(&self, limit: usize) -> Vec<u8> {
            let consumer = self.page.u32_at(3080).load(Ordering::SeqCst);
            let producer = self.page.u32_at(3084).load(Ordering::SeqCst);
            let count = (producer.wrapping_sub(consumer) as usize).min(limit);
            let bytes = (0..count)
                .map(|i| {
                    self.page.u8_at(1024 + ((consumer as usize + i) & 2047)).load(Ordering::SeqCst)
                })
                .collect();
            self.page.u32_at(3080).store(consumer.wrapping_add(count as u32), Ordering::SeqCst);
            bytes
        }

        fn text(&self) -> String {
            String::from_utf8(self.take(usize::MAX)).unwrap()
        }
    }

    #[test]
    fn newlines_become_two_bytes_once() {
        let mut sink = Sink::new();
        let mut queue = Queue::new(64);
        queue.push(b"one\ntwo");
        assert!(queue.flush(&mut sink.ring));
        assert!(!queue.flush(&mut sink.ring));
        assert_eq!(sink.text(), "one\r\ntwo");
        assert!(queue.is_empty());
    }

    #[test]
    fn lost_lines_are_noted_where_they_were() {
        let mut sink = Sink::new();
        let mut queue = Queue::new(16);
        queue.push(b"first\nsecond\n");
        queue.push(b"third line\n");
        assert_eq!(queue.lost_total(), 2);
        queue.flush(&mut sink.ring);
        assert_eq!(sink.text(), "[2 console lines lost]\r\nthird line\r\n");
    }

    #[test]
    fn a_line_that_is_cut_ends_with_the_note() {
        let mut sink = Sink::new();
        let mut queue = Queue::new(8);
        queue.push(b"abc");
        queue.flush(&mut sink.ring);
        queue.push(b"d\ne\n");
        queue.push(b"f\ng\nh\n");
        queue.flush(&mut sink.ring);
        assert_eq!(sink.text(), "abc[1 console lines lost]\r\ne\r\nf\r\ng\r\nh\r\n");
    }

    #[test]
    fn text_longer_than_the_queue_keeps_its_end() {
        let mut sink = Sink::new();
        let mut queue = Queue::new(4);
        queue.push(b"a\nb\ncdef");
        queue.flush(&mut sink.ring);
        assert_eq!(sink.text(), "[2 console lines lost]\r\ncdef");
    }

    #[test]
    fn what_waits_can_be_drained_elsewhere() {
        let mut queue = Queue::new(8);
        queue.push(b"abcdef");
        queue.push(b"\ngh");
        let mut out = Vec::new();
        queue.drain(|bytes| out.extend_from_slice(bytes));
        assert_eq!(out, b"\ngh", "the first line gave way");
        assert!(queue.is_empty());
    }

    proptest! {
        /// Every numbered line either arrives whole and in order or is counted in a note.
        #[test]
        fn no_line_is_lost_uncounted(
            steps in proptest::collection::vec((0usize..40, 0usize..300), 1..60),
        ) {
            let mut sink = Sink::new();
            let mut queue = Queue::new(256);
            let mut written = 0u64;
            let mut out = Vec::new();
            for (lines, take) in steps {
                for _ in 0..lines {
                    queue.push(std::format!("line {written}\n").as_bytes());
                    written += 1;
                }
                queue.flush(&mut sink.ring);
                out.extend(sink.take(take));
            }
            while !queue.is_empty() {
                out.extend(sink.take(usize::MAX));
                queue.flush(&mut sink.ring);
            }
            out.extend(sink.take(usize::MAX));
            let mut expected = 0;
            for line in String::from_utf8(out).unwrap().split_terminator("\r\n") {
                if let Some((_cut, note)) = line.split_once('[') {
                    expected += note.split(' ').next().unwrap().parse::<u64>().unwrap();
                } else {
                    let number = line.strip_prefix("line ").and_then(|n| n.parse::<u64>().ok());
                    prop_assert_eq!(number, Some(expected), "strange line {:?}", line);
                    expected += 1;
                }
            }
            prop_assert_eq!(expected, written);
        }
    }
}
