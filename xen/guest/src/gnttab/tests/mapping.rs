//! Foreign pages: mapped in batches, unmapped on drop, slots counted.

use super::*;
use crate::testing::{Call, PeerPage};
use proptest::prelude::*;
use std::sync::atomic::Ordering;
use xen_abi::gnttab::{GrantRef, GrantStatus};

fn foreign() -> (FakeXen, Foreign<FakeXen>) {
    let xen = FakeXen::new();
    let foreign = Foreign::new(xen.clone(), &window(&xen, 8));
    (xen, foreign)
}

fn references(pages: &[PeerPage]) -> Vec<GrantRef> {
    pages.iter().map(|page| page.grant).collect()
}

#[test]
fn both_sides_see_one_page_until_it_is_dropped() {
    let (xen, foreign) = foreign();
    let peer = xen.peer(DomId(3));
    let pages: Vec<_> = (0..40).map(|_| peer.share(Access::ReadWrite)).collect();
    let mapped = foreign.map(DomId(3), &references(&pages), Access::ReadWrite).unwrap();
    assert_eq!((mapped.len(), foreign.mapped(), xen.foreign_mapped()), (40, 40, 40));
    for (index, page) in pages.iter().enumerate() {
        page.page.u32_at(8).store(index as u32, Ordering::Relaxed);
        assert_eq!(mapped.load_u32(index, 8), index as u32);
        mapped.page(index).unwrap().write(100, &[index as u8; 3]);
        let mut read = [0; 3];
        page.page.read(100, &mut read);
        assert_eq!(read, [index as u8; 3]);
    }
    let calls = xen.take_calls();
    assert_eq!(calls, [16, 16, 8].map(Call::GrantMap));
    drop(mapped);
    assert_eq!(xen.take_calls(), [16, 16, 8].map(Call::GrantUnmap));
    assert_eq!((foreign.mapped(), xen.foreign_mapped()), (0, 0));
    assert!(pages.iter().all(|page| peer.users(page.grant) == 0));
}

#[test]
fn a_page_for_reading_is_only_read() {
    let (xen, foreign) = foreign();
    let page = xen.peer(DOM0).share(Access::ReadOnly);
    page.page.write(5, b"text");
    let mapped = foreign.map(DOM0, &[page.grant], Access::ReadOnly).unwrap();
    assert!(mapped.page(0).is_none() && !mapped.is_empty());
    let mut read = [0; 4];
    mapped.read(0, 5, &mut read);
    assert_eq!(&read, b"text");
    let error = foreign.map(DOM0, &[page.grant], Access::ReadWrite).err();
    let status = GrantStatus::GENERAL_ERROR;
    assert_eq!(error, Some(MapError::Grant { grant: page.grant, status }));
}

#[test]
fn all_are_mapped_or_none() {
    let (xen, foreign) = foreign();
    let peer = xen.peer(DOM0);
    let pages: Vec<_> = (0..50).map(|_| peer.share(Access::ReadWrite)).collect();
    for bad in [0, 15, 16, 37, 49] {
        let status = GrantStatus::EAGAIN;
        peer.refuse(pages[bad].grant, status, 1);
        let error = foreign.map(DOM0, &references(&pages), Access::ReadWrite).err();
        assert_eq!(error, Some(MapError::Grant { grant: pages[bad].grant, status }));
        assert_eq!((foreign.mapped(), xen.foreign_mapped()), (0, 0));
    }
    for failing in 1..5 {
        xen.fail(failing, Errno(14), |call| matches!(call, Call::GrantMap(_)));
        let error = foreign.map(DOM0, &references(&pages), Access::ReadWrite).err();
        assert_eq!(error, Some(MapError::Xen(Errno(14))));
        assert_eq!((foreign.mapped(), xen.foreign_mapped()), (0, 0));
    }
    assert!(foreign.map(DOM0, &references(&pages), Access::ReadWrite).is_ok());
}

#[test]
fn a_slot_that_xen_does_not_give_back_is_never_used_again() {
    let (xen, foreign) = foreign();
    let peer = xen.peer(DOM0);
    let pages: Vec<_> = (0..100).map(|_| peer.share(Access::ReadWrite)).collect();
    let all = references(&pages);
    let mapped = foreign.map(DOM0, &all[..3], Access::ReadWrite).unwrap();
    xen.refuse_unmaps(2);
    drop(mapped);
    let counters = ForeignCounters { mapped: 0, poisoned: 2, slots: 100 };
    assert_eq!(foreign.counters(), counters);
    assert_eq!(foreign.mapped(), 2, "the domain cannot be saved");
    let error = foreign.map(DOM0, &all, Access::ReadWrite).err();
    assert!(matches!(error, Some(MapError::NoSlots { .. })));
    assert_eq!(foreign.counters(), counters);
    let mapped = foreign.map(DOM0, &all[..98], Access::ReadWrite).unwrap();
    assert_eq!(xen.foreign_mapped(), 100);
    xen.fail(2, Errno(14), |call| matches!(call, Call::GrantUnmap(_)));
    drop(mapped);
    assert_eq!(foreign.counters().poisoned, 18, "a whole batch");
}

#[test]
fn a_new_domain_has_all_slots() {
    let (xen, foreign) = foreign();
    let peer = xen.peer(DOM0);
    let pages: Vec<_> = (0..100).map(|_| peer.share(Access::ReadWrite)).collect();
    let all = references(&pages);
    // Nothing is mapped at a suspend; but if the domain was resumed nevertheless, nothing old is
    // undone.
    let stale = foreign.map(DOM0, &all[..5], Access::ReadWrite).unwrap();
    foreign.resume();
    assert_eq!(foreign.counters(), ForeignCounters { slots: 100, ..Default::default() });
    xen.take_calls();
    drop(stale);
    assert!(xen.take_calls().is_empty());
    assert_eq!(foreign.mapped(), 0);
}

proptest! {
    #[test]
    fn no_slot_is_used_twice(
        steps in proptest::collection::vec((0usize..40, any::<bool>(), 0u32..3), 1..60),
    ) {
        let (xen, foreign) = foreign();
        let peer = xen.peer(DOM0);
        let pages: Vec<_> = (0..40).map(|_| peer.share(Access::ReadWrite)).collect();
        let mut held = Vec::new();
        let (mut expected, mut poisoned) = (0usize, 0usize);
        for (count, drop_one, refusals) in steps {
            if drop_one && !held.is_empty() {
                let mapped: MappedGrants<FakeXen> = held.remove(count % held.len());
                let lost = mapped.len().min(refusals as usize);
                expected -= mapped.len();
                poisoned += lost;
                xen.refuse_unmaps(refusals);
                drop(mapped);
                xen.refuse_unmaps(0);
            } else {
                let result = foreign.map(DOM0, &references(&pages[..count]), Access::ReadWrite);
                prop_assert_eq!(result.is_ok(), expected + poisoned + count <= 100);
                if let Ok(mapped) = result {
                    expected += count;
                    held.push(mapped);
                }
            }
            let counters = ForeignCounters {
                mapped: expected as u32, poisoned: poisoned as u32, slots: 100 };
            prop_assert_eq!(foreign.counters(), counters);
            prop_assert_eq!(xen.foreign_mapped(), expected + poisoned);
        }
    }
}
