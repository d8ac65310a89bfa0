//! Packets of every shape through the receive ring.

use super::super::*;
use crate::netfront::testing::{Delivery, FakeRx, SlotPlan, by_frame, pattern, reference, ring};
use proptest::prelude::*;
use std::vec::Vec;
use xen::ring::RingIdx;
use xen_abi::netif::{GsoType, HashAlgorithm, HashType, PacketHash, RX_SLOT_BYTES};

/// A page whose reference is its frame number.
pub(super) struct TestPage(SharedPage);

impl RxPage for TestPage {
    fn reference(&self) -> GrantRef {
        reference(&self.0)
    }

    fn page(&self) -> &SharedPage {
        &self.0
    }
}

pub(super) fn new_page() -> Option<TestPage> {
    SharedPage::allocate().map(TestPage)
}

/// Both ends, with `posted` pages there.
pub(super) fn pair(start: u32, posted: u32) -> (RxRing<TestPage, SharedPage>, FakeRx) {
    let (front, back) = ring(RX_SLOT_BYTES, start);
    let mut front = RxRing::new(front, RingIdx(start), (posted, 256));
    front.refill(new_page);
    let _ = front.publish();
    (front, FakeRx::new(back, by_frame()))
}

/// All packets that are there.
pub(super) fn receive_all(
    ring: &mut RxRing<TestPage, SharedPage>,
    counters: &mut RxCounters,
) -> Result<Vec<(Vec<u8>, RxPacket)>, Lie> {
    let (mut packets, mut buffer) = (Vec::new(), std::vec![0; 65_553]);
    while let Some(packet) = ring.receive(&mut buffer, counters)? {
        packets.push((buffer[..packet.len_bytes].to_vec(), packet));
    }
    Ok(packets)
}

fn receive_one(delivery: &Delivery) -> (Vec<u8>, RxPacket) {
    let (mut front, mut back) = pair(u32::MAX - 1, 32);
    assert!(back.deliver(delivery));
    assert!(back.ring.publish());
    let mut packets = receive_all(&mut front, &mut RxCounters::default()).unwrap();
    assert_eq!(packets.len(), 1);
    packets.remove(0)
}

#[test]
fn requests_have_their_slot_as_id() {
    let (_front, mut back) = pair(u32::MAX - 2, 32);
    let ids: Vec<u16> = core::iter::from_fn(|| back.pop()).map(|(id, _)| id).collect();
    let expected: Vec<u16> = (253..256).chain(0..29).collect();
    assert_eq!(ids, expected);
}

#[test]
fn checksums_are_told_by_flags() {
    for (flags, expected) in [
        (0, Checksum::Unverified),
        (1, Checksum::Valid),
        (2, Checksum::Blank),
        (3, Checksum::Blank),
    ] {
        let (_, packet) = receive_one(&Delivery::plain(pattern(1, 60)).flags(flags));
        assert_eq!(packet.checksum, expected);
    }
}

#[test]
fn extra_info_is_told_with_the_packet() {
    let bytes = pattern(2, 10_000);
    // MSS 1448 = 0x5a8 over IPv4; a Toeplitz hash over IPv4 and TCP.
    let delivery = Delivery::plain(bytes.clone())
        .flags(3)
        .extra([1, 0, 0xa8, 5, 1, 0, 0, 0])
        .extra([4, 0, 1, 1, 9, 8, 7, 6]);
    let (got, packet) = receive_one(&delivery);
    assert_eq!(got, bytes);
    assert_eq!(packet.gso, Some(Gso { kind: GsoType::TcpV4, size_bytes: 1448 }));
    let (kind, algorithm) = (HashType::IPV4_TCP, HashAlgorithm::TOEPLITZ);
    assert_eq!(packet.hash, Some(PacketHash { kind, algorithm, value: [9, 8, 7, 6] }));
}

#[test]
fn the_longest_packet_fits() {
    let bytes = pattern(3, 65_535 + 18);
    assert_eq!(receive_one(&Delivery::plain(bytes.clone())).0, bytes);
}

#[test]
fn a_packet_with_a_failure_is_dropped_and_the_next_one_is_not() {
    let (mut front, mut back) = pair(0, 32);
    for (index, (flags, status)) in [(4, 100), (4, -1), (0, 100)].into_iter().enumerate() {
        let (id, _) = back.pop().unwrap();
        assert_eq!(usize::from(id), index);
        back.respond(id, 0, flags, status);
    }
    let (id, _) = back.pop().unwrap();
    back.respond(id, 0, 0, -2);
    for (bytes, extra) in [(13, None), (0, None), (60, Some([0; 8])), (60, Some([9; 8]))] {
        let packet = Delivery::plain(pattern(0, bytes));
        let slots = Vec::from([SlotPlan { offset: 3, bytes }]);
        let extras = extra.into_iter().collect();
        assert!(back.deliver(&Delivery { slots, extras, ..packet }));
    }
    // Segmentation of size 0, and of no known type.
    for extra in [[1, 0, 0, 0, 1, 0, 0, 0], [1, 0, 9, 0, 3, 0, 0, 0]] {
        assert!(back.deliver(&Delivery::plain(pattern(0, 60)).extra(extra)));
    }
    assert!(back.deliver(&Delivery::plain(pattern(9, 77))));
    let _ = back.ring.publish();
    let mut counters = RxCounters::default();
    let packets = receive_all(&mut front, &mut counters).unwrap();
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].0, pattern(9, 77));
    assert_eq!((counters.failed, counters.short, counters.bad_extra), (2, 2, 4));
    front.refill(|| panic!("all pages are still there"));
    assert_eq!(front.posted(), 32);
}

#[test]
fn a_packet_that_comes_in_pieces_is_waited_for() {
    let (mut front, mut back) = pair(0, 32);
    let (mut buffer, mut counters) = ([0; 150], RxCounters::default());
    for (index, flags) in [4, 4, 0].into_iter().enumerate() {
        assert_eq!(front.receive(&mut buffer, &mut counters), Ok(None));
        let (id, grant) = back.pop().unwrap();
        let page = SharedPage::peer_at(grant.into()).unwrap();
        page.write(index, &[index as u8; 50]);
        back.respond(id, index as u16, flags, 50);
        let _ = back.ring.publish();
    }
    let packet = front.receive(&mut buffer, &mut counters).unwrap().unwrap();
    assert_eq!(packet.len_bytes, 150);
    assert_eq!(buffer[..], [[0; 50], [1; 50], [2; 50]].concat());
}

#[test]
fn the_packet_is_a_copy() {
    let (mut front, mut back) = pair(0, 32);
    let (id, grant) = back.pop().unwrap();
    let page = SharedPage::peer_at(grant.into()).unwrap();
    page.write(0, &[1; 60]);
    back.respond(id, 0, 0, 60);
    let _ = back.ring.publish();
    let mut buffer = [0; 60];
    front.receive(&mut buffer, &mut RxCounters::default()).unwrap().unwrap();
    page.write(0, &[2; 60]);
    assert_eq!(buffer, [1; 60]);
}

#[test]
fn a_packet_that_is_longer_than_the_buffer_is_dropped() {
    let (mut front, mut back) = pair(0, 32);
    for bytes in [101, 100] {
        assert!(back.deliver(&Delivery::plain(pattern(0, bytes))));
    }
    let _ = back.ring.publish();
    let (mut buffer, mut counters) = ([0; 100], RxCounters::default());
    let packet = front.receive(&mut buffer, &mut counters).unwrap().unwrap();
    assert_eq!((packet.len_bytes, counters.long, counters.packets), (100, 1, 1));
}

#[test]
fn the_pool_follows_the_traffic() {
    let (mut front, mut back) = pair(0, 32);
    let mut counters = RxCounters::default();
    let mut busy = |front: &mut RxRing<_, SharedPage>, back: &mut FakeRx| {
        while back.deliver(&Delivery::plain(pattern(0, 60))) {}
        let _ = back.ring.publish();
        receive_all(front, &mut counters).unwrap();
        front.refill(new_page);
        let _ = front.publish();
        front.target()
    };
    let targets: Vec<u32> = (0..5).map(|_| busy(&mut front, &mut back)).collect();
    assert_eq!(targets, [64, 128, 256, 256, 256]);
    assert_eq!(front.posted(), 256);
    // A packet now and then: it shrinks by one each 256 times.
    let mut given_up = 0;
    for _ in 0..256 * 230 {
        assert!(back.deliver(&Delivery::plain(pattern(0, 60))));
        let _ = back.ring.publish();
        receive_all(&mut front, &mut RxCounters::default()).unwrap();
        front.refill(new_page);
        given_up += front.excess().len();
        let _ = front.publish();
    }
    assert_eq!((front.target(), front.posted(), given_up), (32, 32, 256 - 32));
    assert!(front.trim().is_empty());
}

#[test]
fn without_memory_fewer_pages_are_posted() {
    let (front, _) = ring(RX_SLOT_BYTES, 0);
    let mut front = RxRing::new(front, RingIdx(0), (0, 0));
    assert_eq!(front.target(), 18, "less cannot take a packet");
    let mut left = 5;
    front.refill(|| {
        left -= 1;
        if left >= 0 { new_page() } else { None }
    });
    assert_eq!(front.posted(), 5);
    front.refill(new_page);
    assert_eq!(front.posted(), 18);
}

/// A packet in slots of any size, each at any offset.
fn delivery() -> impl Strategy<Value = Delivery> {
    let slot = (0usize..=4096)
        .prop_flat_map(|offset| (Just(offset), 0..=4096 - offset))
        .prop_map(|(offset, bytes)| SlotPlan { offset, bytes });
    let extra = prop_oneof![
        Just([1, 0, 0xa8, 5, 1, 0, 0, 0]),
        Just([4, 0, 3, 1, 1, 2, 3, 4]),
        Just([5, 0, 0, 1, 0, 0, 0, 0]),
    ];
    let extras = proptest::collection::vec(extra, 0..4);
    (proptest::collection::vec(slot, 1..=18), 0u16..4, extras, any::<u32>()).prop_map(
        |(mut slots, flags, extras, seed)| {
            let mut total = 0;
            for slot in &mut slots {
                slot.bytes = slot.bytes.min(65_553 - total);
                total += slot.bytes;
            }
            Delivery { bytes: pattern(seed, total), slots, flags, extras }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every packet arrives once, whole and in order, whatever slots it takes; no page is lost.
    #[test]
    fn packets_arrive_as_they_were_delivered(
        start in prop_oneof![any::<u32>(), u32::MAX - 300..=u32::MAX],
        packets in proptest::collection::vec((delivery(), any::<bool>()), 1..60),
    ) {
        let (mut front, mut back) = pair(start, 32);
        let (mut counters, mut allocated) = (RxCounters::default(), 0);
        let (mut sent, mut got) = (Vec::new(), Vec::new());
        for (packet, work) in packets {
            if back.deliver(&packet) && packet.bytes.len() >= 14 {
                sent.push(packet);
            }
            let _ = back.ring.publish();
            if work {
                got.extend(receive_all(&mut front, &mut counters).unwrap());
                front.refill(|| { allocated += 1; new_page() });
                let _ = front.publish();
                prop_assert!(allocated <= 256);
            }
        }
        got.extend(receive_all(&mut front, &mut counters).unwrap());
        prop_assert_eq!(sent.len(), got.len());
        prop_assert_eq!(counters.packets as usize, got.len());
        for (packet, (bytes, meta)) in sent.iter().zip(&got) {
            prop_assert_eq!(&packet.bytes, bytes);
            let gso = packet.extras.iter().any(|extra| extra[0] == 1);
            prop_assert_eq!(meta.gso.is_some(), gso);
            prop_assert_eq!(meta.checksum == Checksum::Blank, packet.flags & 2 != 0);
        }
    }
}
