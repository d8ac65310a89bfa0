//! The two ends in the store: from every pair of states, through plugging, unplugging and coming
//! back.

use super::*;
use core::cell::{Cell, RefCell};
use std::vec::Vec;

#[test]
fn two_ends_meet_and_part() {
    for state in [XenbusState::Initialised, XenbusState::Connected] {
        let pair = Pair::new();
        let done = RefCell::new(Vec::new());
        let mut tasks = Tasks::new();
        tasks.spawn(async {
            let mut front = pair.open_front().await.unwrap();
            let event = use_front(&mut front, state).await.unwrap();
            front.close().await.unwrap();
            done.borrow_mut().push(("front", event));
            // Not for a device that is about to be removed.
            assert_eq!(front.prepare().await, Err(DeviceError::Gone));
        });
        tasks.spawn(async {
            let mut back = pair.open_back().await.unwrap();
            let event = use_back(&mut back).await.unwrap();
            back.close().await.unwrap();
            done.borrow_mut().push(("back", event));
        });
        pair.run_all(&mut tasks);
        assert_eq!(pair.states(), ("4".into(), "4".into()));
        let text = |path: &str, key: &str| pair.fake.text(&format!("{path}/{key}")).unwrap();
        assert_eq!(text(&pair.front_path, "ring-ref"), "8");
        assert_eq!(text(&pair.back_path, "model"), "fast");
        assert_eq!(text(&pair.back_path, "sectors"), "1099511627776");
        pair.fake.unplug(&pair.back_path);
        pair.run_all(&mut tasks);
        assert_eq!(pair.states(), ("6".into(), "6".into()));
        pair.fake.remove(&pair.front_path);
        pair.run_all(&mut tasks);
        assert_eq!(tasks.left(), 0);
        let mut ended = done.take();
        ended.sort_by_key(|(end, _)| *end);
        assert_eq!(ended, [("back", Event::Closing), ("front", Event::Closing)]);
    }
}

#[test]
fn the_two_meet_from_every_pair_of_states() {
    for front_state in XenbusState::ALL {
        for back_state in XenbusState::ALL {
            let pair = Pair::new();
            pair.set_states(front_state, back_state);
            let mut tasks = Tasks::new();
            tasks.spawn(async {
                let mut front = pair.open_front().await.unwrap();
                while use_front(&mut front, XenbusState::Initialised).await.is_err() {
                    front.close().await.unwrap();
                }
            });
            tasks.spawn(async {
                let mut back = pair.open_back().await.unwrap();
                loop {
                    let _ = use_back(&mut back).await;
                    back.close().await.unwrap();
                }
            });
            pair.run_all(&mut tasks);
            assert_eq!(pair.states(), ("4".into(), "4".into()), "{front_state} {back_state}");
        }
    }
}

#[test]
fn a_device_comes_back() {
    let pair = Pair::new();
    let uses = Cell::new(0);
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        loop {
            let _ = use_front(&mut front, XenbusState::Connected).await;
            uses.set(uses.get() + 1);
            front.close().await.unwrap();
        }
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        for _ in 0..3 {
            back.offer(&BACK_KEYS).await.unwrap();
            back.accept(&[]).await.unwrap();
            back.close().await.unwrap();
        }
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    assert_eq!((pair.states(), uses.get()), (("4".into(), "4".into()), 3));
}

#[test]
fn a_backend_that_dies_is_replaced_by_one_in_another_domain() {
    let pair = Pair::new();
    let seen = RefCell::new(Vec::new());
    let other = Guest::new(&pair.fake, DomId(5));
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        loop {
            let event = use_front(&mut front, XenbusState::Connected).await.unwrap();
            seen.borrow_mut().push((front.peer_domain(), event.clone()));
            front.close().await.unwrap();
            if event == Event::Gone {
                return;
            }
        }
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        let event = use_back(&mut back).await.unwrap();
        seen.borrow_mut().push((FRONT, event));
    });
    pair.run_all(&mut tasks);
    assert_eq!(pair.states().0, "4");
    pair.fake.remove(&pair.back_path);
    pair.run_all(&mut tasks);
    assert_eq!(pair.states().0, "1", "waits for another backend");
    // Another driver domain takes over.
    let (_, back_path) = pair.fake.add_device("vif", 0, FRONT, DomId(5));
    tasks.spawn(async {
        let place = Place { frontend: FRONT, id: 0 };
        let mut back = Backend::open(&other.store, "vif", place).await.unwrap();
        let _ = use_back(&mut back).await;
    });
    while tasks.poll() > 0 || pair.turn() || other.turn() {}
    assert_eq!(pair.fake.text(&format!("{back_path}/state")).as_deref(), Some("4"));
    assert_eq!(pair.states().0, "4");
    pair.fake.remove(&pair.front_path);
    while tasks.poll() > 0 || pair.turn() || other.turn() {}
    let expected = [(FRONT, Event::Gone), (BACK, Event::Closed), (DomId(5), Event::Gone)];
    let mut seen = seen.take();
    seen[..2].sort_by_key(|(domain, _)| core::cmp::Reverse(*domain));
    assert_eq!(seen, expected);
}

#[test]
fn a_link_that_moves_is_the_end_of_the_connection() {
    let pair = Pair::new();
    let mut front = pair.run(pair.open_front()).unwrap();
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    pair.run(async {
        front.prepare().await.unwrap();
        front.publish(&FRONT_KEYS, XenbusState::Connected).await.unwrap();
    });
    pair.run_all(&mut tasks);
    pair.run(front.connect()).unwrap();
    // The backend of before stays where it is, connected.
    pair.fake.write(&format!("{}/backend", pair.front_path), "/local/domain/5/backend/vif/7/0");
    assert_eq!(pair.run(closing(&mut front)), Ok(Event::Closed));
    pair.run(front.close()).unwrap();
    assert_eq!(pair.states(), ("6".into(), "4".into()));
}

#[test]
fn nothing_is_told_to_an_end_that_is_not_ready_any_more() {
    for state in [XenbusState::Closing, XenbusState::Closed, XenbusState::Unknown] {
        let pair = Pair::new();
        let mut front = pair.run(pair.open_front()).unwrap();
        let mut back = pair.run(pair.open_back()).unwrap();
        pair.set_states(XenbusState::Initialising, XenbusState::InitWait);
        pair.run(front.prepare()).unwrap();
        pair.set_states(XenbusState::Initialising, state);
        let told = pair.run(front.publish(&FRONT_KEYS, XenbusState::Connected));
        assert_eq!(told, Err(DeviceError::Closing), "{state}");
        assert_eq!(pair.fake.text(&format!("{}/ring-ref", pair.front_path)), None);
        pair.set_states(XenbusState::Connected, XenbusState::InitWait);
        pair.run(back.offer(&BACK_KEYS)).unwrap();
        pair.set_states(state, XenbusState::InitWait);
        assert_eq!(pair.run(back.accept(&[])), Err(DeviceError::Closing), "{state}");
    }
}

#[test]
fn the_frontends_disappearance_is_seen_by_the_backend() {
    let pair = Pair::new();
    let closed = Cell::new(false);
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        let _ = use_front(&mut front, XenbusState::Connected).await;
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        assert_eq!(use_back(&mut back).await, Ok(Event::Closed));
        back.close().await.unwrap();
        closed.set(true);
    });
    pair.run_all(&mut tasks);
    pair.fake.remove(&pair.front_path);
    pair.run_all(&mut tasks);
    assert!(closed.get());
    assert_eq!(pair.states().1, "6");
}

#[test]
fn keys_of_the_peer_are_told_when_they_change() {
    let pair = Pair::new();
    let told = RefCell::new(Vec::new());
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        front.prepare().await.unwrap();
        front.publish(&FRONT_KEYS, XenbusState::Connected).await.unwrap();
        front.connect().await.unwrap();
        while let Ok(Event::Changed(key)) = front.event().await {
            told.borrow_mut().push(key);
        }
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    told.borrow_mut().clear();
    pair.fake.write(&format!("{}/sectors", pair.back_path), "77");
    pair.fake.write(&format!("{}/state", pair.back_path), "4");
    pair.run_all(&mut tasks);
    assert_eq!(*told.borrow(), ["sectors"]);
}

#[test]
fn devices_survive_a_resume() {
    let mut pair = Pair::new();
    let front = pair.run(pair.open_front()).unwrap();
    let mut front = front;
    // The toolstack makes the device anew in the new domain's directory, with the backend
    // elsewhere.
    pair.fake = FakeStore::new();
    pair.front.resume(&pair.fake, DomId(8), 0, 3);
    pair.back = Guest::new(&pair.fake, DomId(4));
    (pair.front_path, pair.back_path) = pair.fake.add_device("vif", 0, DomId(8), DomId(4));
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let _ = use_front(&mut front, XenbusState::Connected).await;
    });
    tasks.spawn(async {
        let place = Place { frontend: DomId(8), id: 0 };
        let mut back = Backend::open(&pair.back.store, "vif", place).await.unwrap();
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    assert_eq!(pair.states(), ("4".into(), "4".into()));
}
