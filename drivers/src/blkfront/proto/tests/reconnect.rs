//! The connection ends with requests on the ring: they are sent again, in their order.

use super::*;
use xen::Hypervisor as _;
use xen_abi::blkif::{Direct, DirectOperation, Request};

/// The first sectors of the requests that the backend has before it.
fn sectors_asked(rig: &mut Rig) -> Vec<u64> {
    let waiting = rig.backend.take();
    let slots: Vec<_> = (0..waiting).map(|_| rig.backend.steal(0).1).collect();
    let sector = |slot| match Request::parse(slot).unwrap() {
        Request::Direct(request) => request.sector.0,
        Request::Indirect(request) => request.sector.0,
        Request::Discard(request) => request.sector.0,
    };
    slots.iter().map(sector).collect()
}

#[test]
fn requests_are_sent_again_in_order() {
    let config = Config { merge: false, ..Config::DEFAULT };
    let mut rig = Rig::new(config, Offer::ALL, 1 << 16);
    let first = rig.submit_write(3, &pattern(3, 80 << 10), false).unwrap();
    let jobs: Vec<_> = (0..40)
        .map(|n| rig.submit_write(1000 + (n * 7) % 40 * 8, &pattern(n, 4096), false).unwrap())
        .collect();
    rig.engine.service().unwrap();
    let before = sectors_asked(&mut rig);
    assert_eq!(before.len(), 32);
    rig.disconnect(Ending::Orderly);
    // The new backend takes less at once.
    rig.backend.offer = Offer::NONE;
    rig.connect();
    rig.engine.service().unwrap();
    let after = sectors_asked(&mut rig);
    assert_eq!(after[..2], [3, 3 + 88], "in pieces now");
    assert_eq!(after[2..], before[1..31]);
    rig.disconnect(Ending::Orderly);
    rig.connect();
    rig.settle();
    assert_eq!(rig.result(first).unwrap().0, Ok(()));
    assert!(jobs.into_iter().all(|job| rig.result(job).unwrap().0 == Ok(())));
    assert_eq!(rig.read(3, 80 << 10).unwrap(), pattern(3, 80 << 10));
    rig.check_clean();
}

#[test]
fn what_is_asked_for_meanwhile_waits() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    rig.disconnect(Ending::Orderly);
    let write = rig.submit_write(0, &[1; 512], true).unwrap();
    let read = rig.submit_read(0, 512).unwrap();
    assert_eq!(rig.engine.service(), Ok(Service::default()));
    assert!(rig.result(write).is_none() && rig.result(read).is_none());
    rig.connect();
    rig.settle();
    assert_eq!(rig.result(write).unwrap().0, Ok(()));
    assert_eq!(contents(&rig.result(read).unwrap().1), [1; 512]);
}

#[test]
fn a_suspended_domain_goes_on_as_another_one() {
    for persistent in [false, true] {
        let config = Config { persistent, ..Config::DEFAULT };
        let offer = Offer { persistent, ..Offer::ALL };
        let mut rig = Rig::new(config, offer, 1 << 10);
        let data = pattern(1, 64 << 10);
        let write = rig.submit_write(8, &data, true).unwrap();
        let mut slice = [0; 4096];
        let asker = (&mut None, Waker::noop());
        let what = (slice.len(), Source::Nothing);
        let read = rig.engine.poll_submit_slice(Action::Read, Sector(8), what, asker);
        let Poll::Ready(Ok(read)) = read else { panic!("no pages") };
        rig.engine.service().unwrap();
        assert!(rig.backend.take() > 0);
        rig.backend.detach();
        rig.xen.suspend().unwrap();
        rig.grants.resume().unwrap();
        rig.engine.detach(Ending::Orderly);
        rig.connect();
        rig.settle();
        assert_eq!(rig.result(write).unwrap().0, Ok(()));
        let done = rig.engine.poll_slice(read, &mut slice, Waker::noop());
        assert_eq!(done, Poll::Ready(Ok(())));
        assert_eq!(slice[..], data[..4096]);
        rig.check_clean();
    }
}

#[test]
fn the_next_backend_sees_nothing_that_the_last_one_gave() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    let write = |rig: &mut Rig, len_bytes| {
        let (action, data) = (Action::Write { durable: false }, vec![7; len_bytes]);
        let what = (len_bytes, Source::Bytes(&data));
        let asker = (&mut None, Waker::noop());
        let submitted = rig.engine.poll_submit_slice(action, Sector(0), what, asker);
        let Poll::Ready(Ok(id)) = submitted else { panic!("no pages") };
        id
    };
    let id = write(&mut rig, 4096);
    rig.settle();
    assert!(rig.engine.poll_slice(id, &mut [], Waker::noop()).is_ready());
    rig.disconnect(Ending::Orderly);
    rig.connect();
    write(&mut rig, 512);
    rig.engine.service().unwrap();
    rig.backend.take();
    let (_, slot) = rig.backend.steal(0);
    let grant = Direct::parse(&slot).unwrap().segments()[0].grant();
    let mut seen = [0; 1024];
    rig.xen.peer(BACKEND).copy_from(grant, 0, &mut seen).unwrap();
    assert_eq!((seen[0], seen[511], seen[512], seen[1023]), (7, 7, 0, 0));
}

#[test]
fn data_outlives_a_backend_that_keeps_its_pages() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    let id = rig.submit_write(0, &pattern(1, 4096), false).unwrap();
    rig.engine.service().unwrap();
    rig.backend.take();
    let (_, slot) = rig.backend.steal(0);
    let request = Direct::parse(&slot).unwrap();
    assert_eq!(request.operation, DirectOperation::Write);
    let peer = rig.xen.peer(BACKEND);
    let mapping = peer.map(request.segments()[0].grant(), Access::ReadOnly).unwrap();
    rig.disconnect(Ending::Death);
    assert_eq!(rig.grants.counters().quarantined, 1);
    rig.connect();
    rig.settle();
    let (result, buffer) = rig.result(id).unwrap();
    assert_eq!(result, Ok(()));
    assert_eq!(contents(&buffer), pattern(1, 4096));
    assert_eq!(rig.disk.read(7)[..], pattern(1, 4096)[7 * 512..]);
    assert!(!mapping.page().is_freed());
    peer.unmap(mapping);
    rig.check_clean();
}

#[test]
fn a_disk_that_came_back_smaller_or_read_only() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    let beyond = rig.submit_write(56, &[1; 512], false).unwrap();
    let write = rig.submit_write(0, &[1; 512], false).unwrap();
    let read = rig.submit_read(0, 512).unwrap();
    rig.engine.service().unwrap();
    rig.disconnect(Ending::Orderly);
    rig.disk.resize(32);
    rig.connect();
    rig.settle();
    assert_eq!(rig.result(beyond).unwrap().0, Err(BlockError::OutOfRange));
    assert_eq!(rig.result(write).unwrap().0, Ok(()));
    assert_eq!(rig.result(read).unwrap().0, Ok(()));
    let write = rig.submit_write(0, &[1; 512], false).unwrap();
    rig.engine.service().unwrap();
    rig.disconnect(Ending::Orderly);
    rig.backend.offer.read_only = true;
    rig.connect();
    rig.settle();
    assert_eq!(rig.result(write).unwrap().0, Err(BlockError::ReadOnly));
}

#[test]
fn everything_ends_with_the_disk() {
    let mut rig = Rig::new(Config { pool_pages: 2, ..Config::DEFAULT }, Offer::ALL, 64);
    let jobs = [
        rig.submit_write(0, &[1; 512], true).unwrap(),
        rig.submit_read(0, 512).unwrap(),
        rig.engine.submit_plain(Action::Flush, SectorRange::default()).unwrap(),
    ];
    let what = (8192, Source::Nothing);
    let mut place = None;
    let taken =
        rig.engine.poll_submit_slice(Action::Read, Sector(0), what, (&mut None, Waker::noop()));
    assert!(taken.is_ready());
    let waits =
        rig.engine.poll_submit_slice(Action::Read, Sector(0), what, (&mut place, Waker::noop()));
    assert!(waits.is_pending());
    rig.engine.service().unwrap();
    rig.engine.take_wakers();
    rig.backend.detach();
    rig.engine.close(CloseReason::Unplugged);
    assert_eq!(rig.engine.take_wakers().len(), 1, "who waits for pages is told");
    let gone = Err(BlockError::Gone(CloseReason::Unplugged));
    for job in jobs {
        assert_eq!(rig.result(job).unwrap().0, gone);
    }
    rig.engine.close(CloseReason::Stopped);
    rig.connect();
    assert_eq!(rig.engine.close_reason(), Some(CloseReason::Unplugged), "for good");
}
