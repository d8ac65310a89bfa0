//! A store that says anything: nothing panics, hangs or grows, and whoever waits is told.

use super::super::*;
use super::Lab;
use crate::testing::tasks::Tasks;
use core::cell::Cell;
use core::future::Future;
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use std::vec::Vec;
use xen_abi::xs_wire::{Header, MessageType, RequestId, TransactionId};

/// A message as bytes.
pub(super) fn message(kind: u32, request: u32, transaction: u32, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: MessageType(kind),
        request: RequestId(request),
        transaction: TransactionId(transaction),
        len_bytes: payload.len() as u32,
    };
    [&header.emit()[..], payload].concat()
}

/// What a read of `domid` gives when the reply to it is changed by `change`, and whether the
/// connection works afterwards.
fn read_with(
    features: u32,
    change: impl Fn(&mut Vec<u8>),
) -> (Result<Vec<u8>, StoreError>, Result<xen_abi::DomId, StoreError>) {
    let lab = Lab::with_ring(0, features);
    lab.server.borrow_mut().hold = true;
    let changed = Cell::new(false);
    let result = crate::testing::tasks::run(lab.store.read("domid"), || {
        let moved = lab.turn();
        let mut server = lab.server.borrow_mut();
        if !changed.get() && !server.held().is_empty() {
            let mut reply = server.held()[0].clone();
            change(&mut reply);
            server.hold = false;
            server.inject(&reply);
            changed.set(true);
            lab.poke();
        }
        moved || changed.get() && lab.is_busy()
    });
    let after = lab.run(lab.store.domid());
    (result.expect("whoever waits is told"), after)
}

#[test]
fn each_offence_has_its_name() {
    type Offence = (&'static str, fn(&mut Vec<u8>), fn(BadReply) -> bool);
    let offences: [Offence; 6] = [
        ("too long", |r| r[13] = 0xff, |b| matches!(b, BadReply::TooLong(_))),
        ("unsolicited", |r| r[4] ^= 1, |b| matches!(b, BadReply::Unsolicited(_))),
        ("wrong type", |r| r[0] = 1, |b| b == BadReply::Type(1)),
        ("wrong transaction", |r| r[8] = 9, |b| b == BadReply::Transaction(9)),
        ("error without a name", |r| r[0] = 16, |b| b == BadReply::Error),
        ("event without a token", |r| r[0] = 15, |b| b == BadReply::Event),
    ];
    for (name, change, expected) in offences {
        for features in [0, 1] {
            let (result, after) = read_with(features, change);
            let Err(StoreError::BadReply(reply)) = result else { panic!("{name}: {result:?}") };
            assert!(expected(reply), "{name}: {reply:?}");
            assert_eq!(after.is_ok(), features == 1, "{name}: a fresh start, if there is one");
        }
    }
}

#[test]
fn a_bad_payload_harms_its_own_request_alone() {
    let lab = Lab::with_ring(0, 0);
    let store = &lab.store;
    let spoil = |kind: u32, payload: &'static [u8]| {
        let lab = &lab;
        move || {
            let mut server = lab.server.borrow_mut();
            server.hold = true;
            drop(server);
            let moved = lab.turn();
            let mut server = lab.server.borrow_mut();
            if let Some(reply) = server.held().first().cloned() {
                let id = u32::from_le_bytes(reply[4..8].try_into().unwrap());
                server.hold = false;
                let bytes = message(kind, id, 0, payload);
                server.inject(&bytes);
                lab.poke();
                // The true reply is forgotten.
                server.forget_held();
                return true;
            }
            moved
        }
    };
    let bad = |reply| Err(StoreError::BadReply(reply));
    let text = |error| BadReply::Text(error);
    use crate::testing::tasks::run;
    let result = run(store.write("data/a", b"x"), spoil(11, b"KO\0")).unwrap();
    assert_eq!(result, bad(BadReply::NotOk));
    let result = run(store.directory("data"), spoil(1, b"a\0b")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::NoNul)));
    let result = run(store.directory("data"), spoil(1, b"a\0b c\0")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::Characters)));
    let result = run(store.domid(), spoil(2, b"70000")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::Number)));
    let result = run(store.permissions("data"), spoil(3, b"x7\0")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::Characters)));
    let result = run(store.begin(), spoil(6, b"-1\0")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::Number)));
    let result = run(store.begin(), spoil(6, b"0\0")).unwrap();
    assert_eq!(result.map(|_| ()), bad(text(TextError::Number)));
    lab.server.borrow_mut().hold = false;
    assert!(lab.run(store.domid()).is_ok(), "the connection works");
}

#[test]
fn a_reply_to_a_request_that_is_not_sent_yet_is_an_offence() {
    let lab = Lab::with_ring(0, 0);
    let value = [0; 2000];
    let mut write = std::boxed::Box::pin(lab.store.write("data/a", &value));
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_pending());
    let mut id = [0; 4];
    lab.server.borrow().page().read(4, &mut id);
    let reply = message(11, u32::from_le_bytes(id), 0, b"OK\0");
    lab.server.borrow_mut().limit = reply.len();
    lab.server.borrow_mut().inject(&reply);
    lab.poke();
    lab.turn();
    let offence = BadReply::Unsolicited(RequestId(u32::from_le_bytes(id)));
    assert_eq!(lab.run(write), Err(StoreError::BadReply(offence)));
}

#[test]
fn a_store_that_reports_an_error_is_believed() {
    for features in [2, 3] {
        let lab = Lab::with_ring(0, features);
        lab.run(lab.store.domid()).unwrap();
        let page = lab.server.borrow().page().peer();
        page.u32_at(2072).store(3, Ordering::SeqCst);
        let read = lab.run(lab.store.domid());
        if features == 2 {
            assert_eq!(read, Err(StoreError::Broken(Broken::ByStore(3))));
            assert_eq!(lab.store.check(), Err(StoreError::Broken(Broken::ByStore(3))));
        } else {
            assert_eq!(read.unwrap_err(), StoreError::Broken(Broken::ByStore(3)));
            assert!(lab.run(lab.store.domid()).is_ok());
        }
    }
}

#[test]
fn a_store_that_never_makes_sense_is_given_up() {
    let lab = Lab::with_ring(0, 1);
    let mut offences = 0;
    while lab.store.check().is_ok() {
        offences += 1;
        assert!(offences < 100, "never given up");
        lab.server.borrow_mut().inject(&[0xee; 16]);
        lab.poke();
        lab.settle();
    }
    assert!(offences > 1);
    assert!(lab.run(lab.store.domid()).is_err());
}

#[test]
fn a_part_without_progress_ends() {
    let lab = Lab::new();
    for i in 0..900 {
        lab.fake.write(&lab.home(&std::format!("data/some-name-{i:04}")), "");
    }
    // A list that never ends: the same long part again and again.
    let part = [b"1\0".to_vec(), b"abcdefg\0".repeat(500)].concat();
    let result = crate::testing::tasks::run(lab.store.directory("data"), || {
        lab.server.borrow_mut().hold = true;
        let moved = lab.turn();
        let mut server = lab.server.borrow_mut();
        let Some(reply) = server.held().first().cloned() else { return moved };
        let id = u32::from_le_bytes(reply[4..8].try_into().unwrap());
        let bytes = if reply.ends_with(b"E2BIG\0") { reply } else { message(22, id, 0, &part) };
        server.inject(&bytes);
        server.forget_held();
        lab.poke();
        true
    });
    assert_eq!(result.unwrap(), Err(StoreError::BadReply(BadReply::Directory)));
}

/// What the store does instead of serving.
#[derive(Clone, Debug)]
enum Act {
    Serve,
    Word(usize, u32),
    Bytes(Vec<u8>),
    Message(u32, u32, u32, Vec<u8>),
    Flip(usize, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let word = prop_oneof![any::<u32>(), 0u32..4];
    let text = prop_oneof![Just(0u8), Just(b'1'), Just(b'O'), Just(b'K'), any::<u8>()];
    prop_oneof![
        4 => Just(Act::Serve),
        1 => (0usize..8, word).prop_map(|(at, word)| Act::Word(2048 + 4 * at, word)),
        1 => proptest::collection::vec(any::<u8>(), 0..80).prop_map(Act::Bytes),
        2 => (0u32..24, 0u32..40, 0u32..3, proptest::collection::vec(text, 0..20))
            .prop_map(|(kind, id, tx, payload)| Act::Message(kind, id, tx, payload)),
        2 => (1024usize..2048, 1u8..=255).prop_map(|(at, bits)| Act::Flip(at, bits)),
    ]
}

/// Whether the server would find indices that it can go on with: its own asserts are for the
/// client.
fn sane(lab: &Lab) -> bool {
    let server = lab.server.borrow();
    let word = |at| server.page().u32_at(at).load(Ordering::SeqCst);
    word(2052).wrapping_sub(word(2048)) <= 1024 && word(2060).wrapping_sub(word(2056)) <= 1024
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_the_store_does_does_harm(
        features in 0u32..4,
        start in prop_oneof![Just(0u32), Just(u32::MAX - 50), any::<u32>()],
        acts in proptest::collection::vec(act(), 1..60),
    ) {
        let lab = Lab::with_ring(start, features);
        let mut tasks = Tasks::new();
        for i in 0..4 {
            let store = lab.store.clone();
            tasks.spawn(async move {
                for _ in 0..20 {
                    match i {
                        0 => drop(store.read("domid").await),
                        1 => drop(store.directory("data").await),
                        2 => drop(store.transaction(async |t| {
                            t.write("data/a", &[1; 1500]).await
                        }).await),
                        _ => if let Ok(mut watch) = store.watch("data").await {
                            let _ = watch.next().await;
                        },
                    }
                }
            });
        }
        for act in acts {
            tasks.poll();
            match act {
                Act::Serve if sane(&lab) => drop(lab.server.borrow_mut().serve()),
                Act::Serve => {}
                Act::Word(at, word) => {
                    lab.server.borrow().page().u32_at(at).store(word, Ordering::SeqCst);
                }
                Act::Bytes(bytes) => lab.server.borrow_mut().inject(&bytes),
                Act::Message(kind, id, tx, payload) => {
                    lab.server.borrow_mut().inject(&message(kind, id, tx, &payload));
                }
                Act::Flip(at, bits) => {
                    lab.server.borrow().page().u8_at(at).fetch_xor(bits, Ordering::SeqCst);
                }
            }
            lab.store.on_event();
        }
        // Once it behaves again, or has been given up, everybody comes to an end.
        if lab.store.check().is_err() {
            for _ in 0..200 {
                tasks.poll();
            }
            prop_assert_eq!(tasks.left(), 0);
        }
    }
}
