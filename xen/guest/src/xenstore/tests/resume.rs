//! The domain is saved and comes back with another ring and another store behind it.

use super::super::*;
use super::Lab;
use crate::testing::store::FakeStore;
use core::cell::RefCell;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;
use xen_abi::DomId;

/// Puts a new store behind the client, in which the domain has number 9.
fn resume(lab: &mut Lab, index: u32, features: u32) {
    lab.fake = FakeStore::new();
    lab.guest.resume(&lab.fake, DomId(9), index, features);
}

fn rings() -> [(u32, u32); 3] {
    [(0, 3), (u32::MAX - 20, 1), (u32::MAX - 20, 0)]
}

#[test]
fn requests_without_an_answer_are_sent_again() {
    for (index, features) in rings() {
        let mut lab = Lab::new();
        lab.server.borrow_mut().hold = true;
        let results = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = crate::testing::tasks::Tasks::new();
        for i in 0..30 {
            let (store, results) = (lab.store.clone(), results.clone());
            tasks.spawn(async move {
                let result = match i % 3 {
                    0 => store.read_text("domid").await,
                    1 => store.write("data/a", b"x").await.map(|()| "written".into()),
                    _ => store.directory("data").await.map(|names| names.join(" ")),
                };
                results.borrow_mut().push((i, result));
            });
        }
        tasks.poll();
        lab.settle();
        assert_eq!(tasks.poll(), 0);
        resume(&mut lab, index, features);
        while tasks.poll() > 0 || lab.turn() {}
        assert_eq!(tasks.left(), 0);
        for (i, result) in results.borrow().iter() {
            let expected = ["9", "written", "a"][i % 3];
            assert_eq!(result.as_deref(), Ok(if *i == 2 { "a" } else { expected }), "{i}");
        }
        assert_eq!(lab.fake.text("/local/domain/9/data/a").as_deref(), Some("x"));
    }
}

#[test]
fn a_request_sent_in_part_is_sent_from_its_beginning() {
    let mut lab = Lab::new();
    lab.server.borrow_mut().limit = 100;
    let store = lab.store.clone();
    let value = [5; 2000];
    let mut write = std::boxed::Box::pin(store.write("data/long", &value));
    let mut context = Context::from_waker(Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_pending());
    lab.turn();
    lab.turn();
    resume(&mut lab, 0, 0);
    assert_eq!(lab.run(write), Ok(()));
    assert_eq!(lab.fake.read("/local/domain/9/data/long").as_deref(), Some(&value[..]));
}

#[test]
fn every_watch_fires_once() {
    for (index, features) in rings() {
        let mut lab = Lab::new();
        let mut watches: Vec<Watch> =
            ["data", "device/vif"].map(|path| lab.run(lab.store.watch(path)).unwrap()).into();
        let mut context = Context::from_waker(Waker::noop());
        lab.settle();
        for watch in &mut watches {
            assert!(watch.poll_next(&mut context).is_ready());
        }
        drop(watches.remove(1));
        resume(&mut lab, index, features);
        lab.settle();
        assert_eq!(lab.fake.watch_count(), 1);
        assert_eq!(watches[0].poll_next(&mut context), Poll::Ready(Ok("data".into())));
        assert!(watches[0].poll_next(&mut context).is_pending());
        lab.fake.write("/local/domain/9/data/new", "");
        lab.settle();
        assert_eq!(watches[0].poll_next(&mut context), Poll::Ready(Ok("data/new".into())));
    }
}

#[test]
fn a_transaction_is_done_again_wherever_it_was() {
    for turns in 0..12 {
        let mut lab = Lab::new();
        let store = lab.store.clone();
        let mut future = std::boxed::Box::pin(store.transaction(async |t| {
            let domid = t.read_text("domid").await?;
            t.write("data/seen", domid.as_bytes()).await?;
            Ok::<String, StoreError>(domid)
        }));
        let mut context = Context::from_waker(Waker::noop());
        let mut result = future.as_mut().poll(&mut context);
        for turn in 0..turns {
            if result.is_ready() {
                break;
            }
            lab.turn();
            // The store may have seen the request, answered it, or neither.
            if turn + 1 < turns || turns % 2 == 0 {
                result = future.as_mut().poll(&mut context);
            }
        }
        if result.is_ready() {
            assert!(turns >= 4);
            continue;
        }
        resume(&mut lab, 0, 0);
        // Another transaction of the new store has the number that ours had.
        let other = lab.run(lab.store.begin()).unwrap();
        assert_eq!(lab.run(future).as_deref(), Ok("9"), "after {turns} turns");
        assert_eq!(lab.fake.text("/local/domain/9/data/seen").as_deref(), Some("9"));
        assert_eq!(lab.run(other.commit()), Ok(()));
        assert_eq!(lab.fake.transaction_count(), 0);
    }
}

#[test]
fn a_transaction_of_before_is_known_to_be_gone() {
    let mut lab = Lab::new();
    let transaction = lab.run(lab.store.begin()).unwrap();
    let idle = lab.run(lab.store.begin()).unwrap();
    resume(&mut lab, 0, 0);
    let served = |lab: &Lab| lab.server.borrow().served;
    assert_eq!(lab.run(transaction.read("domid")), Err(StoreError::AGAIN));
    assert_eq!(lab.run(transaction.commit()), Err(StoreError::AGAIN));
    drop(idle);
    lab.settle();
    assert_eq!(served(&lab), 0, "the new store never hears of them");
}

#[test]
fn a_broken_connection_is_mended() {
    let mut lab = Lab::with_ring(0, 0);
    let mut watch = lab.run(lab.store.watch("data")).unwrap();
    lab.server.borrow_mut().inject(&[0xff; 16]);
    lab.poke();
    lab.settle();
    assert!(lab.store.check().is_err());
    assert!(lab.run(lab.store.domid()).is_err());
    assert_eq!(lab.run(watch.next()).as_deref(), Ok("data"), "what had been told stays told");
    assert!(lab.run(watch.next()).is_err());
    resume(&mut lab, 0, 0);
    assert_eq!(lab.run(lab.store.domid()), Ok(DomId(9)));
    assert_eq!(lab.run(watch.next()).as_deref(), Ok("data"));
}
