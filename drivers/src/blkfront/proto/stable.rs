//! When a flush may be sent, and for whom it counts.
//!
//! A flush covers the writes that were answered before it was sent, no others. So one that the app
//! asks for waits for all writes submitted before it; a durable write waits for itself alone.
//! Whoever is due when a flush is sent shares it; whoever becomes due while it is on the way waits
//! for the next.
//!
//! ```text
//!   flush ──▶ waiting ── all earlier writes answered ──▶ due ── sent ──▶ covered ──▶ done
//!   durable write ── answered ────────────────────────▶  ▲                │
//!                                                        └─ connection lost
//! ```

use super::job::JobId;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A write's number, in the order of submission.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(super) struct WriteNumber(u64);

/// The flushes of a disk.
pub(super) struct Stability {
    /// Number of the oldest write without answer.
    oldest: u64,
    /// Whether each write from the oldest on was answered.
    answered: VecDeque<bool>,
    /// Flushes, and the number of the first write that they need not wait for.
    waiting: VecDeque<(JobId, u64)>,
    due: Vec<JobId>,
    covered: Vec<JobId>,
    on_the_way: bool,
    /// Whether a write was answered that no flush was sent after.
    dirty: bool,
    /// The same, when the flush on the way was sent.
    dirty_before: bool,
    losses: u32,
}

impl Stability {
    pub fn new() -> Self {
        Self {
            oldest: 0,
            answered: VecDeque::new(),
            waiting: VecDeque::new(),
            due: Vec::new(),
            covered: Vec::new(),
            on_the_way: false,
            dirty: false,
            dirty_before: false,
            losses: 0,
        }
    }

    /// Times that something written may have been lost.
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// A write is submitted.
    pub fn begin_write(&mut self) -> WriteNumber {
        let number = self.oldest + self.answered.len() as u64;
        self.answered.push_back(false);
        WriteNumber(number)
    }

    /// It was answered, or given up.
    pub fn end_write(&mut self, number: WriteNumber) {
        self.dirty = true;
        let place = number.0.checked_sub(self.oldest).map(|place| place as usize);
        if let Some(answered) = place.and_then(|place| self.answered.get_mut(place)) {
            *answered = true;
        }
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.oldest += 1;
        }
    }

    /// A flush is submitted.
    pub fn flush(&mut self, job: JobId) {
        let upto = self.oldest + self.answered.len() as u64;
        self.waiting.push_back((job, upto));
    }

    /// A durable write was answered.
    pub fn make_durable(&mut self, job: JobId) {
        self.due.push(job);
    }

    /// Whether a flush is to be sent.
    pub fn is_due(&mut self) -> bool {
        while let Some((job, _)) = self.waiting.front().filter(|(_, upto)| *upto <= self.oldest) {
            self.due.push(*job);
            self.waiting.pop_front();
        }
        !self.on_the_way && !self.due.is_empty()
    }

    /// A flush was sent: it counts for all who are due.
    pub fn sent(&mut self) {
        core::mem::swap(&mut self.due, &mut self.covered);
        self.on_the_way = true;
        self.dirty_before = core::mem::replace(&mut self.dirty, false);
    }

    /// The flush on the way was answered. If it failed, what was written before may be lost. Those
    /// it counted for.
    pub fn answered(&mut self, good: bool) -> Vec<JobId> {
        self.on_the_way = false;
        if core::mem::take(&mut self.dirty_before) && !good {
            self.losses = self.losses.wrapping_add(1);
        }
        core::mem::take(&mut self.covered)
    }

    /// The flush on the way was not done, and is to be sent again.
    pub fn again(&mut self) {
        self.on_the_way = false;
        self.dirty |= core::mem::take(&mut self.dirty_before);
        self.covered.append(&mut self.due);
        core::mem::swap(&mut self.due, &mut self.covered);
    }

    /// The backend is gone, and with it perhaps what it had not brought to stable storage. Durable
    /// writes among those who are due are to be done again: they are taken out.
    pub fn backend_died(&mut self, is_write: impl Fn(JobId) -> bool) -> Vec<JobId> {
        self.again();
        if core::mem::take(&mut self.dirty) {
            self.losses = self.losses.wrapping_add(1);
        }
        let (writes, flushes) = self.due.drain(..).partition(|job| is_write(*job));
        self.due = flushes;
        writes
    }

    /// All who wait, in any stage: nothing will be flushed any more.
    pub fn give_up(&mut self) -> Vec<JobId> {
        self.on_the_way = false;
        let waiting = self.waiting.drain(..).map(|(job, _)| job);
        self.covered.drain(..).chain(self.due.drain(..)).chain(waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JobId = JobId(1);
    const B: JobId = JobId(2);
    const C: JobId = JobId(3);

    #[test]
    fn a_flush_waits_for_earlier_writes_and_not_for_later_ones() {
        let mut stable = Stability::new();
        let (first, second) = (stable.begin_write(), stable.begin_write());
        stable.flush(A);
        let third = stable.begin_write();
        stable.end_write(second);
        assert!(!stable.is_due(), "the first is not answered");
        stable.end_write(first);
        assert!(stable.is_due());
        stable.flush(B);
        stable.sent();
        assert_eq!(stable.answered(true), [A]);
        assert!(!stable.is_due(), "B waits for the third");
        stable.end_write(third);
        assert!(stable.is_due());
    }

    #[test]
    fn who_comes_while_a_flush_is_on_the_way_waits_for_the_next() {
        let mut stable = Stability::new();
        stable.flush(A);
        assert!(stable.is_due());
        stable.sent();
        stable.flush(B);
        stable.make_durable(C);
        assert!(!stable.is_due());
        assert_eq!(stable.answered(true), [A]);
        assert!(stable.is_due());
        stable.sent();
        assert_eq!(stable.answered(true), [C, B]);
        assert!(!stable.is_due());
    }

    #[test]
    fn a_failed_flush_is_a_loss_if_something_was_written() {
        let mut stable = Stability::new();
        stable.flush(A);
        assert!(stable.is_due());
        stable.sent();
        stable.answered(false);
        assert_eq!(stable.losses(), 0, "nothing to lose");
        let write = stable.begin_write();
        stable.end_write(write);
        stable.flush(A);
        assert!(stable.is_due());
        stable.sent();
        stable.answered(false);
        assert_eq!(stable.losses(), 1);
    }

    #[test]
    fn what_a_dead_backend_had_not_flushed_is_lost_once() {
        let mut stable = Stability::new();
        let write = stable.begin_write();
        stable.end_write(write);
        stable.make_durable(A);
        stable.flush(B);
        assert!(stable.is_due());
        stable.sent();
        stable.flush(C);
        assert_eq!(stable.backend_died(|job| job == A), [A]);
        assert_eq!(stable.losses(), 1);
        assert!(stable.is_due());
        stable.sent();
        assert_eq!(stable.answered(true), [B, C]);
        assert_eq!(stable.backend_died(|_| true), []);
        assert_eq!(stable.losses(), 1);
        stable.flush(A);
        stable.flush(B);
        assert_eq!(stable.give_up(), [A, B]);
    }
}
