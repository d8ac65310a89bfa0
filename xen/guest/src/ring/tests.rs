//! Both ends against each other, and each against a peer that lies.

use super::*;
use crate::page::SharedPage;
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

fn pair(pages: usize, slot_bytes: usize, start: u32) -> (Front, Back) {
    let memory = RingPages::allocate(pages, slot_bytes).unwrap();
    let peer = memory.pages().iter().map(SharedPage::peer).collect();
    let front = Front::starting_at(memory, RingIdx(start));
    (front, Back::attach(RingPages::new(peer, slot_bytes)))
}

#[test]
fn a_new_ring_has_the_bytes_of_the_header() {
    let (front, _) = pair(1, 12, 0);
    let mut header = [0xff; 64];
    front.pages().pages()[0].read(0, &mut header);
    // Xen: io/ring.h, SHARED_RING_INIT: both producers 0, both events 1.
    let mut expected = [0; 64];
    (expected[4], expected[12]) = (1, 1);
    assert_eq!(header, expected);
}

#[test]
fn a_slot_lies_where_the_header_puts_it() {
    let (mut front, _) = pair(2, 112, 0);
    for n in 0..40u8 {
        front.push(&[n; 112]).unwrap();
    }
    let mut slot = [0; 112];
    let page = &front.pages().pages()[0];
    page.read(64 + 3 * 112, &mut slot);
    assert_eq!(slot, [3; 112]);
    // Slot 36 begins in the first page at 4096 exactly: 64 + 36 * 112 = 4096.
    front.pages().pages()[1].read(0, &mut slot);
    assert_eq!(slot, [36; 112]);
}

#[test]
fn an_event_is_wanted_once() {
    let (mut front, mut back) = pair(1, 8, u32::MAX);
    front.push(b"one").unwrap();
    assert!(front.publish(), "the backend waits for the first request");
    assert!(!front.publish(), "nothing new");
    front.push(b"two").unwrap();
    assert!(!front.publish(), "it is awake");
    let mut request = [0; 3];
    assert_eq!(back.pop(&mut request), Ok(true));
    assert_eq!(&request, b"one");
    assert_eq!(back.arm(), Ok(true), "another came meanwhile");
    assert_eq!(back.pop(&mut request), Ok(true));
    assert_eq!(back.arm(), Ok(false));
    front.push(b"six").unwrap();
    assert!(front.publish());
}

#[test]
fn responses_can_be_waited_for_in_batches() {
    let (mut front, mut back) = pair(1, 8, u32::MAX - 2);
    for _ in 0..6 {
        front.push(b"q").unwrap();
    }
    let _ = front.publish();
    assert_eq!(front.arm(3), Ok(false));
    let mut byte = [0];
    let mut events = Vec::new();
    for _ in 0..6 {
        assert_eq!(back.pop(&mut byte), Ok(true));
        assert!(back.push(b"r"));
        events.push(back.publish());
    }
    assert_eq!(events, [false, false, true, false, false, false]);
    assert_eq!(front.arm(6), Ok(true));
}

#[test]
fn a_full_ring_takes_no_more() {
    let (mut front, mut back) = pair(1, 112, u32::MAX - 7);
    for n in 0..32 {
        assert_eq!(front.room(), 32 - n);
        front.push(&[1; 112]).unwrap();
    }
    assert_eq!(front.push(&[1; 112]), None);
    let _ = front.publish();
    assert!(!back.push(&[0; 16]), "nothing popped, nothing to answer");
    let mut request = [0; 112];
    assert_eq!(back.pop(&mut request), Ok(true));
    assert!(back.push(&[0; 16]));
    let _ = back.publish();
    assert_eq!(front.room(), 0, "free only when its response was taken");
    assert_eq!(front.pop(&mut [0; 16]), Ok(true));
    assert_eq!(front.room(), 1);
}

#[test]
fn more_responses_than_requests_is_an_error() {
    let (mut front, back) = pair(1, 12, 10);
    front.push(b"x").unwrap();
    let producer = back.pages().word(xen_abi::ring::RSP_PROD);
    producer.store(11, Ordering::SeqCst);
    let error = RingError { producer: 11, consumer: 10, outstanding: 0 };
    assert_eq!(front.pop(&mut [0; 4]), Err(error), "not published yet");
    let _ = front.publish();
    assert_eq!(front.pop(&mut [0; 4]), Ok(true));
    producer.store(9, Ordering::SeqCst);
    assert!(front.pop(&mut [0; 4]).is_err(), "it went back");
}

#[test]
fn more_requests_than_slots_is_an_error() {
    let (front, mut back) = pair(1, 12, 10);
    front.pages().word(xen_abi::ring::REQ_PROD).store(10 + 257, Ordering::SeqCst);
    assert!(back.pop(&mut [0; 12]).is_err());
}

proptest! {
    /// Requests and responses arrive whole, in order and once, across every wrap; no sleep is
    /// missed.
    #[test]
    fn both_ends_agree_with_queues(
        start in prop_oneof![any::<u32>(), Just(u32::MAX - 20)],
        pages in 1usize..4,
        steps in proptest::collection::vec((0u8..4, 1usize..40), 1..120),
    ) {
        let (mut front, mut back) = pair(pages, 112, start);
        let (mut asked, mut popped, mut answered) =
            (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (mut back_sleeps, mut front_sleeps, mut number) = (true, true, 0u64);
        for (what, count) in steps {
            match what {
                0 => {
                    for _ in 0..count {
                        let mut request = [0; 112];
                        request[104..].copy_from_slice(&number.to_le_bytes());
                        if front.push(&request).is_none() {
                            prop_assert_eq!(front.room(), 0);
                            break;
                        }
                        asked.push_back(number);
                        number += 1;
                    }
                    back_sleeps &= !front.publish();
                }
                1 => {
                    let mut request = [0; 112];
                    for _ in 0..count {
                        if !back.pop(&mut request).unwrap() {
                            break;
                        }
                        let got = u64::from_le_bytes(request[104..].try_into().unwrap());
                        prop_assert_eq!(Some(got), asked.pop_front());
                        popped.push_back(got);
                    }
                    back_sleeps = !back.arm().unwrap();
                }
                2 => {
                    for _ in 0..count {
                        let Some(n) = popped.pop_front() else { break };
                        prop_assert!(back.push(&n.to_le_bytes()));
                        answered.push_back(n);
                    }
                    front_sleeps &= !back.publish();
                }
                _ => {
                    let mut response = [0; 8];
                    for _ in 0..count {
                        if !front.pop(&mut response).unwrap() {
                            break;
                        }
                        prop_assert_eq!(Some(u64::from_le_bytes(response)), answered.pop_front());
                    }
                    front_sleeps = !front.arm(1).unwrap();
                }
            }
            prop_assert!(!back_sleeps || asked.is_empty(), "requests and a sleeping backend");
            prop_assert!(!front_sleeps || answered.is_empty(), "responses and a sleeping frontend");
        }
    }

    /// Whatever the backend writes into the pages, nothing worse than an error happens.
    #[test]
    fn no_bytes_can_do_harm(words: Vec<(u16, u32)>) {
        let (mut front, mut back) = pair(2, 112, u32::MAX - 3);
        for (at, word) in words {
            let page = &back.pages().pages()[usize::from(at) / 1024 % 2];
            page.u32_at(4 * (usize::from(at) % 1024)).store(word, Ordering::SeqCst);
            let _ = (front.push(&[1; 112]), front.publish(), front.pop(&mut [0; 112]));
            let _ = front.arm(2);
            let _ = (back.pop(&mut [0; 112]), back.push(&[2; 112]), back.publish(), back.arm());
            prop_assert!(front.outstanding() <= front.pages().slots());
        }
    }
}
