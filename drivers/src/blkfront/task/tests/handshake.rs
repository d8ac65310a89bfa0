//! How a disk comes up, with every backend there is, or does not.

use super::*;
use std::string::String;
use std::time::Duration;

fn disk() -> RamDisk {
    RamDisk::new(1 << 16)
}

#[test]
fn a_disk_comes_up_with_what_both_sides_can() {
    let (world, device) = World::connected(Config::DEFAULT, (disk(), Offer::ALL));
    let geometry = device.geometry();
    assert_eq!((geometry.capacity_sectors, geometry.sector_bytes), (1 << 16, 512));
    assert_eq!(device.capacity_bytes(), 32 << 20);
    assert_eq!(device.durability(), Durability::Flush);
    assert!(device.discard_limits().is_some_and(|limits| limits.secure));
    assert_eq!((world.back.own_state(), world.back.front_state()), (4, 4));
    assert_eq!(world.back.front("ring-page-order").as_deref(), Some("2"));
    assert_eq!(world.back.front("num-ring-pages").as_deref(), Some("4"));
    assert!(world.back.front("ring-ref3").is_some() && world.back.front("ring-ref").is_none());
    assert_eq!(world.back.front("feature-persistent").as_deref(), Some("1"));
    assert_eq!(world.grants_in_use(), (4, 0));
}

#[test]
fn a_backend_that_knows_one_ring_of_one_page_gets_that() {
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::NONE), |back| {
        let optional = [
            "max-ring-page-order",
            "multi-queue-max-queues",
            "feature-flush-cache",
            "feature-barrier",
            "feature-discard",
            "discard-secure",
            "discard-granularity",
            "discard-alignment",
            "feature-persistent",
            "feature-max-indirect-segments",
            "info",
            "sector-size",
            "physical-sector-size",
        ];
        back.keys.extend(optional.map(|key| (key, None)));
    });
    let device = world.device().unwrap();
    assert_eq!(device.geometry().sector_bytes, 512);
    assert_eq!(device.durability(), Durability::Unknown);
    assert_eq!(device.discard_limits(), None);
    for key in ["ring-page-order", "num-ring-pages", "ring-ref0", "multi-queue-num-queues"] {
        assert_eq!(world.back.front(key), None, "{key}");
    }
    world.run(async move {
        device.write(Sector(3), &pattern(1, 100 << 10)).await.unwrap();
        let mut read = vec![0; 100 << 10];
        device.read(Sector(3), &mut read).await.unwrap();
        assert_eq!(read, pattern(1, 100 << 10));
        assert_eq!(device.flush().await, Err(BlockError::NoFlush));
    });
    assert_eq!(world.back.backend.largest, 11);
}

#[test]
fn several_rings_have_directories_of_their_own() {
    let config = Config { queues_max: 3, ring_order_max: 0, merge: false, ..Config::DEFAULT };
    let (mut world, device) = World::connected(config, (disk(), Offer::ALL));
    assert_eq!(world.back.front("multi-queue-num-queues").as_deref(), Some("3"));
    assert!(world.back.front("queue-2/ring-ref").is_some());
    assert!(world.back.front("queue-2/event-channel").is_some());
    assert_eq!(world.back.front("ring-ref"), None);
    let tasks: Vec<_> = (0..20u64)
        .map(|n| {
            let device = device.clone();
            world.spawn(async move { device.write(Sector(8 * n), &[n as u8; 512]).await })
        })
        .collect();
    world.settle();
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
}

#[test]
fn what_an_earlier_kernel_left_is_closed_first() {
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| {
        // It had several rings of one page each, and was connected.
        for (key, value) in [("ring-ref", "9"), ("multi-queue-num-queues", "2"), ("state", "4")] {
            back.tell_front(key, value);
        }
        back.set_state(4);
    });
    assert!(world.device().is_ok());
    assert_eq!(world.back.front("ring-ref"), None);
    assert_eq!(world.back.front("multi-queue-num-queues"), None);
}

#[test]
fn a_larger_ring_of_an_earlier_kernel_misleads_nobody() {
    let config = Config { ring_order_max: 0, ..Config::DEFAULT };
    let mut world = World::new(config, (disk(), Offer::ALL), |back| {
        for (key, value) in [("ring-page-order", "2"), ("num-ring-pages", "4"), ("ring-ref0", "9")]
        {
            back.tell_front(key, value);
        }
    });
    assert!(world.device().is_ok());
    assert_eq!(world.back.front("ring-page-order"), None);
    assert_eq!(world.back.front("num-ring-pages"), None);
}

#[test]
fn a_cd_rom_is_refused_and_told_why() {
    let refused = CloseReason::Refused(Refusal::CdRom);
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| {
        back.tell_front("device-type", "cdrom");
    });
    assert_eq!(world.device().err(), Some(refused));
    assert_eq!(world.ended.take(), Some(refused));
    assert_eq!((world.back.front_state(), world.grants_in_use()), (6, (0, 0)));
    let path = "/local/domain/7/error/device/vbd/51712/error";
    assert!(world.store.text(path).unwrap().contains("CD-ROM"));
    // One that only the backend calls so.
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| {
        back.keys.insert("info", Some("5".into()));
    });
    assert_eq!(world.device().err(), Some(refused));
    assert_eq!(world.grants_in_use(), (0, 0));
}

#[test]
fn keys_that_make_no_sense_close_the_disk_or_count_as_absent() {
    for (key, value, refusal) in [
        ("sectors", None, Refusal::Sectors),
        ("sectors", Some("many"), Refusal::Sectors),
        ("sectors", Some("99999999999999999999999"), Refusal::Sectors),
        ("sector-size", Some("8192"), Refusal::SectorSize),
        ("sector-size", Some("0"), Refusal::SectorSize),
    ] {
        let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| {
            back.keys.insert(key, value.map(String::from));
        });
        assert_eq!(world.device().err(), Some(CloseReason::Refused(refusal)), "{key} {value:?}");
        assert_eq!((world.back.own_state(), world.grants_in_use()), (6, (0, 0)));
    }
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| {
        let odd = ["feature-flush-cache", "feature-barrier", "max-ring-page-order", "info"];
        back.keys.extend(odd.map(|key| (key, Some("\u{7f}yes\n".into()))));
    });
    let device = world.device().unwrap();
    assert_eq!(device.durability(), Durability::Unknown);
    assert_eq!(world.back.front("ring-page-order"), None);
}

#[test]
fn a_backend_that_does_not_come_up_is_given_up() {
    let mut world = World::new(Config::DEFAULT, (disk(), Offer::ALL), |back| back.dead = true);
    let connecting = world.connecting.clone();
    let ready = world.spawn(async move { connecting.ready().await.err() });
    world.settle();
    assert!(ready.take().is_none());
    world.back.tell("hotplug-error", "no such file");
    world.timer.advance(Duration::from_secs(30));
    world.settle();
    assert_eq!(ready.get(), Some(CloseReason::NoBackend));
    assert_eq!(world.ended.take(), Some(CloseReason::NoBackend));
    assert_eq!(world.grants_in_use(), (0, 0));
}

#[test]
fn a_read_only_disk_of_large_sectors() {
    let offer = Offer { read_only: true, sector_bytes: 4096, ..Offer::ALL };
    let (mut world, device) = World::connected(Config::DEFAULT, (disk(), offer));
    assert!(device.geometry().read_only);
    world.run(async move {
        assert_eq!(device.write(Sector(0), &[0; 4096]).await, Err(BlockError::ReadOnly));
        assert_eq!(device.read(Sector(0), &mut [0; 512]).await, Err(BlockError::Misaligned));
        assert_eq!(device.read(Sector(8), &mut [0; 4096]).await, Ok(()));
    });
}
