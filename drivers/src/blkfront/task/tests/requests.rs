//! Requests as apps make them: any length, any number at once, dropped at any moment.

use super::*;
use proptest::prelude::*;
use xen::testing::FakeXen;

fn connected(config: Config, offer: Offer) -> (World, BlockDevice<FakeXen>) {
    World::connected(config, (RamDisk::new(1 << 16), offer))
}

#[test]
fn a_slice_of_any_length_is_transferred() {
    for pool_pages in [1, 3, 512] {
        let config = Config { pool_pages, ..Config::DEFAULT };
        let (mut world, device) = connected(config, Offer::ALL);
        for len_bytes in [0, 512, 4096, 5120, 1 << 20, (3 << 20) + 512] {
            let device = device.clone();
            world.run(async move {
                device.write(Sector(5), &pattern(len_bytes, len_bytes)).await.unwrap();
                let mut read = vec![0; len_bytes];
                device.read(Sector(5), &mut read).await.unwrap();
                assert!(read == pattern(len_bytes, len_bytes));
            });
        }
    }
}

#[test]
fn one_event_carries_what_many_tasks_ask_for() {
    let config = Config { merge: false, ..Config::DEFAULT };
    let (mut world, device) = connected(config, Offer::ALL);
    world.xen.take_calls();
    let tasks: Vec<_> = (0..16u64)
        .map(|n| {
            let device = device.clone();
            world.spawn(async move { device.read(Sector(n * 100), &mut [0; 4096]).await })
        })
        .collect();
    world.settle();
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
    let sent = |call: &&xen::testing::Call| matches!(call, xen::testing::Call::Send(_));
    assert_eq!(world.xen.take_calls().iter().filter(sent).count(), 1);
    assert_eq!(device.counters().sent, 16);
}

#[test]
fn durable_writes_survive_a_power_cut_and_others_may_not() {
    let (mut world, device) = connected(Config::DEFAULT, Offer::ALL);
    let clone = device.clone();
    world.run(async move {
        clone.write_durable(Sector(0), &[1; 512]).await.unwrap();
        clone.write(Sector(1), &[2; 512]).await.unwrap();
    });
    world.back.disk.power_cut(|_| 0);
    assert_eq!((world.back.disk.read(0), world.back.disk.read(1)), ([1; 512], [0; 512]));
    world.run(async move {
        device.write(Sector(1), &[2; 512]).await.unwrap();
        device.flush().await.unwrap();
    });
    world.back.disk.power_cut(|_| 0);
    assert_eq!(world.back.disk.read(1), [2; 512]);
}

#[test]
fn buffers_come_back_on_success_and_on_error() {
    let (mut world, device) = connected(Config::DEFAULT, Offer::ALL);
    world.run(async move {
        let mut buffer = DmaBuffer::allocate(8192).unwrap();
        buffer.write(100, b"data");
        let (result, buffer) = device.write_buffer(Sector(9), buffer, true).await;
        assert_eq!((result, buffer.len_bytes()), (Ok(()), 8192));
        let (result, buffer) = device.read_buffer(Sector(1 << 20), buffer).await;
        assert_eq!((result, buffer.len_bytes()), (Err(BlockError::OutOfRange), 8192));
        let empty = DmaBuffer::allocate(8192).unwrap();
        let (result, buffer) = device.read_buffer(Sector(9), empty).await;
        assert_eq!(result, Ok(()));
        let mut read = [0; 4];
        buffer.read(100, &mut read);
        assert_eq!(&read, b"data");
    });
}

#[test]
fn zeroes_and_discards() {
    let (mut world, device) =
        connected(Config::DEFAULT, Offer { sector_bytes: 4096, ..Offer::ALL });
    world.run(async move {
        device.write(Sector(0), &pattern(1, 2 << 20)).await.unwrap();
        device.write_zeroes(SectorRange::new(Sector(8), 3000)).await.unwrap();
        let mut read = vec![1; 2 << 20];
        device.read(Sector(0), &mut read).await.unwrap();
        assert!(read[..4096] == pattern(1, 2 << 20)[..4096]);
        assert!(read[4096..3008 * 512].iter().all(|byte| *byte == 0));
        assert!(read[3008 * 512..] == pattern(1, 2 << 20)[3008 * 512..]);
        let range = SectorRange::new(Sector(8), 16);
        assert_eq!(device.discard_secure(range).await, Ok(()));
        device.read(Sector(8), &mut read[..4096]).await.unwrap();
        assert_eq!(read[0], 0xdd);
        let part = SectorRange::new(Sector(4), 16);
        assert_eq!(device.discard_secure(part).await, Err(BlockError::Misaligned));
        assert_eq!(device.discard(part).await, Err(BlockError::Misaligned));
        let beyond = SectorRange::new(Sector(1 << 16), 8);
        assert_eq!(device.discard(beyond).await, Err(BlockError::OutOfRange));
        let huge = SectorRange::new(Sector(0), u64::MAX);
        assert_eq!(device.write_zeroes(huge).await, Err(BlockError::OutOfRange));
    });
}

#[test]
fn a_dropped_future_leaves_nothing_behind() {
    let (mut world, device) = connected(Config { pool_pages: 4, ..Config::DEFAULT }, Offer::ALL);
    let clone = device.clone();
    world.run(async move { clone.read(Sector(0), &mut [0; 512]).await.unwrap() });
    world.back.answers = false;
    let before = world.grants_in_use();
    let clone = device.clone();
    let (write, drop_write) =
        world.spawn_droppable(async move { clone.write(Sector(0), &pattern(1, 8192)).await });
    let clone = device.clone();
    // It gets no pages before the other one is done.
    let (read, drop_read) =
        world.spawn_droppable(async move { clone.read(Sector(0), &mut [0; 16384]).await });
    let clone = device.clone();
    let next = world.spawn(async move { clone.read(Sector(0), &mut [0; 8192]).await });
    world.settle();
    assert_eq!(world.back.backend.waiting(), 1);
    drop_write();
    drop_read();
    world.settle();
    assert!(write.take().is_none() && read.take().is_none());
    assert!(world.grants_in_use() != before, "the backend has the pages still");
    world.back.answers = true;
    world.back.notify(0);
    world.back.answer(0);
    world.settle();
    assert_eq!(next.get(), Ok(()));
    assert_eq!(world.back.disk.read(15)[..], pattern(1, 8192)[7680..]);
    assert_eq!(world.grants_in_use(), before);
}

#[test]
fn a_buffer_whose_future_was_dropped_is_freed_when_the_backend_is_done() {
    let (mut world, device) = connected(Config::DEFAULT, Offer::ALL);
    world.back.answers = false;
    let buffer = DmaBuffer::allocate(4096).unwrap();
    let pages = buffer.into_pages();
    let page = pages[0].peer();
    let buffer = DmaBuffer::from_pages(pages);
    let (_, drop_read) =
        world.spawn_droppable(async move { device.read_buffer(Sector(0), buffer).await });
    world.settle();
    drop_read();
    world.settle();
    assert!(!page.is_freed());
    world.back.answer(0);
    world.settle();
    assert!(page.is_freed());
}

#[test]
fn tasks_that_write_parts_of_a_sector_do_not_disturb_each_other() {
    let offer = Offer { sector_bytes: 4096, ..Offer::ALL };
    let (mut world, device) = connected(Config::DEFAULT, offer);
    let tasks: Vec<_> = (0..64u64)
        .map(|n| {
            let device = device.clone();
            world.spawn(async move { device.write_bytes(n * 100, &[n as u8 + 1; 100]).await })
        })
        .collect();
    world.settle();
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
    world.run(async move {
        let mut read = [0; 6400];
        device.read_bytes(0, &mut read).await.unwrap();
        assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at / 100) as u8 + 1));
        let end = device.capacity_bytes();
        assert_eq!(device.read_bytes(end - 1, &mut [0; 2]).await, Err(BlockError::OutOfRange));
        assert_eq!(device.read_bytes(u64::MAX, &mut [0; 2]).await, Err(BlockError::OutOfRange));
        assert_eq!(device.write_bytes(end - 1, &[7]).await, Ok(()));
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Reads and writes of any bytes are those of a slice in memory.
    #[test]
    fn any_bytes_can_be_read_and_written(
        steps in proptest::collection::vec((any::<bool>(), 0u64..60_000, 0usize..20_000), 1..20),
        large: bool,
    ) {
        let offer = Offer { sector_bytes: if large { 4096 } else { 512 }, ..Offer::ALL };
        let config = Config { pool_pages: 8, ..Config::DEFAULT };
        let (mut world, device) = connected(config, offer);
        let mut model = vec![0; 80_000];
        for (step, (write, offset, len)) in steps.into_iter().enumerate() {
            let device = device.clone();
            let there = &mut model[offset as usize..][..len];
            if write {
                let data = pattern(step + 1, len);
                there.copy_from_slice(&data);
                world.run(async move { device.write_bytes(offset, &data).await.unwrap() });
            } else {
                let read = world.run(async move {
                    let mut read = vec![0; len];
                    device.read_bytes(offset, &mut read).await.unwrap();
                    read
                });
                prop_assert!(read == there);
            }
        }
    }
}
