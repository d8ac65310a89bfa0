//! Timers against a model, and what is made of them.

use super::timers::Key;
use super::{Duration, Elapsed, Instant, Ticker, Timers, sleep, timeout};
use crate::exec::testing::{self, Count, Dropped, Trace};
use crate::exec::{Either, join, select, spawn, yield_now};
use core::future::{Future, pending, poll_fn, ready};
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::Stream;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::format;
use std::sync::Arc;
use std::vec::Vec;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let tasks: Vec<_> = [30, 10, 20, 10, 0]
            .into_iter()
            .enumerate()
            .map(|(number, after)| {
                let trace = trace.clone();
                spawn(async move {
                    sleep(ms(after)).await;
                    trace.push(format!("{number} at {}", world.now()));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    trace.expect(&[
        "4 at 0.000000",
        "1 at 0.010000",
        "3 at 0.010000",
        "2 at 0.020000",
        "0 at 0.030000",
    ]);
    assert_eq!(world.timers.len(), 0);
}

#[test]
fn a_sleep_that_is_dropped_leaves_the_heap_at_once() {
    let world = testing::fresh();
    world.run(async {
        for _ in 0..1000 {
            assert_eq!(timeout(Duration::from_secs(3600), ready(7)).await, Ok(7));
        }
        assert_eq!(world.timers.len(), 0);
        let hour = select(sleep(Duration::from_secs(3600)), sleep(ms(1))).await;
        assert!(matches!(hour, Either::Second(())));
        assert_eq!((world.timers.len(), world.now()), (0, Instant::BOOT + ms(1)));
        // Dropped after it fired, before that was seen.
        let mut late = std::boxed::Box::pin(sleep(ms(1)));
        let poll = poll_fn(|context| Poll::Ready(late.as_mut().poll(context))).await;
        assert!(poll.is_pending());
        sleep(ms(2)).await;
        drop(late);
    });
}

#[test]
fn a_time_limit_drops_what_it_limits() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let held = Dropped("future", trace.clone());
        let limited = timeout(ms(5), async move {
            let _held = held;
            pending::<()>().await;
        });
        assert_eq!(limited.await, Err(Elapsed));
        assert_eq!(world.now(), Instant::BOOT + ms(5));
        trace.expect(&["future dropped"]);
        // Output and limit at the same time: the output counts.
        let both = timeout(ms(5), sleep(ms(5)));
        assert_eq!(both.await, Ok(()));
    });
}

#[test]
fn a_time_limit_counts_from_when_it_was_set() {
    let world = testing::fresh();
    world.run(async {
        let limited = timeout(ms(5), pending::<()>());
        sleep(ms(3)).await;
        assert_eq!(limited.await, Err(Elapsed));
        assert_eq!(world.now(), Instant::BOOT + ms(5));
    });
}

#[test]
fn a_sleep_for_ever_is_one() {
    let world = testing::fresh();
    world.run(async {
        let for_ever = timeout(Duration::MAX, sleep(Duration::MAX));
        let ended = select(for_ever, sleep(ms(1))).await;
        assert!(matches!(ended, Either::Second(())));
    });
}

#[test]
fn a_sleep_is_woken_where_it_was_polled_last() {
    let world = testing::fresh();
    let (first, second) = (Count::new(), Count::new());
    let mut nap = sleep(ms(1));
    for waker in [first.waker(), second.waker()] {
        assert!(Pin::new(&mut nap).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(world.timers.next_deadline(), Some(Instant::BOOT + ms(1)));
    assert_eq!(world.timers.fire(Instant::BOOT), 0);
    assert_eq!(world.timers.fire(Instant::BOOT + ms(1)), 1);
    assert_eq!((first.get(), second.get()), (0, 1));
    assert!(Pin::new(&mut nap).poll(&mut Context::from_waker(&first.waker())).is_ready());
}

#[test]
fn a_ticker_keeps_its_grid() {
    let world = testing::fresh();
    let ticks = world.run(async {
        let mut ticker = Ticker::every(ms(10));
        let mut ticks = Vec::new();
        for busy in [0, 9, 3, 0] {
            ticks.push(ticker.tick().await);
            world.pass(ms(busy));
        }
        ticks
    });
    assert_eq!(ticks, [10, 20, 30, 40].map(|at| Instant::BOOT + ms(at)));
}

#[test]
fn after_a_pause_a_ticker_ticks_once() {
    let world = testing::fresh();
    let seen = world.run(async {
        let mut ticker = Ticker::every(ms(10));
        let mut seen = Vec::new();
        for pause in [0, 1234, 0, 0, 0] {
            let tick = ticker.tick().await;
            seen.push((tick.as_nanos() / 1_000_000, world.now().as_nanos() / 1_000_000));
            world.pass(ms(pause));
        }
        seen
    });
    // The tick of 30 comes at 1254 for all up to 1250, the next ones are on the grid.
    assert_eq!(seen, [(10, 10), (20, 20), (30, 1254), (1260, 1260), (1270, 1270)]);
}

#[test]
fn a_pause_while_waiting_is_one_tick_too() {
    let world = testing::fresh();
    world.run(async {
        let ticks = spawn(async {
            let mut ticker = Ticker::every(ms(10));
            let mut count = 0;
            while ticker.tick().await < Instant::BOOT + ms(1000) {
                count += 1;
            }
            count
        });
        yield_now().await;
        // The whole domain is paused, as by `xl pause`.
        world.pass(ms(990));
        assert_eq!(ticks.await, Ok(1));
    });
}

#[test]
fn a_ticker_is_a_stream() {
    let world = testing::fresh();
    world.run(async {
        let mut ticker = Ticker::every(ms(10));
        ticker.reset();
        let next = poll_fn(|context| Pin::new(&mut ticker).poll_next(context));
        assert_eq!(next.await, Some(Instant::BOOT + ms(10)));
    });
}

#[test]
fn embassy_time_runs_on_ours() {
    use embassy_time::{Duration as Ticks, Instant as Then, Timer, with_timeout};
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let tasks: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|after| {
                let trace = trace.clone();
                spawn(async move {
                    Timer::after(Ticks::from_millis(after)).await;
                    trace.push(format!("{after} at {}", world.now()));
                })
            })
            .collect();
        let both = join(sleep(ms(5)), Timer::after(Ticks::from_millis(7)));
        both.await;
        assert_eq!(Then::now().as_millis(), 7);
        let limited = with_timeout(Ticks::from_millis(1), pending::<()>());
        assert!(limited.await.is_err());
        for task in tasks {
            task.await.unwrap();
        }
    });
    trace.expect(&["10 at 0.010000", "20 at 0.020000", "30 at 0.030000"]);
    assert_eq!(world.timers.len(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arm(u64),
    Cancel(usize),
    Poll(usize),
    Fire(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..50u64).prop_map(Step::Arm),
        2 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Poll),
        1 => (0..10u64).prop_map(Step::Fire),
    ]
}

proptest! {
    #[test]
    fn timers_do_as_a_sorted_set_does(steps in proptest::collection::vec(step(), 0..300)) {
        let timers = Timers::new();
        let trace = Trace::new();
        let mut now = Instant::BOOT;
        // By number: the key, and the deadline.
        let mut real: Vec<(Option<Key>, Instant)> = Vec::new();
        let mut armed: BTreeSet<(Instant, usize)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Arm(after) => {
                    let (deadline, number) = (now + Duration::from_nanos(after), real.len());
                    let waker = Arc::new(Named(number, trace.clone())).into();
                    let mut key = None;
                    prop_assert!(timers.poll(&mut key, deadline, &waker).is_pending());
                    real.push((key, deadline));
                    armed.insert((deadline, number));
                }
                Step::Cancel(at) | Step::Poll(at) if !real.is_empty() => {
                    let number = at % real.len();
                    let (key, deadline) = &mut real[number];
                    let is_armed = armed.contains(&(*deadline, number));
                    if key.is_none() {
                        continue;
                    }
                    if matches!(step, Step::Cancel(_)) {
                        timers.cancel(key.take().unwrap());
                        armed.remove(&(*deadline, number));
                    } else {
                        let waker = Arc::new(Named(number, trace.clone())).into();
                        let poll = timers.poll(key, *deadline, &waker);
                        prop_assert_eq!(poll.is_pending(), is_armed);
                    }
                }
                Step::Fire(after) => {
                    now += Duration::from_nanos(after);
                    let later = armed.split_off(&(now + Duration::from_nanos(1), 0));
                    let due = core::mem::replace(&mut armed, later);
                    prop_assert_eq!(timers.fire(now), due.len());
                    let due: Vec<_> = due.iter().map(|(_, number)| format!("{number}")).collect();
                    prop_assert_eq!(trace.take(), due);
                }
                _ => {}
            }
            prop_assert_eq!(timers.len(), armed.len());
            let first = armed.first().map(|(deadline, _)| *deadline);
            prop_assert_eq!(timers.next_deadline(), first);
        }
    }
}

/// A waker that says who it is.
struct Named(usize, Trace);

impl alloc::task::Wake for Named {
    fn wake(self: Arc<Self>) {
        self.1.push(format!("{}", self.0));
    }
}
