//! Devices that are plugged and unplugged while somebody looks.

use super::super::{Change, Discovery};
use super::*;
use core::cell::RefCell;
use core::task::Poll;
use std::vec::Vec;

#[test]
fn a_frontend_is_told_of_every_device() {
    let pair = Pair::new();
    let told = RefCell::new(Vec::new());
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut discovery = Discovery::frontends(&pair.front.store, "vif").await.unwrap();
        loop {
            let change = discovery.next().await.unwrap();
            told.borrow_mut().push(change);
        }
    });
    let place = |id| Place { frontend: DomId::SELF, id };
    pair.run_all(&mut tasks);
    assert_eq!(told.take(), [Change::Added(place(0))]);
    pair.fake.add_device("vif", 5, FRONT, BACK);
    pair.fake.add_device("vbd", 51712, FRONT, BACK);
    pair.fake.write("/local/domain/7/device/vif/9/state", "1");
    pair.fake.write("/local/domain/7/device/vif/strange/backend", "x");
    pair.run_all(&mut tasks);
    assert_eq!(told.take(), [Change::Added(place(5))], "9 has no backend yet");
    pair.fake.write("/local/domain/7/device/vif/9/backend", "x");
    pair.fake.remove(&pair.front_path);
    pair.run_all(&mut tasks);
    assert_eq!(told.take(), [Change::Removed(place(0)), Change::Added(place(9))]);
    pair.fake.remove("/local/domain/7/device/vif");
    pair.run_all(&mut tasks);
    assert_eq!(told.take(), [Change::Removed(place(5)), Change::Removed(place(9))]);
}

#[test]
fn a_backend_is_told_of_every_device_of_every_domain() {
    let pair = Pair::new();
    pair.fake.add_device("vif", 1, DomId(9), BACK);
    let mut discovery = pair.run(Discovery::backends(&pair.back.store, "vif")).unwrap();
    let place = |domain, id| Place { frontend: DomId(domain), id };
    assert_eq!(pair.run(discovery.next()), Ok(Change::Added(place(7, 0))));
    assert_eq!(pair.run(discovery.next()), Ok(Change::Added(place(9, 1))));
    pair.fake.remove(&pair.back_path);
    assert_eq!(pair.run(discovery.next()), Ok(Change::Removed(place(7, 0))));
    assert!(pair.try_run(discovery.next()).is_none());
    assert_eq!(pair.run(discovery.list()), Ok(Vec::from([place(9, 1)])));
}

#[test]
fn a_change_is_told_even_if_the_look_at_it_was_cancelled() {
    let pair = Pair::new();
    let mut discovery = pair.run(Discovery::frontends(&pair.front.store, "vif")).unwrap();
    assert!(pair.run(discovery.next()).is_ok());
    for turns in 1..20 {
        let place = Place { frontend: DomId::SELF, id: turns };
        pair.fake.add_device("vif", turns, FRONT, BACK);
        while pair.turn() {}
        let mut told = None;
        {
            let mut next = core::pin::pin!(discovery.next());
            let mut context = core::task::Context::from_waker(core::task::Waker::noop());
            for _ in 0..turns {
                if let Poll::Ready(change) = next.as_mut().poll(&mut context) {
                    told = Some(change);
                    break;
                }
                pair.turn();
            }
        }
        // No event comes any more.
        while pair.turn() {}
        let told = told.unwrap_or_else(|| pair.run(discovery.next()));
        assert_eq!(told, Ok(Change::Added(place)), "after {turns} turns");
    }
}
