//! Packets of every shape through the transmit ring.

use super::super::*;
use crate::netfront::testing::{FakeTx, TxPacket, by_frame, pattern, reference, ring};
use proptest::prelude::*;
use std::vec::Vec;
use xen_abi::netif::{GsoType, Mac, TX_SLOT_BYTES};

/// The pages of a packet, and its number.
pub(super) struct Buffer {
    pub pages: Vec<SharedPage>,
    pub number: usize,
}

/// A packet of pieces of these lengths, each at this offset of a page of its own.
pub(super) fn packet(number: usize, shape: &[(u16, u16)]) -> (Buffer, Vec<Piece>, Vec<u8>) {
    let (mut pages, mut pieces, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, &(offset, len_bytes)) in shape.iter().enumerate() {
        let page = SharedPage::allocate().unwrap();
        let piece = pattern((number * 32 + index) as u32, len_bytes.into());
        let at = usize::from(offset).min(4096);
        page.write(at, &piece[..piece.len().min(4096 - at)]);
        pieces.push(Piece { grant: reference(&page), offset, len_bytes });
        pages.push(page);
        bytes.extend(piece);
    }
    (Buffer { pages, number }, pieces, bytes)
}

pub(super) fn pair(start: u32) -> (TxRing<Buffer, SharedPage>, FakeTx) {
    let (front, back) = ring(TX_SLOT_BYTES, start);
    (TxRing::new(front), FakeTx::new(back, by_frame()))
}

fn push(
    ring: &mut TxRing<Buffer, SharedPage>,
    shape: &[(u16, u16)],
    meta: TxMeta,
) -> Result<Vec<u8>, TxError> {
    let (buffer, pieces, bytes) = packet(0, shape);
    ring.push(buffer, &pieces, &meta).map(|()| bytes).map_err(|(_, error)| error)
}

const GSO: Gso = Gso { kind: GsoType::TcpV6, size_bytes: 1440 };

#[test]
fn the_slots_of_a_large_packet_are_in_the_order_of_the_header_file() {
    let (mut front, mut back) = pair(0);
    let shape = [(10, 4000), (0, 4096), (5, 7)];
    let meta = TxMeta { checksum: Checksum::Blank, gso: Some(GSO) };
    push(&mut front, &shape, meta).unwrap();
    assert!(front.publish());
    let mut slots = [[0; 12]; 4];
    for slot in &mut slots {
        assert_eq!(back.ring.pop(slot), Ok(true));
    }
    // Total size 8103 = 0x1fa7, flags blank, validated, more, extra.
    assert_eq!(slots[0][4..], [10, 0, 0b1111, 0, 0, 0, 0xa7, 0x1f]);
    assert_eq!(slots[1], [1, 0, 0xa0, 5, 2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(slots[2][4..], [0, 0, 0b100, 0, 1, 0, 0, 0x10]);
    assert_eq!(slots[3][4..], [5, 0, 0, 0, 2, 0, 7, 0]);
}

#[test]
fn checksums_are_told_by_flags() {
    let (mut front, mut back) = pair(7);
    for checksum in [Checksum::Unverified, Checksum::Valid, Checksum::Blank] {
        push(&mut front, &[(0, 60)], TxMeta { checksum, gso: None }).unwrap();
    }
    let _ = front.publish();
    assert_eq!(back.take_all(), Ok(3));
    let flags: Vec<_> = back.packets.iter().map(|p| (p.blank, p.validated)).collect();
    assert_eq!(flags, [(false, false), (false, true), (true, true)]);
}

#[test]
fn what_a_backend_would_refuse_is_refused_here() {
    let (mut front, _) = pair(0);
    let plain = TxMeta::default();
    let mut refuse = |shape: &[(u16, u16)]| push(&mut front, shape, plain).unwrap_err();
    assert_eq!(refuse(&[]), TxError::Pieces(0));
    assert_eq!(refuse(&[(0, 200); 19]), TxError::Pieces(19));
    assert!(matches!(refuse(&[(0, 200), (3, 0)]), TxError::Piece(_)));
    assert!(matches!(refuse(&[(0, 200), (4000, 97)]), TxError::Piece(_)));
    assert!(matches!(refuse(&[(u16::MAX, u16::MAX)]), TxError::Piece(_)));
    assert_eq!(refuse(&[(0, 13)]), TxError::Length(13));
    assert_eq!(refuse(&[(0, 4096); 16]), TxError::Length(65536));
    assert_eq!(refuse(&[(0, 127), (0, 1)]), TxError::Headers);
    assert_eq!(refuse(&[(0, 20), (0, 20)]), TxError::Headers);
    assert_eq!(front.outstanding(), 0, "nothing was written");
    push(&mut front, &[(0, 128), (0, 1)], plain).unwrap();
    push(&mut front, &[(4082, 14)], plain).unwrap();
}

#[test]
fn a_packet_without_room_leaves_nothing_behind() {
    let (mut front, mut back) = pair(u32::MAX - 100);
    let meta = TxMeta { checksum: Checksum::Blank, gso: Some(GSO) };
    for _ in 0..127 {
        push(&mut front, &[(0, 128), (0, 9)], TxMeta::default()).unwrap();
    }
    // Two slots are left, and three are needed.
    assert_eq!(push(&mut front, &[(0, 128), (0, 9)], meta), Err(TxError::Full));
    assert!(!front.has_room() && front.room() == 2);
    push(&mut front, &[(0, 60)], meta).unwrap();
    assert_eq!(front.room(), 0);
    assert!(!front.push_multicast(Mac::BROADCAST, true));
    let _ = front.publish();
    assert_eq!(back.take_all(), Ok(128));
    let _ = back.give_answers(usize::MAX);
    let (mut counters, mut done) = (TxCounters::default(), 0);
    front.collect(&mut counters, |_, what| done += usize::from(what == TxDone::Sent)).unwrap();
    assert_eq!((done, counters.packets, counters.large), (128, 128, 1));
    assert_eq!(counters.bytes, 127 * 137 + 60);
    assert_eq!(front.room(), 256);
}

#[test]
fn a_packet_is_done_with_its_last_response_and_failed_with_any() {
    let (mut front, mut back) = pair(0);
    push(&mut front, &[(0, 200), (0, 9), (0, 9)], TxMeta::default()).unwrap();
    push(&mut front, &[(0, 99)], TxMeta::default()).unwrap();
    let _ = front.publish();
    back.take_all().unwrap();
    // Ids 0, 1 and 2, then 3.
    back.answers = [(2, 0), (0, -1), (3, -2), (1, 0)].into();
    let mut counters = TxCounters::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let _ = back.give_answers(1);
        front.collect(&mut counters, |buffer, what| seen.push((buffer.pages.len(), what))).unwrap();
        let (room, done) = (front.room(), seen.len());
        // The id of a packet that is not done is not used again.
        assert!(room >= 252 && done <= 2);
    }
    assert_eq!(seen, [(1, TxDone::Failed), (3, TxDone::Failed)]);
    assert_eq!((counters.failed, counters.packets), (2, 0));
}

#[test]
fn the_multicast_filter_is_told_and_may_refuse() {
    let (mut front, mut back) = pair(0);
    let mac = |n| Mac([0x33, 0x33, 0, 0, 0, n]);
    for n in 0..66 {
        assert!(front.push_multicast(mac(n), true));
    }
    assert!(front.push_multicast(mac(3), false));
    let _ = front.publish();
    assert_eq!(back.take_all(), Ok(0));
    assert_eq!(back.multicast.len(), 63);
    assert!(!back.multicast.contains(&mac(3).0));
    let _ = back.give_answers(usize::MAX);
    let mut counters = TxCounters::default();
    front.collect(&mut counters, |_, _| panic!("no packet")).unwrap();
    assert_eq!((counters.multicast_refused, counters.packets), (2, 0));
    assert_eq!(front.room(), 256);
}

#[test]
fn an_event_is_asked_for_when_half_is_answered() {
    let (mut front, mut back) = pair(u32::MAX);
    for _ in 0..10 {
        push(&mut front, &[(0, 60)], TxMeta::default()).unwrap();
    }
    let _ = front.publish();
    back.take_all().unwrap();
    assert_eq!(front.arm(), Ok(false));
    let events: Vec<bool> = (0..10).map(|_| back.give_answers(1)).collect();
    assert_eq!(events.iter().position(|event| *event), Some(5));
    assert_eq!(events.iter().filter(|event| **event).count(), 1);
    assert_eq!(front.arm(), Ok(true), "they are there");
}

#[test]
fn unsent_packets_come_back_in_their_order() {
    let (mut front, mut back) = pair(0);
    for number in 0..9 {
        let (buffer, pieces, _) = packet(number, &[(0, 200), (0, 20)]);
        assert!(front.push(buffer, &pieces, &TxMeta::default()).is_ok());
    }
    let _ = front.publish();
    back.take_all().unwrap();
    back.answers.retain(|(id, _)| [2, 3, 8, 9, 12].contains(id));
    let _ = back.give_answers(usize::MAX);
    front.collect(&mut TxCounters::default(), |_, _| ()).unwrap();
    let (buffer, pieces, _) = packet(9, &[(0, 200)]);
    assert!(front.push(buffer, &pieces, &TxMeta::default()).is_ok());
    let numbers: Vec<usize> = front.unsent().iter().map(|buffer| buffer.number).collect();
    assert_eq!(numbers, [0, 2, 3, 5, 6, 7, 8, 9]);
}

/// A shape that a backend takes.
fn shape() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let piece = |least: u16| {
        (0u16..=4096 - least).prop_flat_map(move |offset| (Just(offset), least..=4096 - offset))
    };
    prop_oneof![
        (14u16..=4096).prop_map(|len| Vec::from([(0, len)])),
        (piece(128), proptest::collection::vec(piece(1), 0..17)).prop_map(|(first, mut others)| {
            others.insert(0, first);
            others
        }),
    ]
    .prop_filter("too long", |shape| {
        shape.iter().map(|(_, len)| u32::from(*len)).sum::<u32>() < 65536
    })
}

fn meta() -> impl Strategy<Value = TxMeta> {
    (0u8..3, any::<bool>(), 1u16..9000, any::<bool>()).prop_map(
        |(checksum, gso, size_bytes, v6)| {
            let kind = if v6 { GsoType::TcpV6 } else { GsoType::TcpV4 };
            match (gso, checksum) {
                (true, _) => {
                    TxMeta { checksum: Checksum::Blank, gso: Some(Gso { kind, size_bytes }) }
                }
                (_, 0) => TxMeta { checksum: Checksum::Blank, gso: None },
                (_, 1) => TxMeta { checksum: Checksum::Valid, gso: None },
                (..) => TxMeta::default(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every packet arrives once, whole and in order, whatever the order of the answers.
    #[test]
    fn packets_arrive_as_they_were_sent(
        start in prop_oneof![any::<u32>(), u32::MAX - 300..=u32::MAX],
        packets in proptest::collection::vec((shape(), meta(), 0usize..3, 0usize..40), 1..60),
        swaps in proptest::collection::vec(any::<(u8, u8)>(), 0..40),
    ) {
        let (mut front, mut back) = pair(start);
        let (mut counters, mut sent) = (TxCounters::default(), Vec::new());
        let mut done = std::collections::BTreeSet::new();
        for (number, (shape, meta, work, answers)) in packets.iter().enumerate() {
            let (buffer, pieces, bytes) = packet(number, shape);
            match front.push(buffer, &pieces, meta) {
                Ok(()) => sent.push((bytes, *meta)),
                Err((_, TxError::Full)) => prop_assert!(!front.has_room()),
                Err((_, error)) => prop_assert!(false, "{error:?}"),
            }
            if *work > 0 {
                let _ = front.publish();
                prop_assert!(back.take_all().is_ok());
                for (a, b) in &swaps {
                    let count = back.answers.len().max(1);
                    // Only answers with an id can come in any order.
                    let (a, b) = (usize::from(*a) % count, usize::from(*b) % count);
                    if a < back.answers.len() && back.answers[a].1 == 0 && back.answers[b].1 == 0 {
                        back.answers.swap(a, b);
                    }
                }
            }
            if *work > 1 {
                let _ = back.give_answers(*answers);
                front.collect(&mut counters, |buffer, what| {
                    assert_eq!(what, TxDone::Sent);
                    assert!(done.insert(buffer.number), "once");
                }).unwrap();
            }
        }
        let _ = front.publish();
        prop_assert!(back.take_all().is_ok());
        let _ = back.give_answers(usize::MAX);
        front.collect(&mut counters, |buffer, _| { done.insert(buffer.number); }).unwrap();
        prop_assert_eq!(front.room(), 256);
        prop_assert_eq!(done.len(), sent.len());
        prop_assert_eq!(counters.packets as usize, sent.len());
        prop_assert_eq!(back.packets.len(), sent.len());
        for ((bytes, meta), TxPacket { bytes: got, blank, validated, gso, .. })
            in sent.iter().zip(&back.packets)
        {
            prop_assert_eq!(bytes, got);
            prop_assert_eq!(*blank, meta.checksum == Checksum::Blank);
            prop_assert_eq!(*validated, meta.checksum != Checksum::Unverified);
            let wanted = meta.gso.map(|gso| {
                (gso.size_bytes, if gso.kind == GsoType::TcpV4 { 1 } else { 2 })
            });
            prop_assert_eq!(*gso, wanted);
        }
    }
}
