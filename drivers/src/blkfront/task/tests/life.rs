//! Backends that come, go, die and lie; domains that are resumed; disks that grow; requests that
//! outlive them all.

use super::*;
use core::future::poll_fn;
use core::task::Poll;
use std::time::Duration;
use xen::testing::FakeXen;
use xen_abi::DomId;
use xen_abi::blkif::{Operation, RequestId, Response, Status};

fn connected() -> (World, BlockDevice<FakeXen>) {
    with_pages_kept(false)
}

fn with_pages_kept(persistent: bool) -> (World, BlockDevice<FakeXen>) {
    let offer = Offer { persistent, ..Offer::ALL };
    World::connected(Config::DEFAULT, (RamDisk::new(1 << 16), offer))
}

/// Writes and reads that are under way at once.
fn under_way(world: &mut World, device: &BlockDevice<FakeXen>) -> Vec<world::Outcome<bool>> {
    (0..40u64)
        .map(|n| {
            let device = device.clone();
            world.spawn(async move {
                let data = pattern(n as usize, 16 << 10);
                device.write_durable(Sector(n * 40), &data).await.unwrap();
                let mut read = vec![0; 16 << 10];
                device.read(Sector(n * 40), &mut read).await.unwrap();
                read == data
            })
        })
        .collect()
}

#[test]
fn requests_outlive_their_backend() {
    for persistent in [false, true] {
        let (mut world, device) = with_pages_kept(persistent);
        world.back.answers = false;
        let tasks = under_way(&mut world, &device);
        world.settle();
        assert!(world.back.backend.waiting() > 3);
        for _ in 0..3 {
            world.back.answer(1);
        }
        world.back.die();
        world.settle();
        assert!(tasks.iter().all(|task| task.take().is_none()));
        world.restart_backend(DomId(4));
        world.settle_anew();
        assert!(tasks.iter().all(world::Outcome::get));
        let (in_use, quarantined) = world.grants_in_use();
        assert_eq!(quarantined, 0);
        assert!(persistent || in_use - 4 == 1, "rings, and a page for segments");
    }
}

#[test]
fn what_a_dead_backend_had_in_its_cache_is_told_at_the_next_flush() {
    let (mut world, device) = connected();
    let (clone, other) = (device.clone(), device.clone());
    world.run(async move { clone.write(Sector(0), &[1; 512]).await.unwrap() });
    world.back.die();
    world.restart_backend(DomId(4));
    world.settle_anew();
    world.run(async move {
        assert_eq!(device.flush().await, Err(BlockError::WritesLost));
        assert_eq!(device.flush().await, Ok(()));
        assert_eq!(other.flush().await, Err(BlockError::WritesLost), "each handle is told once");
    });
}

#[test]
fn a_backend_that_closes_and_comes_again_loses_nothing() {
    let (mut world, device) = connected();
    let tasks = under_way(&mut world, &device);
    world.back.set_state(5);
    world.settle_anew();
    assert!(tasks.iter().all(world::Outcome::get));
    assert_eq!((world.back.own_state(), world.back.front_state()), (4, 4));
    world.run(async move { assert_eq!(device.flush().await, Ok(())) });
    assert_eq!(world.grants_in_use().1, 0);
}

#[test]
fn a_backend_that_comes_and_goes_costs_a_connection_now_and_then() {
    let (mut world, device) = connected();
    for _ in 0..10 {
        world.back.set_state(5);
        world.settle();
    }
    assert_eq!((world.back.own_state(), world.back.front_state()), (6, 6), "it waits");
    world.settle_anew();
    world.run(async move { assert_eq!(device.flush().await, Ok(())) });
}

#[test]
fn a_domain_that_is_resumed_goes_on() {
    for persistent in [false, true] {
        let (mut world, device) = with_pages_kept(persistent);
        world.back.answers = false;
        let tasks = under_way(&mut world, &device);
        world.settle();
        world.resume();
        world.settle_anew();
        assert!(world.ended.take().is_none());
        assert!(tasks.iter().all(world::Outcome::get));
        world.run(async move { assert_eq!(device.flush().await, Ok(())) });
        assert_eq!(world.grants_in_use().1, 0);
    }
}

#[test]
fn an_unplugged_disk_fails_what_is_asked_of_it() {
    let (mut world, device) = connected();
    world.back.answers = false;
    let clone = device.clone();
    let sent = world.spawn(async move { clone.write(Sector(0), &[1; 512]).await });
    world.settle();
    world.store.unplug(&world.back.back_path);
    world.settle();
    assert_eq!(world.back.front_state(), 4, "it waits for what is under way");
    let clone = device.clone();
    let late = world.spawn(async move { clone.read(Sector(9), &mut [0; 512]).await });
    world.settle();
    assert_eq!(world.back.backend.waiting(), 1, "and sends nothing more");
    world.back.answer(0);
    world.settle();
    assert_eq!(sent.get(), Ok(()));
    assert_eq!((world.back.front_state(), world.back.own_state()), (6, 6));
    let clone = device.clone();
    let waits = world.spawn(async move { clone.read(Sector(0), &mut [0; 512]).await });
    let clone = device.clone();
    let changed = world.spawn(async move { clone.changed().await });
    world.settle();
    world.store.remove(&world.back.front_path);
    world.store.remove(&world.back.back_path);
    world.settle_anew();
    let reason = CloseReason::Unplugged;
    assert_eq!(waits.get(), Err(BlockError::Gone(reason)));
    assert_eq!(late.get(), Err(BlockError::Gone(reason)));
    assert_eq!(changed.get(), Err(reason));
    assert_eq!(world.ended.take(), Some(reason));
    assert_eq!(world.grants_in_use(), (0, 0));
    world.run(async move {
        assert_eq!(device.flush().await, Err(BlockError::Gone(reason)));
    });
}

#[test]
fn a_disk_that_is_torn_out_fails_too() {
    let (mut world, device) = connected();
    world.back.answers = false;
    let clone = device.clone();
    let sent = world.spawn(async move { clone.write(Sector(0), &[1; 512]).await });
    world.settle();
    world.store.remove(&world.back.front_path);
    world.settle();
    assert_eq!(sent.get(), Err(BlockError::Gone(CloseReason::Unplugged)));
}

#[test]
fn a_resized_disk_is_seen_at_once() {
    let (mut world, device) = connected();
    let clone = device.clone();
    let changed = world.spawn(async move { clone.changed().await.map(|g| g.capacity_sectors) });
    world.settle();
    assert!(changed.take().is_none());
    world.back.resize(1 << 17);
    world.settle();
    assert_eq!(changed.get(), Ok(1 << 17));
    let clone = device.clone();
    world.run(async move {
        assert_eq!(clone.write(Sector((1 << 17) - 1), &[1; 512]).await, Ok(()));
        assert_eq!(clone.changed().await.map(|g| g.capacity_sectors), Ok(1 << 17));
    });
    world.back.resize(1 << 10);
    world.settle();
    world.back.tell("sectors", "nonsense");
    world.settle();
    assert_eq!(device.geometry().capacity_sectors, 1 << 10);
    world.run(async move {
        let beyond = device.write(Sector(1 << 10), &[1; 512]).await;
        assert_eq!(beyond, Err(BlockError::OutOfRange));
    });
}

#[test]
fn a_lie_closes_the_disk_and_nothing_else() {
    let (mut world, device) = connected();
    world.back.answers = false;
    let clone = device.clone();
    let sent = world.spawn(async move { clone.write(Sector(0), &[1; 512]).await });
    world.settle();
    let id = RequestId(77);
    let response = Response { id, operation: Operation::WRITE, status: Status::OKAY };
    assert!(world.back.backend.respond(0, &response));
    world.back.notify(0);
    world.settle();
    let reason = CloseReason::Lie(Lie::Id(id));
    assert_eq!(sent.get(), Err(BlockError::Gone(reason)));
    assert_eq!(world.ended.take(), Some(reason));
    assert_eq!((world.back.front_state(), world.back.own_state()), (6, 6));
    let text = world.store.text("/local/domain/7/error/device/vbd/51712/error").unwrap();
    assert_eq!(text, "request 0x4d is not open");
    world.grants.reclaim();
    assert_eq!(world.grants_in_use(), (0, 0));
    world.run(async move {
        let read = device.read(Sector(0), &mut [0; 512]).await;
        assert_eq!(read, Err(BlockError::Gone(reason)));
    });
}

#[test]
fn a_liar_that_does_not_let_go_keeps_what_it_has_and_no_more() {
    let (mut world, device) = connected();
    world.back.answers = false;
    let sent = world.spawn(async move { device.write(Sector(0), &[1; 512]).await });
    world.settle();
    world.back.dead = true;
    let (id, operation) = (RequestId(u64::MAX), Operation::WRITE);
    world.back.backend.respond(0, &Response { id, operation, status: Status::OKAY });
    world.back.notify(0);
    world.settle();
    assert_eq!(sent.get(), Err(BlockError::Gone(CloseReason::Lie(Lie::Id(id)))));
    assert!(world.ended.take().is_none(), "it is given time");
    world.timer.advance(Duration::from_secs(10));
    world.settle();
    assert!(world.ended.take().is_some());
    assert_eq!(world.grants_in_use(), (0, 4), "the ring is set aside");
}

#[test]
fn a_disk_whose_driver_is_dropped_is_closed() {
    let disk = (RamDisk::new(64), Offer::ALL);
    let world = World::new(Config::DEFAULT, disk, |_| ());
    let connecting = world.connecting.clone();
    drop(world);
    let waker = core::task::Waker::noop();
    let mut ready = core::pin::pin!(connecting.ready());
    let poll = ready.as_mut().poll(&mut core::task::Context::from_waker(waker));
    assert!(matches!(poll, Poll::Ready(Err(CloseReason::Stopped))));
}

#[test]
fn events_for_nothing_are_held_back() {
    let (mut world, device) = connected();
    let mut polls = 0;
    for _ in 0..1000 {
        world.back.notify(0);
        world.events.dispatch();
        polls += world.poll_tasks();
    }
    assert!(polls < 70, "{polls}");
    // An answer that comes now is seen a millisecond later.
    let clone = device.clone();
    let read = world.spawn(async move { clone.read(Sector(0), &mut [0; 512]).await });
    world.settle();
    world.timer.advance(Duration::from_millis(1));
    world.settle();
    assert_eq!(read.get(), Ok(()));
    world.run(async move { assert_eq!(device.read(Sector(0), &mut [0; 512]).await, Ok(())) });
}

#[test]
fn a_request_that_finds_no_grant_is_tried_again() {
    let config = Config { grants_max: 5, ring_order_max: 2, ..Config::DEFAULT };
    let offer = Offer { indirect_segments: 0, ..Offer::ALL };
    let (mut world, device) = World::connected(config, (RamDisk::new(64), offer));
    let grants = world.disk_grants.clone();
    let page = xen::page::SharedPage::allocate().unwrap();
    let taken = grants.grant(BACK, page, xen::gnttab::Access::ReadOnly).unwrap();
    let read = world.spawn(async move { device.read(Sector(0), &mut [0; 8192]).await });
    world.settle();
    world.timer.advance(Duration::from_millis(10));
    world.settle();
    assert!(read.take().is_none());
    drop(taken);
    world.timer.advance(Duration::from_millis(10));
    world.settle();
    assert_eq!(read.get(), Ok(()));
}

#[test]
fn handles_and_futures_can_go_to_other_threads() {
    fn shareable<T: Send + Sync>(_: &T) {}
    fn movable<T: Send>(_: T) {}
    fn all_movable(device: BlockDevice<FakeXen>, driver: Driver<FakeXen, world::FakeTimer>) {
        movable(async move { driver.run().await });
        movable(async move {
            let mut bytes = [0; 512];
            let _ = device.read(Sector(0), &mut bytes).await;
            let _ = device.write(Sector(0), &bytes).await;
            let _ = device.write_bytes(3, &bytes).await;
            let _ = device.flush().await;
            let _ = device.changed().await;
        });
    }
    let _ = all_movable;
    let (mut world, device) = connected();
    shareable(&device);
    let never = world.spawn(async move {
        let mut pending = core::pin::pin!(device.changed());
        poll_fn(|context| Poll::Ready(pending.as_mut().poll(context).is_pending())).await
    });
    world.settle();
    assert!(never.get());
}
