//! When which connection is to be looked at: a heap by deadline, with at most one entry for each.
//!
//! ```text
//!   heap   [ 10 s, flow 2 | 12 s, flow 0 | 11 s, flow 3 ] a parent is not later than its children
//!   places   flow 0: 1, flow 1: none, flow 2: 0, flow 3: 2
//! ```
//!
//! A deadline that moves away, as that of a retransmission does with every acknowledgment, is left
//! where it is: who is looked at too early says when to look again. So a busy connection seldom
//! touches the heap, and no number of packets makes the heap longer than there are connections.

use crate::time::Instant;
use alloc::vec::Vec;

/// Where nothing is.
const NOWHERE: u32 = u32::MAX;

/// The deadlines.
#[derive(Default)]
pub struct Timers {
    heap: Vec<(Instant, u32)>,
    /// Where in the heap each number is.
    places: Vec<u32>,
}

impl Timers {
    /// The first deadline.
    pub fn first(&self) -> Option<Instant> {
        self.heap.first().map(|(deadline, _)| *deadline)
    }

    /// Has `index` come up at `deadline` at the latest.
    pub fn arm(&mut self, index: u32, deadline: Instant) {
        let number = index as usize;
        if number >= self.places.len() {
            self.places.resize(number + 1, NOWHERE);
        }
        let place = self.places[number];
        if place == NOWHERE {
            self.heap.push((deadline, index));
            self.rise(self.heap.len() - 1);
        } else if let Some(entry) = self.heap.get_mut(place as usize)
            && deadline < entry.0
        {
            entry.0 = deadline;
            self.rise(place as usize);
        }
    }

    /// Has `index` not come up any more.
    pub fn disarm(&mut self, index: u32) {
        let place = self.places.get(index as usize).copied().unwrap_or(NOWHERE);
        if place != NOWHERE {
            self.leave(place as usize);
        }
    }

    /// Takes the first number whose deadline has come.
    pub fn take_due(&mut self, now: Instant) -> Option<u32> {
        let (deadline, index) = *self.heap.first()?;
        if deadline > now {
            return None;
        }
        self.leave(0);
        Some(index)
    }

    /// How many are armed.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Takes an entry out. The last one fills its place, and finds its own.
    fn leave(&mut self, place: usize) {
        let (_, index) = self.heap.swap_remove(place);
        self.places[index as usize] = NOWHERE;
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    /// Moves an entry up until its parent is no later; notes where it is.
    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        self.places[self.heap[place].1 as usize] = place as u32;
    }

    /// Moves an entry down until no child is earlier.
    fn sink(&mut self, mut place: usize) {
        loop {
            let earlier = |a: usize, b: usize| self.heap.get(b).is_some_and(|b| *b < self.heap[a]);
            let mut first = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if earlier(first, child) {
                    first = child;
                }
            }
            if first == place {
                return;
            }
            self.swap(first, place);
            place = first;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            self.places[self.heap[place].1 as usize] = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Arm(u32, u64),
        Disarm(u32),
        Take(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u32..20, 0u64..1000).prop_map(|(index, at)| Step::Arm(index, at)),
            (0u32..30).prop_map(Step::Disarm),
            (0u64..1000).prop_map(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn each_comes_up_at_its_first_deadline(steps in proptest::collection::vec(step(), 0..400)) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Arm(index, at) => {
                        timers.arm(index, Instant::from_nanos(at));
                        let entry = model.entry(index).or_insert(at);
                        *entry = at.min(*entry);
                    }
                    Step::Disarm(index) => {
                        timers.disarm(index);
                        model.remove(&index);
                    }
                    Step::Take(now) => {
                        let mut due = std::vec::Vec::new();
                        while let Some(index) = timers.take_due(Instant::from_nanos(now)) {
                            due.push((model.remove(&index).unwrap(), index));
                        }
                        prop_assert!(due.is_sorted_by_key(|(at, _)| *at));
                        prop_assert!(due.iter().all(|(at, _)| *at <= now));
                        prop_assert!(model.values().all(|at| *at > now));
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
                let first = timers.first().map(Instant::as_nanos);
                prop_assert_eq!(first, model.values().copied().min());
            }
        }
    }
}
