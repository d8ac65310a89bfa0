//! The fake against what was seen on a real Xen.

use super::*;
use crate::Hypervisor;
use crate::gnttab::Access;
use crate::hypercall::{Extents, GrantFrames};
use crate::{attach, clock, window};
use std::vec;
use xen_abi::event::{EvtchnPort, Priority};
use xen_abi::gnttab::{
    COPY_DEST_GRANT, COPY_SOURCE_GRANT, CopySide, GrantCopy, GrantRef, GrantStatus, MAP_HOST,
    MAP_READONLY, MapGrant, UnmapGrant,
};
use xen_abi::memory::map_space;
use xen_abi::shared_info::{
    EVTCHN_MASK, EVTCHN_PENDING, EVTCHN_WORDS, PENDING_SEL, UPCALL_PENDING,
};

const DOM0: DomId = DomId::ZERO;

fn copy(source: CopySide, dest: CopySide, len_bytes: u16, flags: u16) -> GrantCopy {
    GrantCopy { source, dest, len_bytes, flags, ..GrantCopy::UNUSED }
}

fn map(gfn: u64, domid: DomId, grant: u32, flags: u32) -> MapGrant {
    let grant = GrantRef(grant);
    MapGrant { host_addr: gfn * 4096, flags, grant, domid: domid.0, ..MapGrant::UNUSED }
}

/// A fake with its first frame at the window's first frame but one.
fn with_table() -> (FakeXen, u64) {
    let xen = FakeXen::new();
    let gfn = window::first_gfn(&xen.memory_map()) + 1;
    xen.add_to_physmap(map_space::GRANT_TABLE, 0, gfn).unwrap();
    (xen, gfn)
}

/// Clears a port's pending bit, as the guest does; whether it was set.
fn take_pending(shared_info: &SharedPage, port: EvtchnPort) -> bool {
    let word = shared_info.u64_at(EVTCHN_PENDING + 8 * (port.0 as usize / 64));
    let bit = 1 << (port.0 % 64);
    word.fetch_and(!bit, Ordering::SeqCst) & bit != 0
}

#[test]
fn the_table_grows_with_the_frames_that_are_asked_for() {
    let (xen, gfn) = with_table();
    assert_eq!(xen.grant_frames(), Ok(GrantFrames { current: 1, limit: 64 }));
    xen.add_to_physmap(map_space::GRANT_TABLE, 3, gfn + 3).unwrap();
    assert_eq!(xen.grant_frames().unwrap().current, 4);
    let error = xen.add_to_physmap(map_space::GRANT_TABLE, 100_000, gfn + 5);
    assert_eq!(error, Err(Errno::INVAL));
    assert_eq!(xen.grant_version(), Ok(1));
    // A frame that is put elsewhere is not where it was.
    xen.add_to_physmap(map_space::GRANT_TABLE, 3, gfn + 9).unwrap();
    assert!(SharedPage::peer_at(gfn + 3).is_none() && SharedPage::peer_at(gfn + 9).is_some());
}

#[test]
#[should_panic(expected = "would be lost")]
fn a_page_on_top_of_ram_is_a_mistake() {
    let page = SharedPage::allocate().unwrap();
    let _ = FakeXen::new().add_to_physmap(map_space::GRANT_TABLE, 0, page.gfn());
}

/// What was seen of a domain that grants to itself on Xen 4.17.
#[test]
fn a_domain_maps_its_own_grants_as_on_xen() {
    let (xen, table) = with_table();
    let page = SharedPage::allocate().unwrap();
    xen.0.lock().grants.set_entry(8, GUEST, page.gfn(), false);
    let slot = table + 100;
    let mut ro = [map(slot, GUEST, 8, MAP_HOST | MAP_READONLY)];
    xen.grant_map(&mut ro).unwrap();
    assert_eq!((ro[0].status, xen.grant_flags(8)), (GrantStatus::OKAY, 0x9));
    let unmap = |op: &MapGrant| {
        let (host_addr, handle) = (op.host_addr, op.handle);
        let mut ops = [UnmapGrant { host_addr, handle, ..UnmapGrant::UNUSED }];
        xen.grant_unmap(&mut ops).unwrap();
        ops[0].status
    };
    assert_eq!(unmap(&ro[0]), GrantStatus::OKAY);
    assert_eq!(unmap(&ro[0]), GrantStatus::BAD_HANDLE);
    assert_eq!(xen.grant_flags(8), 0x1);
    // The page has left its own frame.
    let mut again = [map(slot, GUEST, 8, MAP_HOST)];
    xen.grant_map(&mut again).unwrap();
    assert_eq!(again[0].status, GrantStatus::BAD_PAGE);
    let pages = [(); 2].map(|()| SharedPage::allocate().unwrap());
    xen.0.lock().grants.set_entry(9, GUEST, pages[0].gfn(), true);
    xen.0.lock().grants.set_entry(10, GUEST, pages[1].gfn(), false);
    let mut ops = [
        map(slot, GUEST, 9, MAP_HOST),
        map(pages[0].gfn(), GUEST, 10, MAP_HOST),
        map(slot, GUEST, 10, MAP_HOST),
        map(slot + 1, GUEST, 512, MAP_HOST),
        map(slot + 1, DomId(99), 8, MAP_HOST),
    ];
    xen.grant_map(&mut ops).unwrap();
    assert_eq!(ops.map(|op| op.status.0), [-1, -9, 0, -3, -2]);
    assert_eq!((xen.grant_flags(9), xen.grant_flags(10)), (0x5, 0x19));
}

#[test]
fn copies_are_refused_as_on_xen() {
    let (xen, _) = with_table();
    let pages = [(); 2].map(|()| SharedPage::allocate().unwrap());
    pages[0].write(0, &[7; 4096]);
    xen.0.lock().grants.set_entry(8, GUEST, pages[0].gfn(), true);
    let (grant, own) = (CopySide::grant(GUEST, GrantRef(8), 0), CopySide::own(pages[1].gfn(), 0));
    let mut ops = [
        copy(grant, own, 4096, COPY_SOURCE_GRANT),
        copy(CopySide { offset: 4000, ..grant }, own, 200, COPY_SOURCE_GRANT),
        copy(own, grant, 16, COPY_DEST_GRANT),
        copy(grant, CopySide { frame: 1 << 40, ..own }, 16, COPY_SOURCE_GRANT),
        copy(CopySide { domid: 3, ..own }, own, 16, 0),
    ];
    xen.grant_copy(&mut ops).unwrap();
    assert_eq!(ops.map(|op| op.status.0), [0, -10, -1, -9, -8]);
    assert_eq!(pages[1].u8_at(4095).load(Ordering::Relaxed), 7);
    assert_eq!(xen.grant_flags(8), 0x5, "nothing stays in use");
}

#[test]
fn a_change_of_version_keeps_the_reserved_entries_alone() {
    let (xen, gfn) = with_table();
    xen.set_reserved_grant(1, DOM0, 0x1234);
    xen.0.lock().grants.set_entry(9, DOM0, 0x1235, false);
    assert_eq!(xen.add_to_physmap(map_space::GRANT_TABLE, 1 << 31, gfn + 70), Err(Errno::INVAL));
    xen.set_grant_version(2).unwrap();
    xen.add_to_physmap(map_space::GRANT_TABLE, 1 << 31, gfn + 70).unwrap();
    assert_eq!((xen.grant_flags(1), xen.grant_flags(9)), (1, 0));
    let entry = SharedPage::peer_at(gfn).unwrap().u64_at(16 + 8).load(Ordering::Relaxed);
    assert_eq!(entry, 0x1234);
    xen.set_grant_version(1).unwrap();
    assert_eq!(xen.grant_flags(1), 1);
    xen.set_grant_version_2(false);
    assert_eq!(xen.set_grant_version(2), Err(Errno::NOSYS));
    assert_eq!(xen.set_grant_version(3), Err(Errno::INVAL));
}

#[test]
fn calls_are_noted_and_the_nth_fails() {
    let xen = FakeXen::new();
    xen.fail(2, Errno::NOMEM, |call| matches!(call, Call::BindVirq(_)));
    assert!(xen.bind_virq(Virq::Debug).is_ok());
    assert_eq!(xen.bind_virq(Virq::Timer), Err(Errno::NOMEM));
    assert!(xen.bind_virq(Virq::Timer).is_ok());
    assert_eq!(xen.bind_virq(Virq::Timer), Err(Errno::EXIST));
    let timer = Call::BindVirq(Virq::Timer);
    let expected = vec![Call::BindVirq(Virq::Debug), timer.clone(), timer.clone(), timer];
    assert_eq!(xen.take_calls(), expected);
    assert!(xen.take_calls().is_empty());
}

#[test]
fn events_reach_the_guest_and_the_peer() {
    let xen = FakeXen::new();
    let page = attach::shared_info(&xen, &xen.memory_map()).unwrap();
    let peer = xen.peer(DOM0);
    for word in 0..EVTCHN_WORDS {
        page.u64_at(EVTCHN_MASK + 8 * word).store(u64::MAX, Ordering::SeqCst);
    }
    let port = xen.alloc_unbound(DOM0).unwrap();
    assert_eq!(xen.peer(DomId(3)).bind(port), Err(Errno::INVAL), "not opened for that one");
    let remote = peer.bind(port).unwrap();
    peer.notify(remote);
    assert_eq!(page.u64_at(PENDING_SEL).load(Ordering::SeqCst), 0, "masked");
    xen.unmask(port).unwrap();
    assert_eq!(page.u64_at(PENDING_SEL).load(Ordering::SeqCst), 1);
    assert_eq!(page.u8_at(UPCALL_PENDING).load(Ordering::SeqCst), 1);
    assert!(take_pending(&page, port));
    xen.send(port).unwrap();
    xen.send(port).unwrap();
    assert_eq!((peer.take_events(remote), peer.take_events(remote)), (2, 0));
    peer.close(remote);
    peer.notify(remote);
    assert!(!take_pending(&page, port));
    assert!(xen.send(port).is_ok(), "no one hears it");
    xen.close(port).unwrap();
    assert_eq!(xen.send(port), Err(Errno::INVAL));
    assert_eq!(xen.set_priority(port, Priority::CONTROL), Err(Errno::NOSYS));
    // A port that the peer opens is pending as soon as it is bound.
    let offered = peer.alloc_unbound();
    assert_eq!(xen.bind_interdomain(DomId(3), offered), Err(Errno::INVAL));
    let bound = xen.bind_interdomain(DOM0, offered).unwrap();
    assert_eq!(bound, EvtchnPort(1), "the lowest that is free");
    assert!(take_pending(&page, bound));
}

#[test]
fn time_passes_in_sleep_and_the_timer_fires_once() {
    let xen = FakeXen::new();
    let page = attach::shared_info(&xen, &xen.memory_map()).unwrap();
    let port = xen.bind_virq(Virq::Timer).unwrap();
    xen.set_timer(500).unwrap();
    xen.poll(&[port], Some(300)).unwrap();
    assert_eq!((xen.now_ns(), take_pending(&page, port)), (300, false));
    xen.poll(&[port], Some(900)).unwrap();
    assert_eq!((xen.now_ns(), take_pending(&page, port)), (500, true));
    assert_eq!(clock::snapshot(&page).unwrap().system_time_ns_at(12345), 500);
    xen.poll(&[port], Some(900)).unwrap();
    assert_eq!((xen.now_ns(), take_pending(&page, port)), (900, false));
    xen.set_timer(1).unwrap();
    assert!(take_pending(&page, port), "a time that has passed fires at once");
    xen.set_timer(2000).unwrap();
    xen.stop_timer().unwrap();
    xen.advance(5000);
    assert!(!take_pending(&page, port));
}

#[test]
fn memory_goes_and_comes() {
    let xen = FakeXen::new();
    let before = xen.current_reservation().unwrap();
    assert_eq!(xen.maximum_reservation(), Ok(before));
    let page = SharedPage::allocate().unwrap();
    page.write(0, b"old");
    let gfns = [page.gfn(), page.gfn()];
    assert_eq!(xen.decrease_reservation(Extents { gfns: &gfns, order: 0 }), Ok(1), "gone once");
    assert_eq!(xen.current_reservation(), Ok(before - 1));
    assert_eq!(xen.populate_physmap(Extents { gfns: &gfns, order: 0 }), Ok(1));
    assert!(page.is_zero());
}

#[test]
fn a_new_domain_has_nothing_of_the_old_one() {
    let (xen, gfn) = with_table();
    xen.set_reserved_grant(0, DOM0, 77);
    let page = SharedPage::allocate().unwrap();
    xen.0.lock().grants.set_entry(8, DOM0, page.gfn(), false);
    let peer = xen.peer(DOM0);
    let _mapping = peer.map(GrantRef(8), Access::ReadWrite).unwrap();
    xen.bind_virq(Virq::Timer).unwrap();
    assert_eq!(xen.suspend(), Ok(Resumed::InNewDomain));
    assert!(SharedPage::peer_at(gfn).is_none());
    assert_eq!((xen.grant_flags(0), xen.grant_flags(8)), (1, 0));
    assert!(xen.bind_virq(Virq::Timer).is_ok());
    xen.set_resume(Resumed::InSameDomain);
    assert_eq!(xen.suspend(), Ok(Resumed::InSameDomain));
    assert_eq!(xen.bind_virq(Virq::Timer), Err(Errno::EXIST));
    assert_eq!(xen.shutdown(ShutdownReason::Poweroff), Errno(0));
    assert_eq!(xen.shutdown_reason(), Some(ShutdownReason::Poweroff));
}

/// With version 2 the flags may say "invalid" while a peer has the page: it may map it again then,
/// but not for more than before if the entry still says "read only".
#[test]
fn a_page_that_is_mapped_can_be_mapped_again_by_version_2() {
    let (xen, _) = with_table();
    xen.set_grant_version(2).unwrap();
    let page = SharedPage::allocate().unwrap();
    let peer = xen.peer(DOM0);
    for (left, expected) in [(0u16, true), (4, false)] {
        xen.0.lock().grants.set_entry(8, DOM0, page.gfn(), true);
        let mapping = peer.map(GrantRef(8), Access::ReadOnly).unwrap();
        xen.0.lock().grants.set_entry(8, DOM0, page.gfn(), true);
        let entry = window::first_gfn(&xen.memory_map()) + 1;
        SharedPage::peer_at(entry).unwrap().u16_at(8 * 16).store(left, Ordering::SeqCst);
        let again = peer.map(GrantRef(8), Access::ReadWrite);
        assert_eq!(again.is_ok(), expected);
        again.into_iter().for_each(|again| peer.unmap(again));
        peer.unmap(mapping);
        assert!(peer.map(GrantRef(8), Access::ReadOnly).is_err());
    }
}
