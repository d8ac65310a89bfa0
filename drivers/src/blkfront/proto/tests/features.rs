//! Each feature on and off.

use super::*;

const SMALL: Config = Config { indirect_segments_max: 64, ..Config::DEFAULT };

#[test]
fn large_requests_go_in_one_indirect_request_or_in_pieces() {
    for (segments, requests, largest) in [(0, 3, 11), (5, 3, 11), (16, 2, 16), (64, 1, 32)] {
        let offer = Offer { indirect_segments: segments, ..Offer::ALL };
        let mut rig = Rig::new(SMALL, offer, 1 << 20);
        rig.write(100, &pattern(1, 128 << 10)).unwrap();
        let counters = rig.engine.counters();
        assert_eq!((counters.sent, rig.backend.largest), (requests, largest));
        assert_eq!(counters.indirect > 0, segments > 11);
        assert_eq!(rig.read(100, 128 << 10).unwrap(), pattern(1, 128 << 10));
        rig.check_clean();
    }
}

#[test]
fn neighbours_go_together_if_that_is_wanted() {
    for (merge, sent) in [(true, 1), (false, 8)] {
        let mut rig = Rig::new(Config { merge, ..SMALL }, Offer::ALL, 1 << 20);
        let jobs: Vec<_> =
            (0..8).map(|n| rig.submit_write(n, &pattern(n, 512), false).unwrap()).collect();
        rig.settle();
        assert_eq!(rig.engine.counters().sent, sent);
        assert!(jobs.into_iter().all(|job| rig.result(job).unwrap().0.is_ok()));
        for n in 0..8 {
            assert_eq!(rig.read(n, 512).unwrap(), pattern(n, 512));
        }
    }
}

#[test]
fn an_error_is_told_to_whom_it_belongs() {
    let mut rig = Rig::new(SMALL, Offer::ALL, 1 << 20);
    rig.disk.set_bad(5, true);
    let jobs: Vec<_> =
        (0..8).map(|n| rig.submit_write(n, &pattern(n, 512), false).unwrap()).collect();
    rig.settle();
    for (n, job) in jobs.into_iter().enumerate() {
        let expected = if n == 5 { Err(BlockError::Io) } else { Ok(()) };
        assert_eq!(rig.result(job).unwrap().0, expected);
    }
    assert_eq!(rig.read(5, 512).map(|_| ()), Err(BlockError::Io));
    rig.check_clean();
}

#[test]
fn what_makes_no_sense_is_not_sent() {
    let offer = Offer { sector_bytes: 4096, ..Offer::ALL };
    let mut rig = Rig::new(SMALL, offer, 1 << 10);
    assert_eq!(rig.write(4, &[1; 4096]), Err(BlockError::Misaligned));
    assert_eq!(rig.write(8, &[1; 512]), Err(BlockError::Misaligned));
    assert_eq!(rig.write(8, &[1; 100]), Err(BlockError::Misaligned));
    assert_eq!(rig.write(1 << 10, &[1; 4096]), Err(BlockError::OutOfRange));
    assert_eq!(rig.write(u64::MAX - 7, &[1; 4096]), Err(BlockError::OutOfRange));
    assert_eq!(rig.write(8, &[]), Ok(()));
    assert_eq!(rig.read(1 << 10, 0), Ok(Vec::new()));
    assert_eq!(rig.engine.counters().sent, 0);
    assert_eq!(rig.write((1 << 10) - 8, &[1; 4096]), Ok(()));
}

#[test]
fn a_read_only_disk_is_not_written() {
    let offer = Offer { read_only: true, ..Offer::ALL };
    let mut rig = Rig::new(SMALL, offer, 1 << 10);
    assert_eq!(rig.write(0, &[1; 512]), Err(BlockError::ReadOnly));
    let discard = Action::Discard { secure: false };
    assert_eq!(rig.plain(discard, 0, 8), Err(BlockError::ReadOnly));
    assert_eq!(rig.read(0, 512), Ok(vec![0; 512]));
    assert_eq!(rig.plain(Action::Flush, 0, 0), Ok(()));
    assert_eq!(rig.engine.counters().sent, 1);
}

#[test]
fn a_flush_or_a_barrier_or_the_truth() {
    let claims = [(true, true, 3), (true, false, 3), (false, true, 2)];
    for (flush, barrier, operation) in claims {
        let offer = Offer { flush, barrier, ..Offer::ALL };
        let mut rig = Rig::new(SMALL, offer, 1 << 10);
        rig.write(7, &[7; 512]).unwrap();
        assert_eq!(rig.plain(Action::Flush, 0, 0), Ok(()));
        assert_eq!(rig.backend.done.get(&operation), Some(&1));
        rig.disk.power_cut(|_| 0);
        assert_eq!(rig.disk.read(7), [7; 512]);
    }
    let offer = Offer { flush: false, barrier: false, ..Offer::ALL };
    let mut rig = Rig::new(SMALL, offer, 1 << 10);
    assert_eq!(rig.engine.durability(), Durability::Unknown);
    assert_eq!(rig.plain(Action::Flush, 0, 0), Err(BlockError::NoFlush));
    assert_eq!(rig.submit_write(0, &[1; 512], true), Err(BlockError::NoFlush));
    assert_eq!(rig.write(0, &[1; 512]), Ok(()));
}

#[test]
fn what_was_offered_may_turn_out_not_to_work() {
    let mut rig = Rig::detached(SMALL, Offer { barrier: true, ..Offer::NONE }, 1 << 20);
    rig.connect_claiming(Offer::ALL);
    rig.write(0, &pattern(1, 128 << 10)).unwrap();
    assert_eq!(rig.backend.largest, 11, "indirect requests do not work");
    assert_eq!(rig.plain(Action::Flush, 0, 0), Ok(()));
    assert_eq!(rig.engine.durability(), Durability::Barrier);
    let secure = Action::Discard { secure: true };
    assert_eq!(rig.plain(secure, 0, 8), Err(BlockError::NotSupported));
    assert!(rig.engine.discard_limits().is_some_and(|limits| !limits.secure));
    let discard = Action::Discard { secure: false };
    assert_eq!(rig.plain(discard, 0, 8), Err(BlockError::NotSupported));
    assert_eq!(rig.engine.discard_limits(), None);
    let sent = rig.engine.counters().sent;
    assert_eq!(rig.plain(discard, 0, 8), Err(BlockError::NotSupported));
    assert_eq!(rig.engine.counters().sent, sent, "it is not asked again");

    let mut rig = Rig::detached(SMALL, Offer::NONE, 1 << 20);
    rig.connect_claiming(Offer::ALL);
    let durable = rig.submit_write(0, &[1; 512], true).unwrap();
    rig.settle();
    assert_eq!(rig.result(durable).unwrap().0, Err(BlockError::NoFlush));
    assert_eq!(rig.engine.durability(), Durability::Unknown);
}

#[test]
fn discards_reach_the_disk() {
    let mut rig = Rig::new(SMALL, Offer::ALL, 4 << 30);
    let large = 3 << 30;
    rig.write(large, &[1; 1024]).unwrap();
    assert_eq!(rig.plain(Action::Discard { secure: true }, 0, 4 << 30), Ok(()));
    assert_eq!(rig.read(large, 512), Ok(vec![0xdd; 512]));
    assert_eq!(rig.backend.done.get(&5), Some(&1));
}

#[test]
fn pages_that_stay_granted_are_used_again() {
    let config = Config { persistent: true, pool_pages: 8, indirect_segments_max: 16, ..SMALL };
    let offer = Offer { persistent: true, ..Offer::ALL };
    let mut rig = Rig::new(config, offer, 1 << 20);
    for round in 0..20 {
        rig.write(round * 8, &pattern(round, 40 << 10)).unwrap();
        assert_eq!(rig.read(round * 8, 40 << 10).unwrap(), pattern(round, 40 << 10));
        let mut slice = vec![0; 4096];
        let id = submit_slice(&mut rig, Action::Read, round * 8, &slice).unwrap();
        rig.settle();
        let done = rig.engine.poll_slice(id, &mut slice, Waker::noop());
        assert_eq!(done, Poll::Ready(Ok(())));
        assert_eq!(slice, pattern(round, 40 << 10)[..4096]);
    }
    assert!(rig.grants.counters().in_use <= 1 + 8 + 16 + 1);
    assert_eq!(rig.engine.counters().covered_pages, 20 * 20);
    rig.check_clean();
}

fn submit_slice(
    rig: &mut Rig,
    action: Action,
    first: u64,
    data: &[u8],
) -> Result<JobId, BlockError> {
    let asker = (&mut None, Waker::noop());
    let source = if action == Action::Read { Source::Nothing } else { Source::Bytes(data) };
    let what = (data.len(), source);
    match rig.engine.poll_submit_slice(action, Sector(first), what, asker) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("no pages"),
    }
}

#[test]
fn many_queues_share_the_work() {
    let config = Config { merge: false, ..SMALL };
    let mut rig = Rig::detached(config, Offer::ALL, 1 << 20);
    rig.layout = (1, 4);
    rig.connect();
    let jobs: Vec<_> =
        (0..200).map(|n| rig.submit_write(n * 8, &pattern(n, 512), false).unwrap()).collect();
    let service = rig.engine.service().unwrap();
    assert_eq!(service.notify, 0b1111);
    assert_eq!((rig.engine.open_requests(), rig.backend.take()), (200, 200));
    rig.settle();
    for (n, job) in jobs.into_iter().enumerate() {
        assert!(rig.result(job).unwrap().0.is_ok());
        assert_eq!(rig.disk.read(n as u64 * 8)[..], pattern(n as u64, 512));
    }
    rig.check_clean();
}

#[test]
fn a_full_ring_holds_back_and_nothing_is_lost() {
    let config = Config { merge: false, ..SMALL };
    let mut rig = Rig::new(config, Offer::ALL, 1 << 20);
    let jobs: Vec<_> =
        (0..500).map(|n| rig.submit_write(n, &pattern(n, 512), false).unwrap()).collect();
    rig.engine.service().unwrap();
    assert_eq!((rig.engine.open_requests(), rig.backend.take()), (32, 32));
    rig.settle();
    for (n, job) in jobs.into_iter().enumerate() {
        assert!(rig.result(job).unwrap().0.is_ok());
        assert_eq!(rig.disk.read(n as u64)[..], pattern(n as u64, 512));
    }
    rig.check_clean();
}

#[test]
fn few_grants_make_requests_small() {
    // One for the ring; three are left for data and segments.
    let config = Config { grants_max: 4, ..SMALL };
    let mut rig = Rig::new(config, Offer::ALL, 1 << 20);
    rig.write(0, &pattern(1, 64 << 10)).unwrap();
    assert!(rig.backend.largest <= 2);
    assert_eq!(rig.read(0, 64 << 10).unwrap(), pattern(1, 64 << 10));
    rig.check_clean();
}

#[test]
fn no_grant_at_all_is_told_and_passes() {
    let config = Config { grants_max: 2, ..SMALL };
    let mut rig = Rig::new(config, Offer::NONE, 1 << 20);
    let page = xen::page::SharedPage::allocate().unwrap();
    let taken = rig.grants.grant(BACKEND, page, Access::ReadOnly).unwrap();
    let id = rig.submit_write(0, &pattern(1, 8192), false).unwrap();
    assert!(rig.engine.service().unwrap().starved);
    assert_eq!(rig.backend.take(), 0);
    drop(taken);
    rig.settle();
    assert_eq!(rig.result(id).unwrap().0, Ok(()));
    assert_eq!(rig.disk.read(15)[..], pattern(1, 8192)[15 * 512..]);
}

#[test]
fn a_backend_that_is_not_trusted_sees_nothing_but_the_data() {
    let mut rig = Rig::detached(SMALL, Offer::ALL, 1 << 20);
    rig.trusted = false;
    rig.connect();
    for action in [Action::Read, Action::Write { durable: false }] {
        let mut buffer = DmaBuffer::allocate(4096).unwrap();
        buffer.write(0, &[b's'; 4096]);
        buffer.set_len_bytes(1024);
        let id = rig.engine.submit_buffer(action, Sector(0), buffer).map_err(|e| e.0).unwrap();
        rig.engine.service().unwrap();
        rig.backend.take();
        let (ring, slot) = rig.backend.steal(0);
        let request = xen_abi::blkif::Direct::parse(&slot).unwrap();
        let peer = rig.xen.peer(BACKEND);
        let mut seen = [0; 4096];
        peer.copy_from(request.segments()[0].grant(), 0, &mut seen).unwrap();
        let data = if action == Action::Read { 0 } else { 1024 };
        assert!(seen[..data].iter().all(|byte| *byte == b's'));
        assert!(seen[data..].iter().all(|byte| *byte == 0));
        rig.backend.respond(ring, &okay(&slot));
        rig.settle();
        assert_eq!(rig.result(id).unwrap().0, Ok(()));
    }
}

fn okay(slot: &xen_abi::blkif::Slot) -> xen_abi::blkif::Response {
    xen_abi::blkif::Response {
        id: xen_abi::blkif::Request::id_of(slot),
        operation: xen_abi::blkif::Operation(slot[0]),
        status: xen_abi::blkif::Status::OKAY,
    }
}

#[test]
fn two_tebibytes_and_more() {
    for sector_bytes in [512, 4096] {
        let offer = Offer { sector_bytes, ..Offer::ALL };
        let end = (2u64 << 40) / 512 + 4096;
        let mut rig = Rig::new(SMALL, offer, end);
        for first in [(1 << 32) - 16, (1 << 32) - 8, 1 << 32, end - 16] {
            rig.write(first, &pattern(first, 8192)).unwrap();
            assert_eq!(rig.read(first, 8192).unwrap(), pattern(first, 8192));
        }
        assert_eq!(rig.write(end - 8, &[0; 8192]), Err(BlockError::OutOfRange));
        let largest = u64::MAX / 512 / 8 * 8;
        let mut rig = Rig::new(SMALL, offer, largest);
        rig.write(largest - 8, &[9; 4096]).unwrap();
        assert_eq!(rig.disk.read(largest - 1), [9; 512]);
    }
}

#[test]
fn a_resized_disk_is_as_large_as_it_says() {
    let mut rig = Rig::new(SMALL, Offer::ALL, 16);
    assert_eq!(rig.write(16, &[1; 512]), Err(BlockError::OutOfRange));
    rig.disk.resize(32);
    rig.engine.resize(32);
    assert_eq!(rig.write(31, &[1; 512]), Ok(()));
    // What waits for a place on the ring when the disk shrinks is not sent any more.
    let id = rig.submit_write(31, &[2; 512], false).unwrap();
    rig.engine.resize(16);
    rig.settle();
    assert_eq!(rig.result(id).unwrap().0, Err(BlockError::OutOfRange));
    assert_eq!(rig.disk.read(31), [1; 512]);
}
