//! Who is to be woken when: a heap by deadline.
//!
//! ```text
//!   heap   [ 10 s, slot 2 | 12 s, slot 0 | 11 s, slot 3 ]
//!                ▲    ╰──▶╮                    a parent is never later than its children:
//!   slots        ╰─── 2: armed at position 0   arming, firing, giving up: O(log n)
//!                     1: fired
//! ```
//!
//! A slot knows its place in the heap, so a sleep that is given up leaves the heap at once: an
//! hour's timeout around a quick answer does not stay for an hour.

use super::Instant;
use crate::exec::slab::Slab;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use spin::Mutex;

/// The timers. There is one such set in a domain; tests and benchmarks have their own.
pub struct Timers(Mutex<Inner>);

/// An armed or fired timer: its slot. Given back by [`Timers::cancel`] or a poll that is ready.
pub(super) struct Key(u32);

struct Inner {
    heap: Vec<Entry>,
    slots: Slab<Slot>,
    armed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: Instant,
    /// Of two with the same deadline the one that was armed first fires first.
    order: u64,
    slot: u32,
}

enum Slot {
    Armed { position: usize, waker: Waker },
    Fired { at: Instant },
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// No timers. Takes no memory yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Inner { heap: Vec::new(), slots: Slab::new(), armed: 0 }))
    }

    /// The first deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.lock().heap.first().map(|entry| entry.deadline)
    }

    /// Wakes all whose deadline has come, the earliest first; how many.
    pub fn fire(&self, now: Instant) -> usize {
        let mut fired = 0;
        loop {
            // The lock is free while a waker runs.
            let due = self.0.lock().take_due(now);
            let Some(waker) = due else { return fired };
            waker.wake();
            fired += 1;
        }
    }

    /// Arms a timer that has no key yet, and gives it one. Ready, with the time at which it fired,
    /// once it has: then it has no key any more.
    pub(super) fn poll(
        &self,
        key: &mut Option<Key>,
        deadline: Instant,
        waker: &Waker,
    ) -> Poll<Instant> {
        let mut inner = self.0.lock();
        let Some(Key(index)) = *key else {
            *key = Some(inner.arm(deadline, waker.clone()));
            return Poll::Pending;
        };
        let old = match inner.slots.get_mut(index) {
            Some(Slot::Armed { waker: known, .. }) if known.will_wake(waker) => None,
            Some(Slot::Armed { waker: known, .. }) => {
                Some(core::mem::replace(known, waker.clone()))
            }
            Some(Slot::Fired { at }) => {
                let at = *at;
                inner.slots.remove(index);
                *key = None;
                return Poll::Ready(at);
            }
            None => None,
        };
        drop(inner);
        drop(old);
        Poll::Pending
    }

    /// Gives a timer up.
    pub(super) fn cancel(&self, key: Key) {
        let mut inner = self.0.lock();
        let slot = inner.slots.remove(key.0);
        if let Some(Slot::Armed { position, .. }) = &slot {
            inner.leave(*position);
        }
        // The waker goes when the lock is free.
        drop(inner);
        drop(slot);
    }

    /// How many timers are armed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().heap.len()
    }
}

impl Inner {
    fn arm(&mut self, deadline: Instant, waker: Waker) -> Key {
        let position = self.heap.len();
        let slot = self.slots.insert(Slot::Armed { position, waker });
        self.armed += 1;
        self.heap.push(Entry { deadline, order: self.armed, slot });
        self.rise(position);
        Key(slot)
    }

    /// The waker of the first timer, if that is due.
    fn take_due(&mut self, now: Instant) -> Option<Waker> {
        let first = *self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        self.leave(0);
        match core::mem::replace(self.slots.get_mut(first.slot)?, Slot::Fired { at: now }) {
            Slot::Armed { waker, .. } => Some(waker),
            Slot::Fired { .. } => None,
        }
    }

    /// Takes an entry out of the heap. The last one fills its place, and finds its own.
    fn leave(&mut self, position: usize) {
        if position >= self.heap.len() {
            return;
        }
        self.heap.swap_remove(position);
        self.rise(position);
        self.sink(position);
    }

    /// Moves an entry up while it is earlier than its parent.
    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if !self.is_earlier(position, parent) {
                break;
            }
            self.heap.swap(position, parent);
            self.note(position);
            position = parent;
        }
        self.note(position);
    }

    /// Moves an entry down while it is later than a child.
    fn sink(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let earliest = if self.is_earlier(left + 1, left) { left + 1 } else { left };
            if !self.is_earlier(earliest, position) {
                break;
            }
            self.heap.swap(position, earliest);
            self.note(position);
            position = earliest;
        }
        self.note(position);
    }

    /// Whether one entry exists and is earlier than another.
    fn is_earlier(&self, one: usize, other: usize) -> bool {
        match (self.heap.get(one), self.heap.get(other)) {
            (Some(one), Some(other)) => one < other,
            _ => false,
        }
    }

    /// Tells a slot where its entry is.
    fn note(&mut self, at: usize) {
        if let Some(entry) = self.heap.get(at)
            && let Some(Slot::Armed { position, .. }) = self.slots.get_mut(entry.slot)
        {
            *position = at;
        }
    }
}
