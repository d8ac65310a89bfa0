//! Watches: events, coalescing, removal.

use super::super::*;
use super::Lab;
use crate::testing::store::Quota;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::format;
use std::string::String;
use std::vec::Vec;

/// All that a watch has to tell now.
fn drain(lab: &Lab, watch: &mut Watch) -> Vec<String> {
    lab.settle();
    let mut context = Context::from_waker(Waker::noop());
    let mut told = Vec::new();
    while let Poll::Ready(change) = watch.poll_next(&mut context) {
        told.push(change.unwrap());
    }
    told
}

#[test]
fn a_watch_fires_at_once_and_then_at_changes() {
    let lab = Lab::new();
    lab.run(async {
        let mut watch = lab.store.watch("data").await.unwrap();
        assert_eq!(watch.next().await.unwrap(), "data");
        lab.store.write("data/x/y", b"1").await.unwrap();
        assert_eq!(watch.next().await.unwrap(), "data/x/y");
        let mut below = lab.store.watch("data/x/y").await.unwrap();
        assert_eq!(below.next().await.unwrap(), "data/x/y");
        lab.store.rm("data/x").await.unwrap();
        assert_eq!(watch.next().await.unwrap(), "data/x");
        assert_eq!(below.next().await.unwrap(), "data/x/y");
    });
}

#[test]
fn paths_are_told_as_they_were_watched() {
    let lab = Lab::new();
    let mut absolute = lab.run(lab.store.watch("/local/domain/7/data")).unwrap();
    let mut missing = lab.run(lab.store.watch("data/none")).unwrap();
    assert_eq!(drain(&lab, &mut absolute), ["/local/domain/7/data"]);
    assert_eq!(drain(&lab, &mut missing), ["data/none"]);
    lab.fake.write(&lab.home("data/none"), "");
    assert_eq!(drain(&lab, &mut absolute), ["/local/domain/7/data/none"]);
    assert_eq!(drain(&lab, &mut missing), ["data/none"]);
}

#[test]
fn changes_are_told_once_and_floods_are_cut() {
    let lab = Lab::new();
    let mut watch = lab.run(lab.store.watch("data")).unwrap();
    drain(&lab, &mut watch);
    for _ in 0..1000 {
        lab.fake.write(&lab.home("data/a"), "x");
        lab.fake.write(&lab.home("data/b"), "x");
    }
    assert_eq!(drain(&lab, &mut watch), ["data/a", "data/b"]);
    for i in 0..CHANGES_MAX + 1 {
        lab.fake.write(&lab.home(&format!("data/{i}")), "x");
    }
    assert_eq!(drain(&lab, &mut watch), ["data"], "something changed");
}

#[test]
fn a_dropped_watch_is_removed() {
    let lab = Lab::new();
    let watch = lab.run(lab.store.watch("data")).unwrap();
    let mut other = lab.run(lab.store.watch("data")).unwrap();
    assert_eq!(lab.fake.watch_count(), 2);
    // Events that are on the way to the dropped one are for nobody.
    lab.fake.write(&lab.home("data/a"), "x");
    drop(watch);
    assert_eq!(drain(&lab, &mut other), ["data", "data/a"]);
    assert_eq!(lab.fake.watch_count(), 1);
}

#[test]
fn a_watch_dropped_before_it_was_there_is_removed() {
    for turns in 0..4 {
        let lab = Lab::new();
        {
            let mut watch = pin!(lab.store.watch("data"));
            let mut context = Context::from_waker(Waker::noop());
            assert!(watch.as_mut().poll(&mut context).is_pending());
            for _ in 0..turns {
                lab.turn();
            }
        }
        lab.settle();
        assert_eq!(lab.fake.watch_count(), 0, "after {turns} turns");
        assert_eq!(lab.store.oldest_request(), None);
    }
}

#[test]
fn a_watch_that_the_store_refuses_is_an_error() {
    let lab = Lab::new();
    lab.fake.set_quota(Quota { watches: 1, ..Quota::default() });
    let first = lab.run(lab.store.watch("data")).unwrap();
    let second = lab.run(lab.store.watch("device")).err();
    assert_eq!(second, Some(StoreError::Store(ErrorName::NoSpace)));
    drop(first);
    assert!(lab.run(lab.store.watch("device")).is_ok());
}

#[test]
fn events_of_others_are_ignored() {
    let lab = Lab::new();
    let mut watch = lab.run(lab.store.watch("data")).unwrap();
    drain(&lab, &mut watch);
    for (path, token) in [("data/x", "77"), ("data/x", "/an/earlier/kernel"), ("data/x", "")] {
        let payload = [path.as_bytes(), b"\0", token.as_bytes(), b"\0"].concat();
        lab.server.borrow_mut().inject(&super::hostile::message(15, 0, 0, &payload));
    }
    lab.poke();
    assert_eq!(drain(&lab, &mut watch), [""; 0]);
    // A path that the watch does not cover is told as the watch's own.
    let payload = b"/elsewhere\x001\0extra\0";
    lab.server.borrow_mut().inject(&super::hostile::message(15, 0, 0, payload));
    lab.poke();
    assert_eq!(drain(&lab, &mut watch), ["data"]);
    assert_eq!(lab.store.check(), Ok(()));
}
