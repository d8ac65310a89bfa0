//! Peers that lie: the device is closed with a named error, and nothing else happens.

use super::super::{Key, KeyFault};
use super::*;
use crate::xenstore::{Access, Permission};
use core::cell::RefCell;
use proptest::prelude::*;

fn fault(path: &str, fault: KeyFault) -> DeviceError {
    DeviceError::Key { path: path.into(), fault }
}

#[test]
fn values_of_the_peer_are_checked() {
    let pair = Pair::new();
    let front = pair.run(pair.open_front()).unwrap();
    let path = |key: &str| format!("{}/{key}", pair.back_path);
    let set = |key: &str, value: &str| pair.fake.write(&path(key), value);
    let peer = front.peer();
    pair.run(async {
        assert_eq!(peer.number("none").await, Ok(None));
        assert_eq!(peer.required("none").await, Err(fault(&path("none"), KeyFault::Missing)));
        assert_eq!(peer.flag("none").await, Ok(false));
        for (value, number, flag) in
            [("0", Some(0), Some(false)), ("1", Some(1), Some(true)), ("2", Some(2), None)]
        {
            set("x", value);
            assert_eq!(peer.number("x").await.ok().flatten(), number);
            assert_eq!(peer.flag("x").await.ok(), flag);
        }
        for value in ["", "-1", "4294967296", "1 ", "0x1", "99999999999999999999999", "one"] {
            set("x", value);
            assert_eq!(peer.number("x").await, Err(fault(&path("x"), KeyFault::Malformed)));
        }
        set("x", "1099511627776");
        assert_eq!(peer.wide_number("x").await, Ok(Some(1 << 40)));
        set("mac", "00:16:3e:00:00:01");
        assert_eq!(peer.text("mac", 17).await.unwrap().as_deref(), Some("00:16:3e:00:00:01"));
        assert_eq!(peer.text("mac", 16).await, Err(fault(&path("mac"), KeyFault::TooLong)));
        set("mac", "a\n");
        assert_eq!(peer.text("mac", 17).await, Err(fault(&path("mac"), KeyFault::Malformed)));
    });
}

#[test]
fn a_link_that_leads_elsewhere_is_not_followed() {
    let pair = Pair::new();
    for link in [
        "",
        "/",
        "/local/domain/3/backend/vif/7",
        "/local/domain/3/backend/vif/7/0/x",
        "/local/domain/3/backend/vif/7/1",
        "/local/domain/3/backend/vif/8/0",
        "/local/domain/4/backend/vif/7/0",
        "/local/domain/3/backend//7/0",
        "/local/domain/3/device/vif/7/0",
        "/local/domain/-3/backend/vif/7/0",
        "local/domain/3/backend/vif/7/0",
    ] {
        let path = format!("{}/backend", pair.front_path);
        pair.fake.write(&path, link);
        let own = "device/vif/0/backend";
        let opened = pair.run(pair.open_front()).err();
        assert_eq!(opened, Some(fault(own, KeyFault::Malformed)), "{link}");
    }
    let path = format!("{}/backend-id", pair.front_path);
    pair.fake.write(&path, "65539");
    assert!(pair.run(pair.open_front()).is_err());
    pair.fake.remove(&path);
    let missing = fault("device/vif/0/backend-id", KeyFault::Missing);
    assert_eq!(pair.run(pair.open_front()).err(), Some(missing));
    pair.fake.remove(&pair.front_path);
    assert_eq!(pair.run(pair.open_front()).err(), Some(DeviceError::Gone));
}

#[test]
fn a_state_that_makes_no_sense_closes_the_device_and_says_why() {
    let pair = Pair::new();
    let error = RefCell::new(None);
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        let failed = use_front(&mut front, XenbusState::Connected).await.unwrap_err();
        front.fail(&failed).await.unwrap();
        *error.borrow_mut() = Some(failed);
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    let state = format!("{}/state", pair.back_path);
    pair.fake.write(&state, "44");
    pair.run_all(&mut tasks);
    assert_eq!(error.take(), Some(fault(&state, KeyFault::Malformed)));
    let text = pair.fake.text("/local/domain/7/error/device/vif/0/error").unwrap();
    assert_eq!(text, format!("{state} is malformed"));
    assert_eq!(pair.states().0, "6");
}

#[test]
fn a_peer_that_hides_its_state_is_as_good_as_gone() {
    let pair = Pair::new();
    let event = RefCell::new(None);
    let mut tasks = Tasks::new();
    tasks.spawn(async {
        let mut front = pair.open_front().await.unwrap();
        *event.borrow_mut() = Some(use_front(&mut front, XenbusState::Connected).await);
        front.close().await.unwrap();
    });
    tasks.spawn(async {
        let mut back = pair.open_back().await.unwrap();
        let _ = use_back(&mut back).await;
    });
    pair.run_all(&mut tasks);
    assert_eq!(pair.states(), ("4".into(), "4".into()));
    let hidden = [Permission { domain: BACK, access: Access::None }];
    pair.fake.set_permissions(&format!("{}/state", pair.back_path), &hidden);
    pair.run_all(&mut tasks);
    assert_eq!(event.borrow().clone(), Some(Ok(Event::Closed)));
    assert_eq!(pair.states().0, "6");
}

#[derive(Clone, Debug)]
enum Act {
    /// Writes a value into a key of the backend's.
    Key(&'static str, String),
    /// Removes one.
    Remove(&'static str),
    /// Writes the link.
    Link(String),
    /// Makes the device anew.
    Anew,
    /// Lets everything run.
    Run,
}

fn act() -> impl Strategy<Value = Act> {
    let value = prop_oneof![
        4 => (0u8..10).prop_map(|state| format!("{state}")),
        1 => "[ -~]{0,8}",
        1 => Just("x".repeat(2000)),
    ];
    let key = prop_oneof![3 => Just("state"), 1 => Just("online"), 1 => Just("feature-x")];
    prop_oneof![
        5 => (key.clone(), value).prop_map(|(key, value)| Act::Key(key, value)),
        1 => key.prop_map(Act::Remove),
        1 => prop_oneof![
            Just("/local/domain/0/backend/vif/7/0".into()),
            "[/a-z0-9]{0,20}",
        ].prop_map(Act::Link),
        1 => Just(Act::Anew),
        4 => Just(Act::Run),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever somebody writes into the other end: our driver always comes to a decision, and when
    /// the device is made anew and the other end behaves, the two connect.
    #[test]
    fn nothing_the_peer_writes_does_harm(acts in proptest::collection::vec(act(), 1..40)) {
        let pair = Pair::new();
        let mut tasks = Tasks::new();
        tasks.spawn(async {
            loop {
                // A device that cannot be opened is tried again when the next one is there.
                let mut discovery =
                    super::super::Discovery::frontends(&pair.front.store, "vif").await.unwrap();
                discovery.next().await.unwrap();
                let Ok(mut front) = pair.open_front().await else {
                    discovery.next().await.unwrap();
                    continue;
                };
                loop {
                    match use_front(&mut front, XenbusState::Connected).await {
                        Ok(Event::Gone) | Err(DeviceError::Gone) => break,
                        Ok(_) | Err(DeviceError::Closing) => front.close().await.unwrap(),
                        Err(error) => {
                            let _ = front.fail(&error).await;
                            discovery.next().await.unwrap();
                            break;
                        }
                    }
                }
            }
        });
        for act in acts {
            let path = |key| format!("{}/{key}", pair.back_path);
            match act {
                Act::Key(key, value) => pair.fake.write(&path(key), &value),
                Act::Remove(key) => pair.fake.remove(&path(key)),
                Act::Link(link) => {
                    pair.fake.write(&format!("{}/backend", pair.front_path), &link);
                }
                Act::Anew => drop(pair.fake.add_device("vif", 0, FRONT, BACK)),
                Act::Run => pair.run_all(&mut tasks),
            }
        }
        pair.run_all(&mut tasks);
        pair.fake.remove(&pair.front_path);
        pair.fake.remove(&pair.back_path);
        pair.run_all(&mut tasks);
        pair.fake.add_device("vif", 0, FRONT, BACK);
        tasks.spawn(async {
            let mut back = pair.open_back().await.unwrap();
            loop {
                let _ = use_back(&mut back).await;
                back.close().await.unwrap();
            }
        });
        pair.run_all(&mut tasks);
        prop_assert_eq!(pair.states(), ("4".into(), "4".into()));
    }

    /// The numbers that we write are read as the same numbers.
    #[test]
    fn keys_survive(number: u32) {
        let pair = Pair::new();
        pair.set_states(XenbusState::Initialising, XenbusState::InitWait);
        let keys: [Key<'_>; 1] = [("queue-0/tx-ring-ref", Value::Number(number.into()))];
        let mut front = pair.run(pair.open_front()).unwrap();
        let back = pair.run(pair.open_back()).unwrap();
        pair.run(front.publish(&keys, XenbusState::Connected)).unwrap();
        prop_assert_eq!(pair.run(back.peer().required("queue-0/tx-ring-ref")), Ok(number));
    }
}
