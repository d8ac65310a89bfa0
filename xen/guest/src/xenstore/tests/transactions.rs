//! Transactions: isolation, conflicts, and none that stays open.

use super::super::*;
use super::Lab;
use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Waker};

#[test]
fn a_transaction_takes_effect_as_a_whole() {
    let lab = Lab::new();
    let store = &lab.store;
    lab.run(async {
        let transaction = store.begin().await.unwrap();
        transaction.write("data/a", b"1").await.unwrap();
        transaction.write("data/b", b"2").await.unwrap();
        assert_eq!(transaction.read("data/a").await.unwrap(), b"1");
        assert_eq!(store.read("data/a").await, Err(StoreError::NO_ENTRY));
        transaction.commit().await.unwrap();
        assert_eq!(store.read("data/b").await.unwrap(), b"2");
    });
    assert_eq!(lab.fake.transaction_count(), 0);
}

#[test]
fn a_conflict_is_retried() {
    let lab = Lab::new();
    lab.fake.write(&lab.home("data/count"), "5");
    let tries = Cell::new(0);
    let result = lab.run(lab.store.transaction(async |t| {
        let count = t.read_text("data/count").await?;
        tries.set(tries.get() + 1);
        if tries.get() < 4 {
            lab.fake.write(&lab.home("data/count"), "6");
        }
        t.write("data/copy", count.as_bytes()).await?;
        Ok(count)
    }));
    assert_eq!((result.as_deref(), tries.get()), (Ok("6"), 4));
    assert_eq!(lab.fake.text(&lab.home("data/copy")).as_deref(), Some("6"));
    assert_eq!(lab.fake.transaction_count(), 0);
}

#[test]
fn retries_end() {
    let lab = Lab::new();
    let tries = Cell::new(0);
    let result = lab.run(lab.store.transaction(async |t| {
        tries.set(tries.get() + 1);
        t.write("data/a", b"x").await?;
        lab.fake.write(&lab.home("data/a"), "y");
        Ok(())
    }));
    assert_eq!((result, tries.get()), (Err(StoreError::AGAIN), TRANSACTION_TRIES));
    assert_eq!(lab.fake.transaction_count(), 0);
}

#[test]
fn an_error_in_the_body_aborts() {
    let lab = Lab::new();
    let result = lab.run(lab.store.transaction(async |t| {
        t.write("data/a", b"x").await?;
        t.read("data/none").await
    }));
    assert_eq!(result, Err(StoreError::NO_ENTRY));
    lab.settle();
    assert_eq!(lab.fake.transaction_count(), 0);
    assert_eq!(lab.fake.read(&lab.home("data/a")), None);
}

#[test]
fn a_transaction_dropped_at_any_point_does_not_stay_open() {
    let body = async |store: &Xenstore| {
        let transaction = store.begin().await?;
        transaction.write("data/a", b"x").await?;
        transaction.commit().await
    };
    let mut whole = 0;
    for turns in 0..40 {
        let lab = Lab::new();
        lab.server.borrow_mut().limit = 13;
        {
            let mut future = pin!(body(&lab.store));
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..turns {
                if future.as_mut().poll(&mut context).is_ready() {
                    whole += 1;
                    break;
                }
                lab.turn();
            }
        }
        lab.settle();
        assert_eq!(lab.fake.transaction_count(), 0, "after {turns} turns");
        assert_eq!(lab.store.oldest_request(), None);
    }
    assert!(whole > 0, "the test never got to the end");
}

#[test]
fn futures_can_be_sent_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let lab = Lab::new();
    let store = lab.store.clone();
    is_send(&store.read("a"));
    is_send(&store.directory("a"));
    is_send(&store.watch("a"));
    is_send(&async {
        store.transaction(async |t| t.write("data/a", b"x").await).await?;
        let mut watch = store.watch("a").await?;
        watch.next().await
    });
}
