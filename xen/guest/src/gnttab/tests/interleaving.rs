//! What a peer does between any two of our accesses to an entry that we end.

use super::table::{Table, Word, end_v1, end_v2};
use super::*;
use crate::testing::{Peer, PeerMapping};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU16, Ordering};
use xen_abi::gnttab::GrantRef;

const GRANT: GrantRef = GrantRef(9);

/// What the peer does, in one go.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Map(Access),
    MapAndUnmap(Access),
    /// Unmaps what it had mapped before.
    Unmap,
    UnmapAndMap(Access),
}

struct World {
    peer: Peer,
    mapped: Vec<PeerMapping>,
    deed: Deed,
    /// Our accesses until the peer acts.
    countdown: u32,
}

impl World {
    fn map(&mut self, access: Access) {
        self.mapped.extend(self.peer.map(GRANT, access).ok());
    }

    fn unmap(&mut self) {
        if let Some(mapping) = self.mapped.pop() {
            self.peer.unmap(mapping);
        }
    }

    /// One of our accesses is coming.
    fn access(&mut self) {
        self.countdown = self.countdown.wrapping_sub(1);
        if self.countdown != 0 {
            return;
        }
        match self.deed {
            Deed::Map(access) => self.map(access),
            Deed::MapAndUnmap(access) => {
                self.map(access);
                self.unmap();
            }
            Deed::Unmap => self.unmap(),
            Deed::UnmapAndMap(access) => {
                self.unmap();
                self.map(access);
            }
        }
    }
}

/// A word of an entry, with the peer before each access.
struct Watched<'a>(&'a AtomicU16, &'a RefCell<World>);

impl Word for Watched<'_> {
    fn load(&self, order: Ordering) -> u16 {
        self.1.borrow_mut().access();
        self.0.load(order)
    }

    fn store(&self, value: u16, order: Ordering) {
        self.1.borrow_mut().access();
        self.0.store(value, order);
    }

    fn compare_exchange(&self, current: u16, new: u16) -> Result<u16, u16> {
        self.1.borrow_mut().access();
        Word::compare_exchange(self.0, current, new)
    }
}

/// A table whose entry [`GRANT`] is granted.
fn table_with(xen: &FakeXen, version: Version, page: &SharedPage, access: Access) -> Table {
    if version == Version::Two {
        xen.set_grant_version(2).unwrap();
    }
    let mut table = Table::new(version);
    table.add_frame(xen, &window(xen, 1)).unwrap();
    table.permit(GRANT, DOM0, page.gfn(), access).unwrap();
    table
}

#[test]
fn an_entry_that_has_ended_is_in_no_ones_hands() {
    let (ro, rw) = (Access::ReadOnly, Access::ReadWrite);
    let deeds =
        [Deed::Map(ro), Deed::Map(rw), Deed::MapAndUnmap(rw), Deed::Unmap, Deed::UnmapAndMap(rw)];
    let mut outcomes = [0; 2];
    for version in BOTH {
        for (deed, access) in deeds.into_iter().flat_map(|deed| [(deed, ro), (deed, rw)]) {
            for (countdown, mapped_before) in (1..8).flat_map(|n| [(n, false), (n, true)]) {
                let xen = FakeXen::new();
                let page = page();
                let table = table_with(&xen, version, &page, access);
                let peer = xen.peer(DOM0);
                let mut world = World { peer, mapped: Vec::new(), deed, countdown };
                if mapped_before {
                    world.map(ro);
                }
                let world = RefCell::new(world);
                let flags = Watched(table.flags_at(GRANT), &world);
                let ended = match version {
                    Version::One => end_v1(&flags),
                    Version::Two => end_v2(&flags, &Watched(table.status_at(GRANT), &world)),
                };
                outcomes[usize::from(ended)] += 1;
                let mut world = world.into_inner();
                let case = std::format!("{version:?} {deed:?} {access:?} before {countdown}");
                if ended {
                    assert!(world.mapped.is_empty(), "{case}");
                    assert_eq!(xen.grant_flags(GRANT.0), 0, "{case}");
                    world.map(ro);
                    assert!(world.mapped.is_empty(), "{case}");
                } else {
                    // What is granted for reading is never written to.
                    world.map(rw);
                    let writes = world.mapped.iter().any(|one| one.access() == rw);
                    assert!(access == rw || !writes, "{case}");
                    while !world.mapped.is_empty() {
                        world.unmap();
                    }
                    assert!(table.end(GRANT).is_ok(), "{case}");
                }
            }
        }
    }
    assert!(outcomes.into_iter().all(|count| count > 20), "{outcomes:?}");
}

#[test]
fn an_entry_that_never_holds_still_counts_as_in_use() {
    struct Restless(AtomicU16);
    impl Word for Restless {
        fn load(&self, order: Ordering) -> u16 {
            self.0.load(order)
        }
        fn store(&self, _: u16, _: Ordering) {}
        fn compare_exchange(&self, current: u16, _: u16) -> Result<u16, u16> {
            Err(current ^ 0x20)
        }
    }
    assert!(!end_v1(&Restless(AtomicU16::new(1))));
}
