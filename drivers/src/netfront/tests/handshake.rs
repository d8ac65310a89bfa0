//! What is told to the backend, and what is believed of its keys.

use super::*;
use std::format;
use std::string::String;
use std::vec::Vec;

#[test]
fn a_device_connects_with_all_that_there_is() {
    let config = Config { queues: 2, multicast_filter: true, ..Config::default() };
    let world = World::connected(config, &ALL);
    let link = world.device.link();
    assert_eq!(link.mac.0, [0, 0x16, 0x3e, 1, 2, 3]);
    assert_eq!(link.mtu_bytes, 1500);
    let all =
        Offload { checksum_v4: true, checksum_v6: true, segments_v4: true, segments_v6: true };
    assert_eq!(link.offload, all);
    assert_eq!((world.back.own_state(), world.back.front_state()), (4, 4));
    assert_eq!(world.back.queues.len(), 2);
    for key in ["feature-sg", "feature-gso-tcpv4", "feature-ipv6-csum-offload"] {
        assert_eq!(world.back.front(key), Some(1), "{key}");
    }
    assert_eq!(world.back.front("feature-no-csum-offload"), Some(0));
    assert_eq!(world.back.front("request-multicast-control"), Some(1));
    assert_eq!(world.back.front("tx-ring-ref"), None);
}

#[test]
fn a_device_connects_with_the_least_that_there_is() {
    let none = [("feature-rx-copy", 1), ("feature-no-csum-offload", 1)];
    let world = World::connected(Config { queues: 4, ..Config::default() }, &none);
    assert_eq!(world.device.link().offload, Offload::default());
    assert_eq!(world.device.link().mtu_bytes, 1500);
    assert!(world.back.front("event-channel").is_some());
    let off = Config {
        split_channels: false,
        scatter_gather: false,
        large_receive: false,
        segments: false,
        checksums: false,
        ..Config::default()
    };
    let world = World::connected(off, &ALL);
    assert_eq!(world.device.link().offload, Offload::default());
    for key in ["feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6", "feature-ipv6-csum-offload"]
    {
        assert_eq!(world.back.front(key), Some(0), "{key}");
    }
    assert_eq!(world.back.front("feature-no-csum-offload"), Some(1));
}

#[test]
fn pages_are_posted_before_the_backend_looks() {
    let mut world = World::new(Config::default(), &ALL);
    world.settle();
    let pending = world.back.queues[0].rx.ring.pending();
    assert_eq!(pending, Ok(64));
}

#[test]
fn the_mtu_is_what_the_toolstack_says_and_one_page_without_scatter_gather() {
    for (mtu, features, expected) in [
        ("9000", &ALL[..], Some(9000)),
        ("68", &ALL[..], Some(68)),
        ("65521", &ALL[..], Some(65521)),
        ("9000", &[("feature-rx-copy", 1)][..], Some(4082)),
        ("67", &ALL[..], None),
        ("65522", &ALL[..], None),
        ("many", &ALL[..], None),
    ] {
        let mut world = World::new(Config::default(), features);
        world.store.write(&format!("{}/mtu", world.back.front_path), mtu);
        world.settle();
        let link = world.device.link();
        assert_eq!(link.up.then_some(link.mtu_bytes), expected, "{mtu}");
    }
}

#[test]
fn keys_that_make_no_sense_close_the_device_and_are_named() {
    for (front, key, value) in [
        (true, "mac", "00:16:3e:01:02"),
        (true, "mac", "01:16:3e:01:02:03"),
        (true, "mac", "ff:ff:ff:ff:ff:ff"),
        (false, "feature-sg", "yes"),
        (false, "feature-sg", "2"),
        (false, "feature-rx-copy", "0"),
        (false, "multi-queue-max-queues", "-1"),
        (false, "carrier", "up"),
    ] {
        let mut world = World::new(Config::default(), &[]);
        for (known, one) in ALL {
            world.store.write(&format!("{}/{known}", world.back.back_path), &format!("{one}"));
        }
        let folder = if front { &world.back.front_path } else { &world.back.back_path };
        world.store.write(&format!("{folder}/{key}"), value);
        world.settle();
        assert!(!world.device.link().up, "{key}={value}");
        let error = world.ended.borrow().clone();
        assert!(matches!(error, Some(NetError::Device(_))), "{key}={value}: {error:?}");
        assert_eq!(world.back.front_state(), 6);
        let text: String = world.store.text("/local/domain/7/error/device/vif/0/error").unwrap();
        assert!(text.contains(key), "{text}");
        assert_eq!(world.grants_in_use(), (0, 0));
    }
}

#[test]
fn what_an_earlier_kernel_has_left_is_closed_first() {
    let mut world = World::new(Config::default(), &ALL);
    let left = ["event-channel=9", "multi-queue-num-queues=7", "state=4"];
    for line in left {
        let (key, value) = line.split_once('=').unwrap();
        world.store.write(&format!("{}/{key}", world.back.front_path), value);
    }
    world.back.set_state(4);
    world.settle();
    assert!(world.device.link().up);
    assert_eq!(world.back.front("event-channel"), None, "it would mislead");
    assert_eq!(world.back.front("multi-queue-num-queues"), Some(1));
}

#[test]
fn the_carrier_is_the_backends() {
    let mut world = World::connected(Config::default(), &ALL);
    let path = format!("{}/carrier", world.back.back_path);
    let generation = world.device.link().generation;
    let mut seen = Vec::new();
    for value in ["0", "0", "1"] {
        world.store.write(&path, value);
        world.settle();
        seen.push((world.ready(), world.device.link().up, world.device.link().generation));
    }
    let expected = [
        (true, false, generation + 1),
        (false, false, generation + 1),
        (true, true, generation + 2),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_driver_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let world = World::new(Config::default(), &ALL);
    let domain = Domain {
        store: world.guest.store.clone(),
        grants: world.grants.clone(),
        events: world.events.clone(),
    };
    let (device, mut driver) = new(Config::default(), domain, world.timer.clone());
    is_send(&device);
    is_send(&driver.run(0));
}
