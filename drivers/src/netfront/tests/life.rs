//! Backends that come, go, die and lie; domains that are resumed; packets that outlive them all.

use super::*;
use crate::netfront::testing::{BACK, FRONT};
use std::format;
use std::time::Duration;
use std::vec::Vec;

/// A packet that is told from others by its number.
fn numbered(number: u8) -> Vec<u8> {
    let mut bytes = pattern(number.into(), 60);
    bytes[12..14].copy_from_slice(&[0x88, number]);
    bytes
}

fn send(world: &mut World, numbers: core::ops::Range<u8>) {
    for number in numbers {
        world.transmit(&numbered(number), TxOffload::default());
    }
    world.device.flush();
}

/// What the backend has taken.
fn numbers(world: &mut World) -> Vec<u8> {
    world.back.take_all();
    let packets = world.back.packets();
    assert!(packets.iter().all(|packet| packet.bytes == numbered(packet.bytes[13])));
    packets.iter().map(|packet| packet.bytes[13]).collect()
}

#[test]
fn packets_that_wait_for_a_backend_are_sent_when_there_is_one() {
    let mut world = World::new(Config::default(), &ALL);
    send(&mut world, 0..5);
    assert!(world.device.can_transmit());
    world.settle();
    assert!(world.ready());
    assert_eq!(numbers(&mut world), [0, 1, 2, 3, 4]);
}

#[test]
fn a_backend_that_dies_takes_no_packet_with_it() {
    let mut world = World::connected(Config::default(), &ALL);
    send(&mut world, 0..10);
    // Three are taken, two of them answered.
    for _ in 0..3 {
        world.back.queues[0].tx.take_one().unwrap();
    }
    let _ = world.back.queues[0].tx.give_answers(2);
    let front_path = world.back.front_path.clone();
    world.back.die();
    world.settle();
    assert!(!world.device.link().up);
    assert!(world.ready(), "the stack is told");
    send(&mut world, 10..13);
    // A driver domain that was started again, with another number.
    let (_, back_path) = world.store.add_device("vif", 0, FRONT, xen_abi::DomId(4));
    world.store.write(&format!("{front_path}/mac"), "00:16:3e:01:02:03");
    world.back.peer = world.xen.peer(xen_abi::DomId(4));
    world.back.back_path = back_path;
    world.back.dead = false;
    world.settle_anew();
    assert!(world.device.link().up && world.ready());
    // A packet that the first one may have sent is sent again: better twice than not at all.
    assert_eq!(numbers(&mut world), (2..13).collect::<Vec<u8>>());
    let counters = world.device.counters();
    assert_eq!((counters.connections, counters.tx.sent_again), (2, 8));
}

#[test]
fn netback_can_be_reloaded() {
    let mut world = World::connected(Config::default(), &ALL);
    send(&mut world, 0..2);
    // The module goes and takes no packet: it closes all its devices. Then it comes again.
    world.back.set_state(5);
    world.settle_anew();
    assert!(world.device.link().up, "closed, and connected again");
    assert_eq!(world.device.counters().connections, 2);
    assert_eq!(numbers(&mut world), [0, 1]);
    send(&mut world, 2..4);
    assert_eq!(numbers(&mut world), [2, 3]);
}

#[test]
fn grants_end_only_when_the_backend_has_let_go() {
    let mut world = World::connected(Config::default(), &ALL);
    for round in 0..20 {
        send(&mut world, 0..5);
        assert_eq!(numbers(&mut world).len(), 5);
        world.back.set_state(5);
        world.settle_anew();
        let (in_use, quarantined) = world.grants_in_use();
        assert!(world.device.link().up);
        // Two rings and 64 pages to receive in; buffers are made when they are needed.
        assert_eq!((in_use, quarantined), (66, 0), "round {round}");
    }
}

#[test]
fn a_device_can_be_unplugged_and_plugged_in_again() {
    let mut world = World::connected(Config::default(), &ALL);
    send(&mut world, 0..3);
    world.store.unplug(&world.back.back_path);
    world.back.set_state(5);
    world.settle();
    assert_eq!(world.back.own_state(), 6);
    assert!(!world.device.link().up);
    world.store.remove(&world.back.front_path);
    world.store.remove(&world.back.back_path);
    world.settle_anew();
    assert_eq!(*world.ended.borrow(), Some(NetError::Gone));
    assert_eq!(world.grants_in_use(), (0, 0));
    let (front_path, _) = world.store.add_device("vif", 0, FRONT, BACK);
    world.store.write(&format!("{front_path}/mac"), "00:16:3e:0a:0b:0c");
    world.plug_again();
    world.settle();
    let link = world.device.link();
    assert!(link.up);
    assert_eq!(link.mac.0, [0, 0x16, 0x3e, 10, 11, 12]);
    assert_eq!(numbers(&mut world), [0, 1, 2]);
}

#[test]
fn a_domain_that_is_resumed_connects_again() {
    let mut world = World::connected(Config { queues: 2, ..Config::default() }, &ALL);
    send(&mut world, 0..4);
    world.resume();
    // The stack, or the store, sees it first: either is enough.
    world.ready();
    send(&mut world, 4..6);
    world.settle_anew();
    assert!(world.device.link().up, "{:?}", world.ended.borrow());
    assert!(world.ready());
    let mut got = numbers(&mut world);
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.grants_in_use().1, 0);
}

#[test]
fn a_lie_closes_the_device_and_nothing_else() {
    let mut world = World::connected(Config::default(), &ALL);
    send(&mut world, 0..2);
    world.back.queues[0].rx.pop().unwrap();
    world.back.queues[0].rx.respond(99, 0, 0, 60);
    world.back.publish();
    assert!(world.ready());
    assert!(world.receive_all().is_empty());
    assert!(!world.device.link().up);
    // It is not touched any more, and nothing is lost or blocked.
    send(&mut world, 2..4);
    assert!(world.receive_all().is_empty());
    world.settle();
    let lie = Lie::RxId { expected: 0, id: 99 };
    assert_eq!(*world.ended.borrow(), Some(NetError::Lie(lie)));
    assert_eq!((world.back.front_state(), world.back.own_state()), (6, 6));
    let text = world.store.text("/local/domain/7/error/device/vif/0/error").unwrap();
    assert!(text.ends_with("receive response with id 99 in the place of 0"), "{text}");
    assert_eq!(world.device.counters().lies, 1);
    assert_eq!(world.grants_in_use(), (0, 0));
}

#[test]
fn a_liar_that_does_not_let_go_keeps_what_it_has_and_no_more() {
    let mut world = World::connected(Config::default(), &ALL);
    world.back.dead = true;
    world.back.queues[0].tx.answers.push_back((7, 0));
    send(&mut world, 0..1);
    let mut slot = [0; 12];
    world.back.queues[0].tx.ring.pop(&mut slot).unwrap();
    let _ = world.back.queues[0].tx.give_answers(1);
    world.device.flush();
    world.settle();
    assert_eq!(*world.ended.borrow(), None, "it is given time");
    world.timer.advance(Duration::from_secs(10));
    world.settle();
    assert_eq!(*world.ended.borrow(), Some(NetError::Lie(Lie::TxId(7))));
    // The two rings are still mapped: they are set aside, and not given to anyone.
    assert_eq!(world.grants_in_use(), (0, 2));
    world.back.disconnect();
    world.grants.reclaim();
    assert_eq!(world.grants_in_use(), (0, 0));
}

#[test]
fn events_for_nothing_are_held_back() {
    let mut world = World::connected(Config::default(), &ALL);
    let port = world.back.queues[0].ports[1];
    while world.ready() {}
    for _ in 0..1000 {
        world.back.peer.notify(port);
        assert!(!world.ready());
    }
    let counters = world.device.counters();
    assert_eq!((counters.spurious_events, counters.throttled), (64, 1));
    // A packet that comes now is seen a millisecond later.
    assert!(world.back.queues[0].rx.deliver(&Delivery::plain(pattern(1, 60))));
    world.back.publish();
    assert!(!world.ready());
    world.settle();
    world.timer.advance(Duration::from_millis(1));
    world.settle();
    assert!(world.ready());
    assert_eq!(world.receive_all().len(), 1);
}

#[test]
fn memory_that_is_not_needed_is_given_back() {
    let mut world = World::connected(Config::default(), &ALL);
    let before = world.grants_in_use().0;
    for _ in 0..4 {
        while world.back.queues[0].rx.deliver(&Delivery::plain(pattern(1, 60))) {}
        world.back.publish();
        world.ready();
        world.receive_all();
        let big = pattern(2, 9000);
        for _ in 0..40 {
            world.transmit(&big, TxOffload::default());
        }
        world.device.flush();
        world.back.take_all();
    }
    assert_eq!(world.grants_in_use().0, before + 192 + 40 * 3);
    for _ in 0..12 {
        world.timer.advance(Duration::from_secs(10));
        world.settle();
        world.ready();
        // Pages that the backend has come back when they are filled.
        for _ in 0..40 {
            world.back.queues[0].rx.deliver(&Delivery::plain(pattern(1, 60)));
        }
        world.back.publish();
        world.receive_all();
        world.device.flush();
    }
    assert_eq!(world.grants_in_use().0, before);
}

#[test]
fn without_grants_packets_are_lost_and_counted() {
    let mut world = World::connected(Config::default(), &ALL);
    // The table is full: no pages for packets can be had.
    let mut all = Vec::new();
    while let Some(page) = xen::page::SharedPage::allocate() {
        match world.grants.grant(BACK, page, xen::gnttab::Access::ReadOnly) {
            Ok(granted) => all.push(granted),
            Err(_) => break,
        }
    }
    send(&mut world, 0..3);
    assert_eq!(world.device.counters().tx.no_memory, 3);
    all.truncate(all.len() - 2);
    send(&mut world, 3..6);
    assert_eq!(numbers(&mut world), [3, 4]);
    assert_eq!(world.device.counters().tx.no_memory, 4);
}
