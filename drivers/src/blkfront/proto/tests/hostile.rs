//! A backend that lies: the disk is closed and says why; nothing else happens.

use super::*;
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use xen_abi::blkif::{Direct, Operation, Request, RequestId, Response, Slot, Status};

pub(super) fn answer_to(slot: &Slot) -> Response {
    let (id, operation) = (Request::id_of(slot), Operation(slot[0]));
    Response { id, operation, status: Status::OKAY }
}

/// A disk with one read and one write on the ring; the backend has taken them.
fn asked() -> (Rig, [JobId; 2], [Slot; 2]) {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 1 << 10);
    let jobs = [rig.submit_read(0, 512).unwrap(), rig.submit_write(8, &[1; 512], false).unwrap()];
    rig.engine.service().unwrap();
    assert_eq!(rig.backend.take(), 2);
    let slots = [rig.backend.steal(0).1, rig.backend.steal(0).1];
    (rig, jobs, slots)
}

/// The disk is closed with `lie`, everything is told so, and nothing stays granted.
fn check_closed(mut rig: Rig, jobs: &[JobId], lie: Lie) {
    assert_eq!(rig.engine.service(), Err(lie));
    let reason = CloseReason::Lie(lie);
    assert_eq!(rig.engine.close_reason(), Some(reason));
    for job in jobs {
        assert_eq!(rig.result(*job).unwrap().0, Err(BlockError::Gone(reason)));
    }
    assert_eq!(rig.submit_read(0, 512), Err(BlockError::Gone(reason)));
    let slice = rig.engine.poll_submit_slice(
        Action::Read,
        Sector(0),
        (512, Source::Nothing),
        (&mut None, Waker::noop()),
    );
    assert_eq!(slice, Poll::Ready(Err(BlockError::Gone(reason))));
    assert_eq!(rig.engine.service(), Ok(Service::default()));
    rig.backend.detach();
    rig.grants.reclaim();
    assert_eq!(rig.grants.counters().in_use, 0);
}

#[test]
fn an_answer_to_nothing() {
    let (mut rig, jobs, slots) = asked();
    let id = RequestId(Request::id_of(&slots[0]).0 ^ (1 << 40));
    rig.backend.respond(0, &Response { id, ..answer_to(&slots[0]) });
    check_closed(rig, &jobs, Lie::Id(id));
}

#[test]
fn an_answer_beyond_the_table() {
    let (mut rig, jobs, slots) = asked();
    let id = RequestId(Request::id_of(&slots[0]).0 | 0xffff);
    rig.backend.respond(0, &Response { id, ..answer_to(&slots[0]) });
    check_closed(rig, &jobs, Lie::Id(id));
}

#[test]
fn two_answers_to_one_request() {
    let (mut rig, jobs, slots) = asked();
    rig.backend.respond(0, &answer_to(&slots[0]));
    rig.backend.respond(0, &answer_to(&slots[0]));
    assert!(rig.engine.service().is_err());
    assert_eq!(rig.result(jobs[0]).unwrap().0, Ok(()), "the first was good");
    assert!(matches!(rig.result(jobs[1]).unwrap().0, Err(BlockError::Gone(_))));
}

#[test]
fn another_operation() {
    let (mut rig, jobs, slots) = asked();
    let (asked, answered) = (Operation::READ, Operation::WRITE);
    rig.backend.respond(0, &Response { operation: answered, ..answer_to(&slots[0]) });
    check_closed(rig, &jobs, Lie::Operation { asked, answered });
}

#[test]
fn statuses_that_there_are_not_are_errors() {
    for status in [1, 2, -3, i16::MIN, i16::MAX] {
        let (mut rig, jobs, slots) = asked();
        let status = Status(status);
        rig.backend.respond(0, &Response { status, ..answer_to(&slots[0]) });
        rig.engine.service().unwrap();
        assert_eq!(rig.result(jobs[0]).unwrap().0, Err(BlockError::Io));
        assert!(rig.result(jobs[1]).is_none());
    }
    let (mut rig, jobs, slots) = asked();
    rig.backend.respond(0, &Response { status: Status::EOPNOTSUPP, ..answer_to(&slots[1]) });
    rig.engine.service().unwrap();
    assert_eq!(rig.result(jobs[1]).unwrap().0, Err(BlockError::NotSupported));
}

#[test]
fn more_responses_than_requests() {
    let (rig, jobs, _) = asked();
    let producer = rig.backend.ring_page(0).u32_at(xen_abi::ring::RSP_PROD);
    let old = producer.load(Ordering::SeqCst);
    producer.store(old.wrapping_add(3), Ordering::SeqCst);
    let error =
        xen::ring::RingError { producer: old.wrapping_add(3), consumer: old, outstanding: 2 };
    check_closed(rig, &jobs, Lie::Ring(error));
}

#[test]
fn a_page_that_is_still_in_use_after_the_answer() {
    let (mut rig, jobs, slots) = asked();
    let grant = Direct::parse(&slots[0]).unwrap().segments()[0].grant();
    let peer = rig.xen.peer(BACKEND);
    let mapping = peer.map(grant, Access::ReadWrite).unwrap();
    rig.backend.respond(0, &answer_to(&slots[0]));
    let lie = Lie::StillInUse(grant);
    assert_eq!(rig.engine.service(), Err(lie));
    let (result, buffer) = rig.result(jobs[0]).unwrap();
    assert_eq!(result, Err(BlockError::Gone(CloseReason::Lie(lie))));
    // The app gets another page; the old one is neither freed nor its reference used again.
    assert_eq!(buffer.len_bytes(), 512);
    assert!(buffer.into_pages()[0].gfn() != mapping.page().gfn());
    assert!(!mapping.page().is_freed());
    assert_eq!(rig.grants.counters().quarantined, 2, "the page and the ring");
    peer.unmap(mapping);
    rig.backend.detach();
    rig.grants.reclaim();
    assert_eq!(rig.grants.counters().quarantined, 0);
}

#[test]
fn a_page_that_a_dropped_future_left_is_not_freed_before_the_answer() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 1 << 10);
    let id = rig.submit_read(0, 512).unwrap();
    rig.engine.service().unwrap();
    rig.engine.abandon(id);
    rig.engine.service().unwrap();
    rig.backend.take();
    let (ring, slot) = rig.backend.steal(0);
    let grant = Direct::parse(&slot).unwrap().segments()[0].grant();
    let peer = rig.xen.peer(BACKEND);
    let mapping = peer.map(grant, Access::ReadWrite).unwrap();
    let page = mapping.page().peer();
    peer.unmap(mapping);
    assert!(!page.is_freed());
    rig.backend.respond(ring, &answer_to(&slot));
    rig.engine.service().unwrap();
    assert!(page.is_freed());
    assert_eq!(rig.engine.work.jobs.len(), 0);
    // One that was not sent is not sent any more.
    let id = rig.submit_read(0, 512).unwrap();
    rig.engine.abandon(id);
    rig.settle();
    assert_eq!(rig.engine.counters().sent, 1);
    rig.check_clean();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever is written into the ring's page, and whenever: an error at worst, and all
    /// references come back.
    #[test]
    fn no_bytes_do_harm(
        steps in proptest::collection::vec(any::<(u8, u16, u64, u8)>(), 1..80),
        start: u32,
    ) {
        let mut rig = Rig::detached(Config::DEFAULT, Offer::ALL, 1 << 10);
        rig.start = start;
        rig.connect();
        let mut jobs = Vec::new();
        for (what, at, word, small) in steps {
            let first = u64::from(at) % 512;
            match what % 6 {
                0 => jobs.extend(rig.submit_write(first, &[small; 1024], small & 1 == 0)),
                1 => jobs.extend(rig.submit_read(first, 8192)),
                2 => jobs.extend(rig.engine.submit_plain(Action::Flush, SectorRange::default())),
                3 => {
                    // A plausible answer in the next slot, or one that is nearly so.
                    let page = rig.backend.ring_page(0);
                    let producer = page.u32_at(xen_abi::ring::RSP_PROD);
                    let old = producer.load(Ordering::SeqCst);
                    let slot = 64 + 112 * (old % 32) as usize;
                    let operation = Operation(small % 8);
                    let id = RequestId(u64::from(at) % 34 + ((word % 3) << 16));
                    let status = Status((word >> 32) as i16 % 4 - 2);
                    page.write(slot, &Response { id, operation, status }.emit());
                    producer.store(old.wrapping_add(1), Ordering::SeqCst);
                }
                4 => {
                    let at = 8 * (usize::from(at) % 512);
                    rig.backend.ring_page(0).u64_at(at).store(word, Ordering::SeqCst);
                }
                _ => {
                    let before = rig.engine.close_reason();
                    let result = rig.engine.service();
                    prop_assert!(result.is_ok() || before.is_none());
                    prop_assert_eq!(result.is_err(), rig.engine.close_reason() != before);
                }
            }
        }
        rig.engine.close(CloseReason::Stopped);
        rig.backend.detach();
        for job in jobs {
            prop_assert!(rig.result(job).is_some());
        }
        rig.grants.reclaim();
        let counters = rig.grants.counters();
        prop_assert_eq!((counters.in_use, counters.quarantined), (0, 0));
    }
}
