//! The receive ring against a backend that lies.

use super::super::*;
use super::rx::{new_page, pair, receive_all};
use crate::netfront::testing::FakeRx;
use proptest::prelude::*;
use std::vec::Vec;

/// What the frontend makes of these responses, given in the place of the next requests.
fn lie(responses: &[(u16, u16, u16, i16)]) -> Lie {
    let (mut front, mut back) = pair(0, 64);
    for (id, offset, flags, status) in responses {
        back.pop().unwrap();
        back.respond(*id, *offset, *flags, *status);
    }
    let _ = back.ring.publish();
    receive_all(&mut front, &mut RxCounters::default()).unwrap_err()
}

#[test]
fn an_id_belongs_to_its_place_in_the_ring() {
    for id in [1, 63, 64, 256, 0xffff] {
        assert_eq!(lie(&[(id, 0, 0, 60)]), Lie::RxId { expected: 0, id });
    }
    assert_eq!(lie(&[(0, 0, 0, 60), (0, 0, 0, 60)]), Lie::RxId { expected: 1, id: 0 }, "twice");
}

#[test]
fn data_lie_within_their_page() {
    for (offset, bytes) in [(0u16, 4097i16), (4096, 1), (1, 4096), (0xffff, 1), (0, 0x7fff)] {
        let expected = Lie::RxBeyondPage { offset, bytes: bytes as u16 };
        assert_eq!(lie(&[(0, offset, 0, bytes)]), expected);
    }
    assert_eq!(
        lie(&[(0, 4097, 0, 0)]),
        Lie::RxBeyondPage { offset: 4097, bytes: 0 },
        "even without bytes"
    );
    assert_eq!(
        lie(&[(0, 4097, 0, -1)]),
        Lie::RxBeyondPage { offset: 4097, bytes: 0 },
        "even with an error"
    );
}

#[test]
fn a_status_is_a_length_or_a_known_error() {
    for status in [-3, i16::MIN] {
        assert_eq!(lie(&[(0, 0, 0, status)]), Lie::RxStatus { id: 0, status });
    }
}

#[test]
fn a_packet_has_an_end() {
    let endless: Vec<_> = (0..19).map(|id| (id, 0, 4, 1)).collect();
    assert_eq!(lie(&endless), Lie::RxSlots);
    let failing: Vec<_> = (0..19).map(|id| (id, 0, 4, -1)).collect();
    assert_eq!(lie(&failing), Lie::RxSlots);
    let empty: Vec<_> = (0..19).map(|id| (id, 0, 4, 0)).collect();
    assert_eq!(lie(&empty), Lie::RxSlots);
    let long: Vec<_> = (0..17).map(|id| (id, 0, 4, 4096)).collect();
    assert_eq!(lie(&long), Lie::RxLength(17 * 4096));
    assert_eq!(lie(&[(0, 0, 4, 60), (1, 0, 8, 60)]), Lie::RxExtraInside);
}

#[test]
fn extra_info_has_an_end() {
    let (mut front, mut back) = pair(0, 64);
    back.pop().unwrap();
    back.respond(0, 0, 8, 60);
    for _ in 0..60 {
        back.pop().unwrap();
        assert!(back.ring.push(&[1, 1, 100, 0, 1, 0, 0, 0]));
    }
    let _ = back.ring.publish();
    let error = receive_all(&mut front, &mut RxCounters::default()).unwrap_err();
    assert_eq!(error, Lie::RxExtras);
}

#[test]
fn extra_info_that_never_comes_holds_nothing_up_but_its_packet() {
    let (mut front, mut back) = pair(0, 32);
    back.pop().unwrap();
    back.respond(0, 0, 8, 60);
    let _ = back.ring.publish();
    let mut counters = RxCounters::default();
    assert!(receive_all(&mut front, &mut counters).unwrap().is_empty());
    front.refill(new_page);
    assert_eq!(front.posted(), 32);
}

#[test]
fn more_responses_than_requests_are_a_lie() {
    for index in [19u32, 0x8000_0000, u32::MAX - 1] {
        let (mut front, back): (_, FakeRx) = pair(u32::MAX, 19);
        let producer = back.ring.pages().pages()[0].u32_at(8);
        producer.store(index, core::sync::atomic::Ordering::SeqCst);
        let error = receive_all(&mut front, &mut RxCounters::default()).unwrap_err();
        assert!(matches!(error, Lie::RxIndex(_)), "{index}: {error}");
        assert!(matches!(front.arm(), Err(Lie::RxIndex(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whatever the responses say, the frontend copies only from pages it has posted, gives no
    /// packet longer than there can be, and loses no page unless it gives up.
    #[test]
    fn no_responses_do_harm(
        start in prop_oneof![Just(0), u32::MAX - 40..=u32::MAX],
        responses in proptest::collection::vec(
            (
                any::<bool>(),
                any::<[u8; 8]>(),
                prop_oneof![4 => 0u16..16, 1 => any::<u16>()],
                prop_oneof![4 => -2i16..300, 1 => any::<i16>()],
                prop_oneof![4 => 0u16..100, 1 => any::<u16>()],
            ),
            0..200,
        ),
    ) {
        let (mut front, mut back) = pair(start, 64);
        let mut counters = RxCounters::default();
        for (raw, bytes, flags, status, offset) in responses {
            let Some((id, _)) = back.pop() else { break };
            if raw {
                prop_assert!(back.ring.push(&bytes));
            } else {
                back.respond(id, offset, flags, status);
            }
            let _ = back.ring.publish();
            match receive_all(&mut front, &mut counters) {
                Err(_) => return Ok(()),
                Ok(packets) => {
                    for (bytes, packet) in packets {
                        prop_assert!((14..=65_553).contains(&bytes.len()));
                        prop_assert!(packet.gso.is_none_or(|gso| gso.size_bytes > 0));
                    }
                }
            }
            let mut new = 0;
            front.refill(|| { new += 1; new_page() });
            let _ = front.publish();
            prop_assert!(front.posted() >= 64 && new <= 64 + 18);
        }
    }
}
