//! A grant's life: given, ended, set aside, taken back; and the table's: taken over, grown,
//! resumed.

use super::*;
use crate::testing::Call;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake};
use xen_abi::gnttab::{GrantRef, flags};

#[test]
fn an_entry_is_as_the_header_says() {
    let (xen, grants) = table(Version::One, 4);
    let granted = grants.grant(DomId(3), page(), Access::ReadOnly).unwrap();
    assert_eq!(granted.reference(), GrantRef(8), "the first that is not reserved");
    let frame = SharedPage::peer_at(window(&xen, 4).grant_frame(0).unwrap()).unwrap();
    let mut entry = [0; 8];
    frame.read(8 * 8, &mut entry);
    let gfn = (granted.gfn() as u32).to_le_bytes();
    assert_eq!(entry, [5, 0, 3, 0, gfn[0], gfn[1], gfn[2], gfn[3]]);
    drop(granted);
    assert_eq!(frame.u16_at(64).load(Ordering::Relaxed), 0);

    let (xen, grants) = table(Version::Two, 4);
    let granted = grants.grant(DomId(3), page(), Access::ReadWrite).unwrap();
    let frame = SharedPage::peer_at(window(&xen, 4).grant_frame(0).unwrap()).unwrap();
    let mut entry = [0; 16];
    frame.read(8 * 16, &mut entry);
    assert_eq!(entry[..8], [1, 0, 3, 0, 0, 0, 0, 0]);
    assert_eq!(entry[8..], granted.gfn().to_le_bytes());
}

#[test]
fn a_peer_may_do_what_was_granted_and_no_more() {
    for version in BOTH {
        let (xen, grants) = table(version, 4);
        let peer = xen.peer(DOM0);
        let readable = grants.grant(DOM0, page(), Access::ReadOnly).unwrap();
        let writable = grants.grant(DOM0, page(), Access::ReadWrite).unwrap();
        readable.write(0, b"data");
        let mut read = [0; 4];
        peer.copy_from(readable.reference(), 0, &mut read).unwrap();
        assert_eq!(&read, b"data");
        assert!(peer.copy_to(readable.reference(), 0, b"x").is_err());
        assert!(peer.map(readable.reference(), Access::ReadWrite).is_err());
        peer.copy_to(writable.reference(), 4092, b"back").unwrap();
        let page = writable.end().unwrap();
        page.read(4092, &mut read);
        assert_eq!(&read, b"back");
        assert!(xen.peer(DomId(1)).map(readable.reference(), Access::ReadOnly).is_err());
        let reference = readable.reference();
        drop(readable);
        assert!(peer.map(reference, Access::ReadOnly).is_err());
        assert!(peer.map(GrantRef(100_000), Access::ReadOnly).is_err());
    }
}

#[test]
fn a_page_in_use_is_set_aside_until_its_peer_lets_go() {
    for version in BOTH {
        let (xen, grants) = table(version, 1);
        let owner = grants.for_owner("device", 10);
        let peer = xen.peer(DOM0);
        let granted = owner.grant(DOM0, page(), Access::ReadWrite).unwrap();
        let reference = granted.reference();
        let mapping = peer.map(reference, Access::ReadWrite).unwrap();
        let error = granted.end().err();
        assert_eq!(error, Some(StillInUse(reference)));
        assert_eq!(owner.counters(), Counters { quarantined: 1, limit: 10, ..Counters::default() });
        assert_eq!(grants.reclaim(), 1);
        assert!(!mapping.page().is_freed());
        let (others, error) = grant_all(&grants);
        assert_eq!((others.len(), error), (grants_in(version, 1) - 1, GrantError::Exhausted));
        assert!(others.iter().all(|other| other.reference() != reference));
        let view = mapping.page().peer();
        peer.unmap(mapping);
        assert!(!view.is_freed(), "still not looked at");
        assert_eq!(grants.reclaim(), 0);
        assert!(view.is_freed());
        assert_eq!(owner.counters(), Counters { limit: 10, ..Counters::default() });
        assert_eq!(grants.grant(DOM0, page(), Access::ReadOnly).unwrap().reference(), reference);
    }
}

#[test]
fn a_reader_of_version_2_does_not_become_a_writer_of_a_page_set_aside() {
    let (xen, grants) = table(Version::Two, 1);
    let peer = xen.peer(DOM0);
    let granted = grants.grant(DOM0, page(), Access::ReadOnly).unwrap();
    let reference = granted.reference();
    let mapping = peer.map(reference, Access::ReadOnly).unwrap();
    drop(granted);
    assert!(peer.map(reference, Access::ReadWrite).is_err());
    // But it can prolong what it has.
    let longer = peer.map(reference, Access::ReadOnly).unwrap();
    peer.unmap(mapping);
    assert_eq!(grants.reclaim(), 1);
    peer.unmap(longer);
    assert!(peer.map(reference, Access::ReadOnly).is_err());
    assert_eq!(grants.reclaim(), 0);
    assert_eq!(xen.grant_flags(reference.0), 0);
}

#[test]
fn what_is_never_let_go_is_given_up_and_counted() {
    for version in BOTH {
        let (xen, grants) = table(version, 1);
        let granted = grants.grant(DOM0, page(), Access::ReadOnly).unwrap();
        let peer = xen.peer(DOM0);
        let mapping = peer.map(granted.reference(), Access::ReadOnly).unwrap();
        drop(granted);
        for _ in 1..RECLAIM_TRIES {
            assert_eq!(grants.reclaim(), 1);
        }
        assert_eq!(grants.reclaim(), 0);
        let counters = grants.table_counters();
        assert_eq!((counters.quarantined, counters.leaked), (0, 1));
        assert_eq!(grants.counters().leaked, 1);
        let view = mapping.page().peer();
        peer.unmap(mapping);
        assert_eq!(grants.reclaim(), 0);
        assert!(!view.is_freed(), "given up is given up");
        xen.suspend().unwrap();
        grants.resume().unwrap();
        assert!(view.is_freed());
        assert_eq!(grants.counters(), Counters { limit: u32::MAX, ..Counters::default() });
    }
}

#[test]
fn the_table_grows_to_its_limit_and_no_further() {
    for version in BOTH {
        let (xen, grants) = table(version, 10);
        assert_eq!(grants.table_counters().frames, 1, "no more than is needed");
        let (all, error) = grant_all(&grants);
        assert_eq!((all.len(), error), (grants_in(version, 10), GrantError::Exhausted));
        let references: BTreeSet<u32> = all.iter().map(|one| one.reference().0).collect();
        assert!(references.len() == all.len() && references.first() == Some(&8));
        let counters = grants.table_counters();
        assert_eq!((counters.frames, counters.frames_limit, counters.free), (10, 10, 0));
        assert_eq!(counters.in_use, counters.references);
        for one in all.iter().step_by(17) {
            xen.peer(DOM0).copy_from(one.reference(), 0, &mut [0; 8]).unwrap();
        }
        drop(all);
        assert_eq!(grants.table_counters().free as usize, grants_in(version, 10));
    }
}

#[test]
fn growing_can_fail_and_be_tried_again() {
    for version in BOTH {
        // With version 2 the ninth is the status frame that comes with frame 8.
        for failing in [1, 8, 9, 10] {
            let (xen, grants) = table(version, 12);
            xen.fail(failing, Errno::NOMEM, |call| matches!(call, Call::AddToPhysmap { .. }));
            let (first, error) = grant_all(&grants);
            assert_eq!(error, GrantError::Xen(Errno::NOMEM));
            let frames = if version == Version::Two && failing > 8 { failing - 1 } else { failing };
            assert_eq!(first.len(), grants_in(version, frames));
            let (second, error) = grant_all(&grants);
            assert_eq!(error, GrantError::Exhausted);
            assert_eq!(first.len() + second.len(), grants_in(version, 12));
        }
    }
}

#[test]
fn a_limit_that_xen_does_not_keep_ends_the_growth() {
    let (xen, grants) = table(Version::One, 8);
    xen.set_grant_frames_limit(2);
    let (all, error) = grant_all(&grants);
    assert_eq!((all.len(), error), (grants_in(Version::One, 2), GrantError::Exhausted));
    xen.take_calls();
    assert!(grants.grant(DOM0, page(), Access::ReadOnly).is_err());
    assert!(xen.take_calls().is_empty(), "not asked again");
}

#[test]
fn a_holder_has_its_share_and_no_more() {
    let (xen, grants) = table(Version::One, 1);
    let greedy = grants.for_owner("greedy", 3);
    let (mut held, error) = grant_all(&greedy);
    assert_eq!(held.len(), 3);
    assert_eq!(error, GrantError::OwnerLimit { name: "greedy", limit: 3 });
    let peer = xen.peer(DOM0);
    let mapping = peer.map(held[0].reference(), Access::ReadOnly).unwrap();
    held.remove(0);
    assert!(greedy.grant(DOM0, page(), Access::ReadOnly).is_err(), "set aside counts as well");
    assert!(grants.grant(DOM0, page(), Access::ReadOnly).is_ok(), "others are not touched");
    peer.unmap(mapping);
    greedy.reclaim();
    assert!(greedy.clone().grant(DOM0, page(), Access::ReadOnly).is_ok());
    assert_eq!(greedy.counters(), Counters { in_use: 2, limit: 3, ..Counters::default() });
}

#[test]
fn what_an_earlier_kernel_granted_is_ended_or_set_aside() {
    for version in BOTH {
        let xen = FakeXen::new();
        xen.set_reserved_grant(1, DOM0, 0x77);
        let old = Grants::new(xen.clone(), &window(&xen, 8), version).unwrap();
        let (mut left, _) = grant_all(&old.for_owner("x", 700));
        let peer = xen.peer(DOM0);
        let mapped = [left[5].reference(), left[650].reference()];
        let mut mappings: Vec<_> =
            mapped.iter().map(|one| peer.map(*one, Access::ReadOnly).unwrap()).collect();
        left.drain(..).for_each(std::mem::forget);
        let frames = old.table_counters().frames;
        drop(old);
        let grants = Grants::new(xen.clone(), &window(&xen, 8), version).unwrap();
        let counters = grants.table_counters();
        assert_eq!((counters.frames, counters.quarantined), (frames, 2));
        assert_eq!(counters.free as usize, grants_in(version, frames) - 2);
        assert_eq!(xen.grant_flags(1), flags::PERMIT_ACCESS, "not ours");
        assert!(peer.map(GrantRef(700), Access::ReadOnly).is_err(), "ended");
        let (all, _) = grant_all(&grants);
        assert!(all.iter().all(|one| !mapped.contains(&one.reference())));
        mappings.drain(..).for_each(|mapping| peer.unmap(mapping));
        assert_eq!(grants.reclaim(), 0);
        assert_eq!(grants.table_counters().free, 2);
    }
}

#[test]
fn the_version_is_settled_with_xen() {
    let xen = FakeXen::new();
    xen.set_grant_version_2(false);
    let error = Grants::new(xen.clone(), &window(&xen, 8), Version::Two).err();
    assert_eq!(error, Some(SetupError::NoVersion2(Errno::NOSYS)));
    assert_eq!(
        Grants::new(xen.clone(), &window(&xen, 8), Version::One).unwrap().version(),
        Version::One
    );
    // Version 2 of an earlier kernel is left, unless its grants are in use.
    xen.set_grant_version_2(true);
    let old = Grants::new(xen.clone(), &window(&xen, 8), Version::Two).unwrap();
    let granted = old.grant(DOM0, page(), Access::ReadOnly).unwrap();
    let peer = xen.peer(DOM0);
    let mapping = peer.map(granted.reference(), Access::ReadOnly).unwrap();
    std::mem::forget(granted);
    let new = Grants::new(xen.clone(), &window(&xen, 8), Version::One).unwrap();
    assert_eq!((new.version(), new.table_counters().quarantined), (Version::Two, 1));
    peer.unmap(mapping);
    assert_eq!(
        Grants::new(xen.clone(), &window(&xen, 8), Version::One).unwrap().version(),
        Version::One
    );
}

#[test]
fn what_xen_refuses_at_the_start_is_said() {
    type Which = fn(&Call) -> bool;
    let refused: [(Which, SetupError); 3] = [
        (|call| *call == Call::GrantVersion, SetupError::Xen(Errno::NOSYS)),
        (|call| *call == Call::GrantFrames, SetupError::Xen(Errno::NOSYS)),
        (
            |call| matches!(call, Call::AddToPhysmap { .. }),
            SetupError::Frame(GrantError::Xen(Errno::NOSYS)),
        ),
    ];
    for (which, expected) in refused {
        let xen = FakeXen::new();
        xen.fail(1, Errno::NOSYS, which);
        assert_eq!(Grants::new(xen.clone(), &window(&xen, 8), Version::One).err(), Some(expected));
    }
    let (xen, grants) = table(Version::One, 8);
    let all = grant_all(&grants.for_owner("x", 600));
    drop(all);
    let error = Grants::new(xen.clone(), &window(&xen, 1), Version::One).err();
    assert_eq!(error, Some(SetupError::WindowTooSmall { frames: 2, room: 1 }));
}

#[test]
fn a_new_domain_has_the_same_frames_and_none_of_the_grants() {
    for version in BOTH {
        let (xen, grants) = table(version, 9);
        xen.set_reserved_grant(0, DOM0, 0x55);
        let owner = grants.for_owner("device", 2000);
        let (mut all, _) = grant_all(&owner);
        let frames = grants.table_counters().frames;
        let peer = xen.peer(DOM0);
        let mapping = peer.map(all[1].reference(), Access::ReadOnly).unwrap();
        let view = mapping.page().peer();
        drop(all.remove(1));
        assert_eq!(grants.table_counters().quarantined, 1);
        xen.suspend().unwrap();
        grants.resume().unwrap();
        assert!(view.is_freed(), "no peer has it here");
        assert_eq!((grants.version(), xen.grant_flags(0)), (version, 1));
        let counters = grants.table_counters();
        assert_eq!((counters.frames, counters.in_use, counters.quarantined), (frames, 0, 0));
        assert_eq!(owner.counters(), Counters { limit: 2000, ..Counters::default() });
        // The stale ones end nothing that is new.
        let new: Vec<_> =
            (0..20).map(|_| owner.grant(DOM0, page(), Access::ReadOnly).unwrap()).collect();
        assert!(all.iter().all(GrantedPage::is_stale) && !new[0].is_stale());
        let stale = all.pop().unwrap();
        assert!(stale.end().is_ok());
        drop(all);
        assert_eq!(owner.counters().in_use, 20);
        for one in &new {
            assert!(peer.map(one.reference(), Access::ReadOnly).is_ok());
        }
    }
}

#[test]
fn a_new_domain_may_have_a_smaller_table() {
    let (xen, grants) = table(Version::One, 6);
    let (all, _) = grant_all(&grants);
    xen.set_grant_frames_limit(3);
    xen.suspend().unwrap();
    grants.resume().unwrap();
    assert_eq!(grants.table_counters().frames, 3);
    drop(all);
    let (all, _) = grant_all(&grants);
    assert_eq!(all.len(), grants_in(Version::One, 3));
    xen.suspend().unwrap();
    xen.fail(2, Errno::NOMEM, |call| matches!(call, Call::AddToPhysmap { .. }));
    assert_eq!(grants.resume(), Err(SetupError::Frame(GrantError::Xen(Errno::NOMEM))));
    assert_eq!(grants.table_counters().frames, 1, "what it got serves");
    assert!(grants.grant(DOM0, page(), Access::ReadOnly).is_ok());
}

#[test]
fn a_frame_number_of_more_than_32_bits_needs_version_2() {
    use xen_abi::memory::{MemoryKind, MemoryMapEntry};
    let xen = FakeXen::new();
    let mut map = xen.memory_map();
    // Below the fake's window: RAM that ends above 16 TiB would begin its window elsewhere.
    map.push(MemoryMapEntry { addr: 1 << 44, len_bytes: 4096, kind: MemoryKind::Ram });
    let sizes = Sizes { grant_frames: 4, foreign_slots: 0 };
    let window = Window::new(&map, sizes, 48).unwrap();
    let grants = Grants::new(xen, &window, Version::One).unwrap();
    assert_eq!(grants.version(), Version::Two);
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_when_a_reference_is_free() {
    let (_, grants) = table(Version::One, 1);
    let (mut all, _) = grant_all(&grants);
    let count = Arc::new(Count(AtomicU32::new(0)));
    let waker = count.clone().into();
    let mut context = Context::from_waker(&waker);
    let wakes = || count.0.load(Ordering::Relaxed);
    let mut first = pin!(grants.grant_wait(DOM0, page(), Access::ReadOnly));
    let mut second = pin!(grants.grant_wait(DOM0, page(), Access::ReadOnly));
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(second.as_mut().poll(&mut context).is_pending());
    assert_eq!(wakes(), 0);
    all.pop();
    assert_eq!(wakes(), 1, "the same waker, once");
    let Poll::Ready(Ok(granted)) = second.as_mut().poll(&mut context) else {
        panic!("a reference is free");
    };
    assert!(first.as_mut().poll(&mut context).is_pending(), "and was taken");
    drop(granted);
    assert_eq!(wakes(), 2);
    assert!(matches!(first.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
}

#[test]
fn who_waits_is_woken_by_a_new_domain() {
    let (xen, grants) = table(Version::One, 1);
    let (_all, _) = grant_all(&grants);
    let count = Arc::new(Count(AtomicU32::new(0)));
    let waker = count.clone().into();
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(grants.grant_wait(DOM0, page(), Access::ReadOnly));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    xen.suspend().unwrap();
    grants.resume().unwrap();
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
}

#[test]
fn waiting_ends_with_an_error_that_does_not_pass() {
    let (xen, grants) = table(Version::One, 2);
    let owner = grants.for_owner("device", 1);
    let held = owner.grant(DOM0, page(), Access::ReadOnly).unwrap();
    let waker = std::task::Waker::noop();
    let mut context = Context::from_waker(waker);
    let mut waiting = pin!(owner.grant_wait(DOM0, page(), Access::ReadOnly));
    assert!(waiting.as_mut().poll(&mut context).is_pending(), "the holder's limit passes");
    drop(held);
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    let full = grants.for_owner("first frame", grants_in(Version::One, 1) as u32);
    let (_held, _) = grant_all(&full);
    xen.fail(1, Errno::NOMEM, |call| matches!(call, Call::AddToPhysmap { .. }));
    let mut waiting = pin!(grants.grant_wait(DOM0, page(), Access::ReadOnly));
    let Poll::Ready(Err(error)) = waiting.as_mut().poll(&mut context) else {
        panic!("Xen has no memory");
    };
    assert_eq!(error, GrantError::Xen(Errno::NOMEM));
}

#[test]
fn a_wait_that_is_dropped_holds_nothing() {
    let (_, grants) = table(Version::One, 1);
    let (all, _) = grant_all(&grants);
    let waiting = page();
    let view = waiting.peer();
    {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut future = pin!(grants.grant_wait(DOM0, waiting, Access::ReadOnly));
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert!(view.is_freed());
    drop(all);
    assert_eq!(grants.table_counters().in_use, 0);
}

#[test]
fn who_reclaims_is_woken_when_there_is_something() {
    let (xen, grants) = table(Version::One, 1);
    let count = Arc::new(Count(AtomicU32::new(0)));
    let waker = count.clone().into();
    let mut context = Context::from_waker(&waker);
    let mut waiting = pin!(grants.quarantined());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    let granted = grants.grant(DOM0, page(), Access::ReadOnly).unwrap();
    drop(grants.grant(DOM0, page(), Access::ReadOnly).unwrap());
    let peer = xen.peer(DOM0);
    let mapping = peer.map(granted.reference(), Access::ReadOnly).unwrap();
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    drop(granted);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(waiting.as_mut().poll(&mut context).is_ready());
    peer.unmap(mapping);
    assert_eq!(grants.reclaim(), 0);
    let mut waiting = pin!(grants.quarantined());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
}

#[test]
fn a_new_domain_without_version_2_has_version_1() {
    let (xen, grants) = table(Version::Two, 4);
    let (all, _) = grant_all(&grants.for_owner("x", 300));
    xen.suspend().unwrap();
    xen.set_grant_version_2(false);
    grants.resume().unwrap();
    assert_eq!((grants.version(), grants.table_counters().frames), (Version::One, 2));
    drop(all);
    let granted = grants.grant(DOM0, page(), Access::ReadOnly).unwrap();
    assert!(xen.peer(DOM0).map(granted.reference(), Access::ReadOnly).is_ok());
}

#[test]
fn a_table_that_cannot_be_had_again_grants_nothing() {
    let (xen, grants) = table(Version::Two, 4);
    xen.suspend().unwrap();
    xen.fail(1, Errno::NOSYS, |call| *call == Call::GrantVersion);
    assert_eq!(grants.resume(), Err(SetupError::Xen(Errno::NOSYS)));
    assert_eq!(grants.grant(DOM0, page(), Access::ReadOnly).err(), Some(GrantError::Exhausted));
    grants.resume().unwrap();
    assert!(grants.grant(DOM0, page(), Access::ReadOnly).is_ok());
}
