//! Rounds, and the tasks that are named because they do not yield.

use super::super::testing::{self, World};
use super::super::{
    JoinHandle, ROUND_POLLS, set_round_polls, set_slow_poll, spawn, spawn_named, tasks, yield_now,
};
use crate::time::{Duration, sleep};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::vec::Vec;

/// Tasks that are always ready, until told to stop. Each poll takes `cost`.
fn spin(world: &'static World, count: usize, cost: Duration) -> impl Fn() {
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..count {
        let stop = stop.clone();
        spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                world.pass(cost);
                yield_now().await;
            }
        })
        .detach();
    }
    move || stop.store(true, Ordering::Relaxed)
}

#[test]
fn tasks_that_are_always_ready_do_not_starve_a_timer() {
    let world = testing::fresh();
    world.run(async {
        let stop = spin(world, 1000, Duration::from_micros(10));
        let start = world.now();
        sleep(Duration::from_millis(10)).await;
        let late = world.now() - start - Duration::from_millis(10);
        // The timer is seen after a round at the latest; the task then waits its turn.
        let round = Duration::from_micros(10) * ROUND_POLLS as u32;
        let turn = Duration::from_micros(10) * 1000;
        assert!(late <= round + turn, "{late:?} late");
        stop();
    });
}

#[test]
fn events_are_looked_at_after_each_round() {
    for round_polls in [1, 10, ROUND_POLLS] {
        let world = testing::fresh();
        set_round_polls(round_polls);
        world.run(async {
            let stop = spin(world, 640, Duration::ZERO);
            yield_now().await;
            let before = world.dispatches.load(Ordering::Relaxed);
            yield_now().await;
            let between = world.dispatches.load(Ordering::Relaxed) - before;
            // 640 others and this one.
            assert!((640 / round_polls as u64..=641).contains(&between), "{between} dispatches");
            assert!(between <= 641_u64.div_ceil(round_polls as u64), "{between} dispatches");
            stop();
        });
    }
}

#[test]
fn a_round_of_nothing_is_one_of_one() {
    let world = testing::fresh();
    set_round_polls(0);
    world.run(async { yield_now().await });
}

/// A task that takes long at its second poll.
fn slow(world: &'static World, took: Duration) -> JoinHandle<()> {
    spawn_named("slow", async move {
        yield_now().await;
        world.pass(took);
    })
}

#[test]
fn a_slow_poll_is_named_where_the_clock_is_cheap() {
    let world = testing::fresh();
    world.run(async {
        let stop = spin(world, 10, Duration::from_millis(99));
        slow(world, Duration::from_millis(100)).await.unwrap();
        stop();
    });
    world.warnings.expect(&["task slow ran 100 ms without yielding"]);
}

#[test]
fn a_warning_names_how_many_were_left_out() {
    let world = testing::fresh();
    set_slow_poll(Duration::from_millis(30));
    world.run(async {
        for _ in 0..30 {
            slow(world, Duration::from_millis(100)).await.unwrap();
        }
    });
    let plain = "task slow ran 100 ms without yielding";
    let more = "task slow ran 100 ms without yielding (5 more slow polls since the last warning)";
    let mut expected = [plain; 15];
    expected[5] = more;
    expected[10] = more;
    world.warnings.expect(&expected);
}

#[test]
fn where_the_clock_is_dear_it_is_read_once_in_so_many_polls() {
    for others in [0, 1, 7, 15, 31, 63] {
        let world = testing::fresh();
        world.make_readings_cost(Duration::from_micros(5));
        world.run(async {
            let stop = spin(world, others, Duration::ZERO);
            for _ in 0..ROUND_POLLS {
                yield_now().await;
            }
            let before = world.readings.load(Ordering::Relaxed);
            for _ in 0..10 * ROUND_POLLS {
                yield_now().await;
            }
            let readings = world.readings.load(Ordering::Relaxed) - before;
            assert_eq!(readings, 10 * (others as u64 + 1), "beside {others} others");
            assert_eq!(tasks()[0].run_time, None, "not every poll was timed");
            stop();
        });
    }
}

#[test]
fn where_the_clock_is_dear_a_sleep_takes_two_readings() {
    let world = testing::fresh();
    world.make_readings_cost(Duration::from_micros(5));
    world.run(async {
        sleep(Duration::from_millis(1)).await;
        let before = world.readings.load(Ordering::Relaxed);
        for _ in 0..10 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(world.readings.load(Ordering::Relaxed) - before, 20);
    });
}

#[test]
fn where_the_clock_is_dear_a_lone_spinner_starves_no_timer() {
    let world = testing::fresh();
    world.make_readings_cost(Duration::from_micros(5));
    world.run(async {
        let stop = spin(world, 1, Duration::from_micros(10));
        let start = world.now();
        sleep(Duration::from_millis(10)).await;
        let late = world.now() - start - Duration::from_millis(10);
        assert!(late <= Duration::from_millis(1), "{late:?} late");
        stop();
    });
}

#[test]
fn where_the_clock_is_dear_a_lone_poll_is_named() {
    let world = testing::fresh();
    world.make_readings_cost(Duration::from_micros(5));
    world.run(async {
        let task = spawn_named("lone", async {
            sleep(Duration::from_millis(1)).await;
            world.pass(Duration::from_millis(150));
        });
        task.await.unwrap();
    });
    world.warnings.expect(&["task lone ran 150 ms without yielding"]);
}

#[test]
fn where_the_clock_is_dear_one_of_many_is_named_when_it_is_slow_again() {
    let world = testing::fresh();
    world.make_readings_cost(Duration::from_micros(5));
    world.run(async {
        let stop = spin(world, 10, Duration::from_millis(1));
        slow(world, Duration::from_millis(150)).await.unwrap();
        // Until the stretch is over, it is not known that it was slow.
        for _ in 0..ROUND_POLLS {
            yield_now().await;
        }
        world.warnings.expect(&[]);
        slow(world, Duration::from_millis(150)).await.unwrap();
        world.warnings.expect(&["task slow ran 150 ms without yielding"]);
        stop();
    });
}

#[test]
fn the_clock_is_measured_again_when_it_may_have_changed() {
    let world = testing::fresh();
    world.run(async {
        let stop = spin(world, 9, Duration::ZERO);
        let readings = || world.readings.load(Ordering::Relaxed);
        let mut seen = Vec::new();
        for change in [false, true, false] {
            if change {
                world.make_readings_cost(Duration::from_micros(5));
                super::super::clock_changed();
                yield_now().await;
            }
            let before = readings();
            yield_now().await;
            yield_now().await;
            seen.push(readings() - before);
        }
        assert_eq!(seen, [20, 0, 0]);
        stop();
    });
}

#[test]
fn a_resume_blames_no_task() {
    for cost in [0, 5] {
        let world = testing::fresh();
        world.make_readings_cost(Duration::from_micros(cost));
        world.run(async {
            let stop = spin(world, 3, Duration::ZERO);
            for _ in 0..2 * ROUND_POLLS {
                yield_now().await;
            }
            // Between two turns of the run loop; a dispatch stands in for it here.
            world.suspend_at_dispatch(Duration::from_secs(9));
            for _ in 0..2 * ROUND_POLLS {
                yield_now().await;
            }
            stop();
        });
        world.warnings.expect(&[]);
    }
}

#[test]
fn run_time_adds_up() {
    let world = testing::fresh();
    world.run(async {
        let task = spawn(async {
            for _ in 0..4 {
                world.pass(Duration::from_millis(3));
                yield_now().await;
            }
            core::future::pending::<()>().await;
        });
        sleep(Duration::from_millis(50)).await;
        let info = tasks().into_iter().find(|info| info.id == task.id()).unwrap();
        assert_eq!((info.polls, info.run_time), (5, Some(Duration::from_millis(12))));
    });
}
