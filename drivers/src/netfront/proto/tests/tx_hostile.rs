//! The transmit ring against a backend that lies.

use super::super::*;
use super::tx::{Buffer, packet, pair};
use crate::netfront::testing::FakeTx;
use proptest::prelude::*;
use xen_abi::netif::{Gso, GsoType};

/// A ring with a packet of ids 0 and 1 and a large one of id 2, taken by the backend.
fn begun() -> (TxRing<Buffer, SharedPage>, FakeTx) {
    let (mut front, mut back) = pair(u32::MAX - 1);
    let (buffer, pieces, _) = packet(0, &[(0, 200), (0, 20)]);
    assert!(front.push(buffer, &pieces, &TxMeta::default()).is_ok());
    let gso = Gso { kind: GsoType::TcpV4, size_bytes: 100 };
    let meta = TxMeta { checksum: Checksum::Blank, gso: Some(gso) };
    let (buffer, pieces, _) = packet(1, &[(0, 300)]);
    assert!(front.push(buffer, &pieces, &meta).is_ok());
    let _ = front.publish();
    assert_eq!(back.take_all(), Ok(2));
    back.answers.clear();
    (front, back)
}

fn answer(answers: &[(u16, i16)]) -> Result<(), Lie> {
    let (mut front, mut back) = begun();
    back.answers.extend(answers);
    let _ = back.give_answers(usize::MAX);
    front.collect(&mut TxCounters::default(), |_, _| ())
}

#[test]
fn ids_that_are_not_in_use_are_lies() {
    assert_eq!(answer(&[(1, 0), (0, 0), (2, 0), (7, 1)]), Ok(()));
    assert_eq!(answer(&[(3, 0)]), Err(Lie::TxId(3)));
    assert_eq!(answer(&[(256, 0)]), Err(Lie::TxId(256)));
    assert_eq!(answer(&[(0xffff, 0)]), Err(Lie::TxId(0xffff)));
    assert_eq!(answer(&[(1, 0), (1, 0)]), Err(Lie::TxId(1)), "twice");
    assert_eq!(answer(&[(0, 0), (0, 0)]), Err(Lie::TxId(0)), "twice, the packet not done");
    assert_eq!(answer(&[(2, 0), (2, 0)]), Err(Lie::TxId(2)), "twice, the packet done");
}

#[test]
fn statuses_that_mean_nothing_are_lies() {
    for status in [2, -3, i16::MIN, i16::MAX] {
        assert_eq!(answer(&[(0, status)]), Err(Lie::TxStatus { id: 0, status }));
    }
    assert_eq!(answer(&[(0, 1), (0, 1)]), Err(Lie::TxNull), "one extra info slot, two answers");
}

#[test]
fn more_responses_than_requests_are_a_lie() {
    let (mut front, back) = begun();
    // Index: 4 requests from u32::MAX - 1 on.
    for index in [3u32, 0x8000_0000, u32::MAX - 2] {
        let producer = back.ring.pages().pages()[0].u32_at(8);
        producer.store(index, core::sync::atomic::Ordering::SeqCst);
        let result = front.collect(&mut TxCounters::default(), |_, _| panic!("nothing is done"));
        assert!(matches!(result, Err(Lie::TxIndex(_))), "{index}");
        assert!(matches!(front.arm(), Err(Lie::TxIndex(_))));
    }
}

proptest! {
    /// Whatever the backend answers, a buffer comes back once at the most, and what is not done
    /// stays.
    #[test]
    fn no_answers_do_harm(
        answers in proptest::collection::vec(
            (prop_oneof![0u16..20, any::<u16>()], prop_oneof![-3i16..3, any::<i16>()]), 0..30,
        ),
        shapes in proptest::collection::vec(1usize..5, 1..8),
    ) {
        let (mut front, mut back) = pair(u32::MAX - 5);
        let mut slots = 0;
        for (number, pieces) in shapes.iter().enumerate() {
            let shape: std::vec::Vec<_> = (0..*pieces).map(|_| (0, 128)).collect();
            let (buffer, pieces, _) = packet(number, &shape);
            prop_assert!(front.push(buffer, &pieces, &TxMeta::default()).is_ok());
            slots += shape.len();
        }
        let _ = front.publish();
        back.take_all().unwrap();
        back.answers = answers.into();
        let _ = back.give_answers(slots);
        let mut back_again = std::vec![0; shapes.len()];
        let mut counters = TxCounters::default();
        let _ = front.collect(&mut counters, |buffer, _| back_again[buffer.number] += 1);
        for buffer in front.unsent() {
            back_again[buffer.number] += 1;
        }
        prop_assert!(back_again.iter().all(|count| *count == 1), "{back_again:?}");
    }
}
