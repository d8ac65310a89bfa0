//! Requests: results, errors, many at a time, dropped ones, and rings that others have used.

use super::super::*;
use super::{GUEST, Lab};
use crate::page::SharedPage;
use crate::testing::store::{FakeStore, Quota, StoreServer};
use crate::testing::tasks::Tasks;
use core::cell::RefCell;
use core::future::Future;
use core::pin::pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll, Waker};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};
use xen_abi::DomId;
use xen_abi::xs_wire::{HEADER_BYTES, Header, MessageType, RequestId, TransactionId};

/// Polls once, without anyone to wake.
fn poll_once<F: Future>(future: core::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_is_written_is_read() {
    let lab = Lab::new();
    let store = &lab.store;
    lab.run(async {
        assert_eq!(store.domid().await, Ok(GUEST));
        store.write("data/a", b"one").await.unwrap();
        store.write("/local/domain/7/data/b", b"\0\xff").await.unwrap();
        store.mkdir("data/c").await.unwrap();
        assert_eq!(store.read("data/b").await.unwrap(), b"\0\xff");
        assert_eq!(store.read_text("data/a").await.unwrap(), "one");
        assert_eq!(store.read("data/c").await.unwrap(), b"");
        assert_eq!(store.directory("data").await.unwrap(), ["a", "b", "c"]);
        assert_eq!(store.directory("data/a").await.unwrap(), [""; 0]);
        store.rm("data/c").await.unwrap();
        store.rm("data/c").await.unwrap();
        assert_eq!(store.read("data/c").await, Err(StoreError::NO_ENTRY));
    });
    assert_eq!(lab.fake.text(&lab.home("data/a")).as_deref(), Some("one"), "no NUL behind it");
}

#[test]
fn permissions_go_both_ways() {
    let lab = Lab::new();
    let all = [
        Permission { domain: GUEST, access: Access::None },
        Permission { domain: DomId(0), access: Access::Both },
        Permission { domain: DomId(3), access: Access::Read },
    ];
    lab.run(async {
        lab.store.mkdir("data/x").await.unwrap();
        lab.store.set_permissions("data/x", &all).await.unwrap();
        assert_eq!(lab.store.permissions("data/x").await.unwrap(), all);
    });
    assert_eq!(lab.fake.permissions(&lab.home("data/x")), all);
}

#[test]
fn refusals_are_typed() {
    let lab = Lab::new();
    lab.fake.set_quota(Quota { nodes: 8, ..Quota::default() });
    let store = &lab.store;
    lab.run(async {
        assert_eq!(store.read("data/none").await, Err(StoreError::NO_ENTRY));
        assert_eq!(store.write("name", b"x").await, Err(StoreError::ACCESS));
        assert_eq!(store.read("/local/domain/8/name").await, Err(StoreError::NO_ENTRY));
        lab.fake.add_domain(DomId(8), SharedPage::allocate().unwrap());
        assert_eq!(store.read("/local/domain/8/name").await, Err(StoreError::ACCESS));
        let no_space = Err(StoreError::Store(ErrorName::NoSpace));
        assert_eq!(store.write("data/long", &[1; 2049]).await, no_space);
        for i in 0..5 {
            store.mkdir(&format!("data/{i}")).await.unwrap();
        }
        assert_eq!(store.mkdir("data/6").await, no_space);
        assert_eq!(store.rm("data/none/none").await, Err(StoreError::NO_ENTRY));
        assert_eq!(store.read_text("data/0").await.unwrap(), "");
    });
}

#[test]
fn what_cannot_be_asked_is_not_sent() {
    let lab = Lab::new();
    let store = &lab.store;
    lab.run(async {
        let path = StoreError::Path(PathError::Character(1));
        assert_eq!(store.read("a b").await, Err(path));
        assert_eq!(store.write("a\0b", b"").await, Err(path));
        assert_eq!(store.watch("a b").await.err(), Some(path));
        assert_eq!(store.write("data/x", &[0; 4090]).await, Err(StoreError::TooLong));
    });
    assert_eq!(lab.server.borrow().served, 0);
}

#[test]
fn at_most_16_are_in_flight_and_each_gets_its_own_reply() {
    let lab = Lab::with_ring(u32::MAX - 40, 0);
    lab.run(async { lab.store.domid().await }).unwrap();
    lab.server.borrow_mut().hold = true;
    for i in 0..50 {
        lab.fake.write(&lab.home(&format!("data/{i}")), &format!("value {i}"));
    }
    let read = RefCell::new(BTreeMap::new());
    let mut tasks = Tasks::new();
    for i in 0..50 {
        let (store, read) = (lab.store.clone(), &read);
        tasks.spawn(async move {
            let value = store.read_text(&format!("/local/domain/7/data/{i}")).await;
            read.borrow_mut().insert(i, value);
        });
    }
    let mut which = 5;
    loop {
        while tasks.poll() > 0 || lab.turn() {}
        if tasks.left() == 0 {
            break;
        }
        let mut server = lab.server.borrow_mut();
        let mut ids: Vec<[u8; 4]> =
            server.held().iter().map(|reply| reply[4..8].try_into().unwrap()).collect();
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert!(count > 0 && ids.len() == count, "ids in flight are used once");
        server.release(which);
        which += 7;
        lab.poke();
    }
    assert_eq!(lab.server.borrow().held_max, IN_FLIGHT_MAX);
    assert_eq!(read.borrow().len(), 50);
    for (i, value) in read.borrow().iter() {
        assert_eq!(value.as_deref(), Ok(format!("value {i}").as_str()));
    }
}

#[test]
fn an_id_is_not_used_again_soon() {
    let lab = Lab::new();
    lab.server.borrow_mut().hold = true;
    let mut seen = Vec::new();
    for _ in 0..100 {
        let mut call = std::boxed::Box::pin(lab.store.domid());
        assert!(poll_once(call.as_mut()).is_pending());
        lab.settle();
        let id: [u8; 4] = lab.server.borrow().held()[0][4..8].try_into().unwrap();
        assert!(id != [0; 4] && !seen.contains(&id));
        seen.push(id);
        lab.server.borrow_mut().release(0);
        lab.poke();
        assert_eq!(lab.run(call), Ok(GUEST));
    }
}

#[test]
fn a_dropped_request_harms_no_other() {
    let lab = Lab::new();
    lab.fake.write(&lab.home("data/a"), "a");
    lab.server.borrow_mut().hold = true;
    let store = &lab.store;
    let mut sent = Vec::new();
    for _ in 0..40 {
        let mut call = std::boxed::Box::pin(store.read("name"));
        assert!(poll_once(call.as_mut()).is_pending());
        sent.push(call);
    }
    lab.settle();
    assert_eq!(lab.server.borrow().held().len(), IN_FLIGHT_MAX);
    drop(sent);
    let mut read = pin!(store.read("domid"));
    assert!(poll_once(read.as_mut()).is_pending());
    lab.settle();
    assert_eq!(lab.server.borrow().held().len(), IN_FLIGHT_MAX, "their places are still taken");
    assert_eq!(store.oldest_request().unwrap().to_string(), "xenstore read name");
    lab.server.borrow_mut().hold = false;
    for _ in 0..IN_FLIGHT_MAX {
        lab.server.borrow_mut().release(0);
    }
    lab.poke();
    lab.settle();
    assert_eq!(poll_once(read), Poll::Ready(Ok(b"7".to_vec())));
    assert_eq!(lab.server.borrow().served, 17, "those that had not been sent never were");
    assert_eq!(store.oldest_request(), None);
}

#[test]
fn a_silent_store_takes_no_memory() {
    let lab = Lab::new();
    for _ in 0..10_000 {
        let mut call = pin!(lab.store.write("data/a", b"x"));
        assert!(poll_once(call.as_mut()).is_pending());
        let mut watch = std::boxed::Box::pin(lab.store.watch("data"));
        assert!(poll_once(watch.as_mut()).is_pending());
        let mut begin = std::boxed::Box::pin(lab.store.begin());
        assert!(poll_once(begin.as_mut()).is_pending());
    }
    lab.settle();
    lab.run(async { lab.store.domid().await }).unwrap();
    let served = lab.server.borrow().served;
    assert!(served < 60, "{served} requests were kept for nobody");
    assert_eq!((lab.fake.watch_count(), lab.fake.transaction_count()), (0, 0));
}

#[test]
fn a_directory_is_read_in_parts() {
    let lab = Lab::with_ring(u32::MAX - 1000, 0);
    let names: Vec<String> = (0..900).map(|i| format!("some-name-{i:04}")).collect();
    for name in &names {
        lab.fake.write(&lab.home(&format!("data/{name}")), "");
    }
    assert_eq!(lab.run(lab.store.directory("data")).unwrap(), names);
}

#[test]
fn a_directory_that_changes_is_read_again() {
    let lab = Lab::new();
    for i in 0..900 {
        lab.fake.write(&lab.home(&format!("data/some-name-{i:04}")), "");
    }
    let mut changes = 3;
    let before = lab.server.borrow().served;
    let mut next = before + 3;
    let list = crate::testing::tasks::run(lab.store.directory("data"), || {
        let moved = lab.turn();
        if changes > 0 && lab.server.borrow().served >= next {
            next += 2;
            changes -= 1;
            lab.fake.write(&lab.home(&format!("data/new-{changes}")), "");
        }
        moved
    });
    let list = list.unwrap().unwrap();
    assert_eq!((changes, list.len()), (0, 903));
    assert!(list.contains(&"new-2".into()) && list.contains(&"some-name-0899".into()));
}

#[test]
fn a_ring_with_leftovers_is_started_afresh() {
    let lab = Lab::with_ring(u32::MAX - 3, 1);
    assert_eq!(lab.server.borrow().page().u32_at(2068).load(Ordering::SeqCst), 1);
    assert_eq!(lab.run(lab.store.domid()), Ok(GUEST));
    assert_eq!(lab.server.borrow().page().u32_at(2068).load(Ordering::SeqCst), 0);
}

#[test]
fn nothing_is_sent_while_a_fresh_start_is_due() {
    let page = SharedPage::allocate().unwrap();
    page.u32_at(2068).store(1, Ordering::SeqCst);
    let fake = FakeStore::new();
    let server = fake.add_domain(GUEST, page.peer());
    let lab = Lab::on(fake, server, page);
    let mut read = pin!(lab.store.domid());
    assert!(poll_once(read.as_mut()).is_pending());
    assert_eq!(lab.server.borrow().page().u32_at(2052).load(Ordering::SeqCst), 0);
    lab.poke();
    assert_eq!(lab.run(read), Ok(GUEST));
}

#[test]
fn replies_to_an_earlier_kernel_are_thrown_away() {
    let page = SharedPage::allocate().unwrap();
    StoreServer::prepare(&page, u32::MAX - 9, 0);
    let fake = FakeStore::new();
    let mut server = fake.add_domain(GUEST, page.peer());
    let header = Header {
        kind: MessageType::READ,
        request: RequestId(3),
        transaction: TransactionId(0),
        len_bytes: 2,
    };
    server.inject(&[&header.emit()[..], b"hi"].concat());
    server.inject(&[&header.emit()[..], b"ho"].concat());
    assert!(server.serve());
    let lab = Lab::on(fake, server, page);
    assert_eq!(lab.run(lab.store.domid()), Ok(GUEST));
    // From then on, such a reply is an offence.
    lab.server.borrow_mut().inject(&[&header.emit()[..], b"ha"].concat());
    lab.poke();
    lab.settle();
    let error = lab.run(lab.store.domid()).unwrap_err();
    assert!(matches!(error, StoreError::BadReply(BadReply::Unsolicited(_))), "{error}");
}

#[derive(Clone, Debug)]
enum Op {
    Write(u8, usize),
    Rm(u8),
    Read(u8),
    List,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..6, 0usize..2048).prop_map(|(node, len)| Op::Write(node, len)),
        (0u8..6).prop_map(Op::Rm),
        (0u8..6).prop_map(Op::Read),
        Just(Op::List),
    ]
}

proptest! {
    /// The client, in any pieces and across every wrap, gives what a map would give.
    #[test]
    fn the_store_is_a_map(
        start in prop_oneof![any::<u32>(), Just(u32::MAX - 700)],
        limit in 1usize..1500,
        ops in proptest::collection::vec(op(), 1..30),
    ) {
        let lab = Lab::with_ring(start, 0);
        lab.server.borrow_mut().limit = limit;
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let store = &lab.store;
        for (i, op) in ops.into_iter().enumerate() {
            match op {
                Op::Write(node, len) => {
                    let value = vec![i as u8; len];
                    prop_assert_eq!(lab.run(store.write(&format!("data/{node}"), &value)), Ok(()));
                    model.insert(node.to_string(), value);
                }
                Op::Rm(node) => {
                    prop_assert_eq!(lab.run(store.rm(&format!("data/{node}"))), Ok(()));
                    model.remove(&node.to_string());
                }
                Op::Read(node) => {
                    let value = model.get(&node.to_string()).cloned();
                    let read = lab.run(store.read(&format!("data/{node}")));
                    prop_assert_eq!(read, value.ok_or(StoreError::NO_ENTRY));
                }
                Op::List => {
                    let names: Vec<String> = model.keys().cloned().collect();
                    prop_assert_eq!(lab.run(store.directory("data")), Ok(names));
                }
            }
        }
        prop_assert!(lab.server.borrow().page().u32_at(2052).load(Ordering::SeqCst)
            .wrapping_sub(start) as usize >= HEADER_BYTES);
    }

    /// Long writes while long replies come: neither side waits for the other.
    #[test]
    fn long_requests_and_long_replies_pass_each_other(
        limit in 1usize..1500,
        lengths in proptest::collection::vec(0usize..2048, 2..24),
    ) {
        let lab = Lab::with_ring(u32::MAX - 99, 0);
        lab.fake.write(&lab.home("data/long"), &"x".repeat(2000));
        lab.server.borrow_mut().limit = limit;
        let mut tasks = Tasks::new();
        for (i, len) in lengths.iter().enumerate() {
            let store = lab.store.clone();
            tasks.spawn(async move {
                if i % 2 == 0 {
                    store.write(&format!("data/{i}"), &vec![7; *len]).await.unwrap();
                } else {
                    assert_eq!(store.read("data/long").await.unwrap().len(), 2000);
                }
            });
        }
        while tasks.poll() > 0 || lab.turn() {}
        prop_assert_eq!(tasks.left(), 0);
    }
}
