//! Backends that write anything anywhere, at any time, into a device that is in use.

use super::*;
use core::sync::atomic::Ordering;
use proptest::prelude::*;
use std::time::Duration;
use std::vec;
use std::vec::Vec;
use xen::ring::RingPages;

#[derive(Clone, Debug)]
enum Step {
    /// A word of a ring's page: 0 transmit, 1 receive.
    Word(bool, u16, u32),
    /// Responses as they should be, but for these bytes.
    TxResponse([u8; 4]),
    RxResponse([u8; 8]),
    /// What an honest backend does.
    Answer,
    Deliver(u16),
    Notify,
    Transmit(u16),
    Receive,
    Flush,
    State(u8),
    Time,
}

fn step() -> impl Strategy<Value = Step> {
    // Beside what is right, so that the wrong is not found at once.
    let near = prop_oneof![0u32..300, any::<u32>(), u32::MAX - 300..=u32::MAX];
    let tx = (0u8..8, 0u8..2, any::<i8>())
        .prop_map(|(id, high, status)| [id, high, status.cast_unsigned(), 0]);
    let rx = (any::<u8>(), 0u8..2, any::<[u8; 6]>())
        .prop_map(|(id, high, [a, b, c, d, e, f])| [id, high, a, b & 15, c, d, e, f & 15]);
    prop_oneof![
        1 => (any::<bool>(), 0u16..1024, near).prop_map(|(rx, at, word)| Step::Word(rx, at, word)),
        1 => tx.prop_map(Step::TxResponse),
        1 => rx.prop_map(Step::RxResponse),
        6 => Just(Step::Answer),
        6 => (0u16..9000).prop_map(Step::Deliver),
        3 => Just(Step::Notify),
        6 => (0u16..20_000).prop_map(Step::Transmit),
        6 => Just(Step::Receive),
        3 => Just(Step::Flush),
        1 => (0u8..9).prop_map(Step::State),
        1 => Just(Step::Time),
    ]
}

fn act(world: &mut World, step: Step) {
    match step {
        Step::Word(rx, at, word) => {
            let Some(queue) = world.back.queues.first() else { return };
            let pages = if rx { queue.rx.ring.pages() } else { queue.tx.ring.pages() };
            let page: &RingPages = pages;
            page.pages()[0].u32_at(usize::from(at) * 4).store(word, Ordering::SeqCst);
        }
        Step::TxResponse(bytes) => {
            let Some(queue) = world.back.queues.first_mut() else { return };
            let _ = queue.tx.ring.pop(&mut [0; 12]);
            let _ = queue.tx.ring.push(&bytes) && queue.tx.ring.publish();
        }
        Step::RxResponse(bytes) => {
            let Some(queue) = world.back.queues.first_mut() else { return };
            let _ = queue.rx.ring.pop(&mut [0; 8]);
            let _ = queue.rx.ring.push(&bytes) && queue.rx.ring.publish();
        }
        Step::Answer => {
            for queue in &mut world.back.queues {
                // Its own ring may make no sense to it any more.
                let _ = queue.tx.take_all();
                for (id, status) in core::mem::take(&mut queue.tx.answers) {
                    let ([a, b], [c, d]) = (id.to_le_bytes(), status.to_le_bytes());
                    let _ = queue.tx.ring.push(&[a, b, c, d]);
                }
                let _ = queue.tx.ring.publish();
            }
        }
        Step::Deliver(bytes) => {
            let Some(queue) = world.back.queues.first_mut() else { return };
            if queue.rx.ring.pending().is_ok_and(|pending| pending > 4) {
                let mut request = [0; 8];
                let _ = queue.rx.ring.pop(&mut request);
                let [low, high] = bytes.min(4096).to_le_bytes();
                let _ = queue.rx.ring.push(&[request[0], request[1], 0, 0, 0, 0, low, high]);
                let _ = queue.rx.ring.publish();
            }
        }
        Step::Notify => {
            for queue in &world.back.queues {
                queue.ports.iter().for_each(|port| world.back.peer.notify(*port));
            }
        }
        Step::Transmit(bytes) => {
            world.transmit(&pattern(1, bytes.into()), TxOffload::default());
        }
        Step::Receive => {
            if world.ready() {
                let packets = world.receive_all();
                assert!(packets.len() <= 256);
                world.device.flush();
            }
        }
        Step::Flush => world.device.flush(),
        Step::State(state) => {
            world.back.set_state(state.into());
            world.settle_anew();
        }
        Step::Time => {
            world.timer.advance(Duration::from_secs(1));
            world.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever a backend does, it costs its device and nothing else: the domain goes on, and what
    /// the backend had is there again once it lets go.
    #[test]
    fn no_backend_does_harm(steps in proptest::collection::vec(step(), 1..200), queues in 1u16..3) {
        let mut world = World::connected(Config { queues, ..Config::default() }, &ALL);
        for step in steps {
            act(&mut world, step);
        }
        let counters = world.device.counters();
        prop_assert!(counters.lies <= counters.connections);
        // The toolstack takes the device away; the backend is forced to let go.
        world.back.disconnect();
        world.back.dead = true;
        world.store.remove(&world.back.front_path);
        world.store.remove(&world.back.back_path);
        world.settle();
        for _ in 0..3 {
            world.timer.advance(Duration::from_secs(20));
            world.settle();
        }
        prop_assert!(world.ended.borrow().is_some());
        prop_assert!(!world.device.link().up);
        world.grants.reclaim();
        prop_assert_eq!(world.grants_in_use(), (0, 0));
        let buffer: Vec<u8> = world.receive_all().concat();
        prop_assert!(buffer.is_empty());
    }
}
