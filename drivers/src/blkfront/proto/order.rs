//! Requests that overlap take effect in the order in which they were submitted.
//!
//! Nothing in the protocol keeps a backend from doing requests in any order. So a request waits
//! while one that is on a ring has a sector in common with it and either writes. What is then read
//! or kept is what the order of submission says, even if a future was dropped, or requests are sent
//! again to another backend.

use super::shadow::Place;
use crate::blkfront::disk::SectorRange;
use alloc::vec::Vec;

struct OnRing {
    queue: usize,
    place: Place,
    range: SectorRange,
    writes: bool,
}

/// The sectors of all requests on the rings.
#[derive(Default)]
pub(super) struct Order {
    on_ring: Vec<OnRing>,
    writers: usize,
}

impl Order {
    /// Whether a request for these sectors has to wait.
    pub fn forbids(&self, range: &SectorRange, writes: bool) -> bool {
        // Reads among themselves have no order, and most of the time there is nothing else.
        (writes || self.writers > 0)
            && self
                .on_ring
                .iter()
                .any(|other| (writes || other.writes) && other.range.overlaps(range))
    }

    /// A request is put on a ring.
    pub fn add(&mut self, queue: usize, place: Place, range: SectorRange, writes: bool) {
        self.writers += usize::from(writes);
        self.on_ring.push(OnRing { queue, place, range, writes });
    }

    /// It was answered. Requests that were not added are not known.
    pub fn remove(&mut self, queue: usize, place: Place) {
        let is_it = |other: &OnRing| other.place == place && other.queue == queue;
        if let Some(at) = self.on_ring.iter().position(is_it) {
            self.writers -= usize::from(self.on_ring.swap_remove(at).writes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xen_abi::blkif::Sector;

    fn range(first: u64, count: u64) -> SectorRange {
        SectorRange::new(Sector(first), count)
    }

    #[test]
    fn only_what_overlaps_a_write_waits() {
        let mut order = Order::default();
        order.add(0, 1, range(0, 8), false);
        assert!(!order.forbids(&range(4, 8), false));
        assert!(order.forbids(&range(4, 8), true));
        assert!(!order.forbids(&range(8, 8), true));
        order.add(1, 1, range(8, 8), true);
        assert!(order.forbids(&range(15, 1), false));
        order.remove(0, 1);
        assert!(!order.forbids(&range(4, 4), true));
        order.remove(0, 7);
        order.remove(1, 1);
        assert!(!order.forbids(&range(0, 100), true) && order.writers == 0);
    }
}
