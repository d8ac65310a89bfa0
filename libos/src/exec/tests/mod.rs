//! The executor's promises, each as the exact trace of what happens.

mod cancel;
mod fairness;
mod many;

use super::testing::{self, Dropped, Trace};
use super::{Cancelled, TaskState, spawn, spawn_named, tasks, waiting, yield_now};
use crate::time::{Duration, sleep};
use core::future::{Future, pending, poll_fn};
use core::task::{Poll, Waker};
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// Traces each of its polls, and ends at the last.
fn polled(name: &'static str, times: usize, trace: &Trace) -> impl Future<Output = usize> + use<> {
    let trace = trace.clone();
    let mut count = 0;
    poll_fn(move |context| {
        count += 1;
        trace.push(format!("{name} {count}"));
        if count == times {
            return Poll::Ready(count);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A future that waits until it is told to end, and shows its waker.
#[derive(Clone)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Mutex::new((false, None))))
    }

    fn waker(&self) -> Waker {
        self.0.lock().unwrap().1.clone().expect("polled before")
    }

    /// Ends the future at its next poll, and wakes it.
    fn open(&self) {
        self.0.lock().unwrap().0 = true;
        self.waker().wake();
    }

    async fn pass(self, name: &'static str, trace: Trace) {
        poll_fn(|context| {
            let mut gate = self.0.lock().unwrap();
            trace.push(format!("{name} polled"));
            gate.1 = Some(context.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

#[test]
fn tasks_take_turns_first_come_first_served() {
    let (world, trace) = (testing::fresh(), Trace::new());
    // Before the executor runs, too.
    let a = spawn(polled("a", 3, &trace));
    let b = spawn(polled("b", 1, &trace));
    let main = trace.clone();
    let outputs = world.run(async {
        main.push("main 1");
        let c = spawn(polled("c", 2, &trace));
        yield_now().await;
        main.push("main 2");
        (a.await, b.await, c.await)
    });
    assert_eq!(outputs, (Ok(3), Ok(1), Ok(2)));
    // Main is queued last, as it was spawned last; what it spawns comes behind the round's others.
    trace.expect(&["a 1", "b 1", "main 1", "a 2", "c 1", "main 2", "a 3", "c 2"]);
}

#[test]
fn a_wake_up_of_a_queued_task_changes_nothing() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let (early, late) = (Gate::new(), Gate::new());
        spawn(early.clone().pass("early", trace.clone())).detach();
        spawn(late.clone().pass("late", trace.clone())).detach();
        yield_now().await;
        trace.expect(&["early polled", "late polled"]);
        late.waker().wake();
        for _ in 0..1000 {
            early.waker().wake();
            late.waker().wake_by_ref();
        }
        yield_now().await;
        trace.expect(&["late polled", "early polled"]);
        yield_now().await;
        trace.expect(&[]);
    });
}

#[test]
fn a_waker_outlives_its_task_and_wakes_nobody_else() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let (old, new) = (Gate::new(), Gate::new());
        let task = spawn(old.clone().pass("old", trace.clone()));
        yield_now().await;
        old.open();
        assert_eq!(task.await, Ok(()));
        trace.expect(&["old polled", "old polled"]);
        // The new task has the number of the old one, but not its identity.
        let task = spawn(new.clone().pass("new", trace.clone()));
        yield_now().await;
        trace.expect(&["new polled"]);
        old.waker().wake();
        old.waker().wake_by_ref();
        yield_now().await;
        trace.expect(&[]);
        new.open();
        assert_eq!(task.await, Ok(()));
    });
}

#[test]
fn a_future_is_dropped_before_its_end_is_told() {
    let (world, trace) = (testing::fresh(), Trace::new());
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    world.run(async {
        let (inner, keep) = (trace.clone(), kept.clone());
        let task = spawn(async move {
            let _future = Dropped("future", inner.clone());
            poll_fn(|context| {
                // A waker that someone keeps must not keep the future alive.
                *keep.lock().unwrap() = Some(context.waker().clone());
                Poll::Ready(())
            })
            .await;
            inner.push("returns");
            Dropped("output", inner.clone())
        });
        let output = task.await;
        trace.push("joined");
        drop(output);
    });
    trace.expect(&["returns", "future dropped", "joined", "output dropped"]);
    assert!(kept.lock().unwrap().is_some());
}

#[test]
fn an_output_that_nobody_can_ask_for_is_dropped_at_once() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let output = |name| {
            let trace = trace.clone();
            async move { Dropped(name, trace) }
        };
        spawn(output("detached")).detach();
        drop(spawn(output("let go")));
        let kept = spawn(output("kept"));
        yield_now().await;
        trace.expect(&["detached dropped", "let go dropped"]);
        assert!(kept.is_finished());
        drop(kept);
        trace.expect(&["kept dropped"]);
    });
}

#[test]
fn a_drop_may_wake_spawn_and_let_go() {
    struct Busy(Gate, Trace);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.open();
            spawn(polled("spawned by a drop", 1, &self.1)).detach();
        }
    }
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let gate = Gate::new();
        let waiter = spawn(gate.clone().pass("waiter", trace.clone()));
        yield_now().await;
        let busy = Busy(gate, trace.clone());
        let task = spawn(async move {
            let _busy = busy;
            yield_now().await;
        });
        assert_eq!((task.await, waiter.await), (Ok(()), Ok(())));
    });
    trace.expect(&["waiter polled", "waiter polled", "spawned by a drop 1"]);
}

#[test]
fn a_handle_gives_its_output_once() {
    let world = testing::fresh();
    world.run(async {
        let mut task = spawn(async { 7 });
        assert!(!task.is_finished());
        assert_eq!((&mut task).await, Ok(7));
        assert!(task.is_finished());
        assert_eq!(task.await, Err(Cancelled));
    });
}

#[test]
fn the_last_who_asks_is_told_the_end() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let gate = Gate::new();
        let mut task = Box::pin(spawn(gate.clone().pass("task", trace.clone())));
        let mine = poll_fn(|context| Poll::Ready(task.as_mut().poll(context))).await;
        assert!(mine.is_pending());
        // The handle moves to another task, which asks again.
        let other = spawn(task);
        yield_now().await;
        gate.open();
        assert_eq!(other.await, Ok(Ok(())));
    });
}

#[test]
fn the_main_task_need_not_be_send() {
    let world = testing::fresh();
    let shared = std::rc::Rc::new(core::cell::Cell::new(1));
    let copy = shared.clone();
    world.run(async move {
        yield_now().await;
        copy.set(2);
    });
    assert_eq!(shared.get(), 2);
}

#[test]
fn a_thread_may_wake() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let gate = Gate::new();
        let task = spawn(gate.clone().pass("task", trace.clone()));
        yield_now().await;
        std::thread::spawn(move || gate.open()).join().unwrap();
        assert_eq!(task.await, Ok(()));
    });
}

#[test]
fn an_event_ends_a_sleep_without_deadline() {
    let world = testing::fresh();
    let mut polls = 0;
    world.run(poll_fn(|context| {
        polls += 1;
        if polls == 3 {
            return Poll::Ready(());
        }
        world.wake_by_event(context.waker().clone());
        Poll::Pending
    }));
    assert_eq!(polls, 3);
}

#[test]
fn the_list_says_what_each_task_waits_for() {
    let world = testing::fresh();
    let lines = world.run(async {
        spawn_named("nothing", pending::<()>()).detach();
        spawn_named(String::from("store"), waiting("a reply", pending::<()>())).detach();
        spawn_named("nap", sleep(Duration::from_millis(1500))).detach();
        let limit =
            waiting("the peer", crate::time::timeout(Duration::from_secs(2), pending::<()>()));
        spawn_named("limit", limit).detach();
        let gate = Gate::new();
        let last = spawn_named("last", gate.clone().pass("last", Trace::new()));
        spawn_named("join", last).detach();
        yield_now().await;
        gate.open();
        spawn(pending::<()>()).detach();
        let tasks = tasks();
        assert_eq!(tasks[0].state, TaskState::Running);
        tasks.iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    let here = format!("8 libos/src/exec/tests/mod.rs:{}: queued, 0 polls, 0 us", line!() - 5);
    let expected = [
        "1 main: running, 1 polls, 0 us",
        "2 nothing: waiting, 1 polls, 0 us",
        "3 store: waiting for a reply, 1 polls, 0 us",
        "4 nap: waiting until 1.500000, 1 polls, 0 us",
        "5 limit: waiting for the peer until 2.000000, 1 polls, 0 us",
        "6 last: queued, 1 polls, 0 us",
        "7 join: waiting for the end of a task, 1 polls, 0 us",
        &here,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_a_task_waited_for_is_forgotten_at_its_next_poll() {
    let world = testing::fresh();
    world.run(async {
        spawn_named("task", async {
            waiting("first", yield_now()).await;
            waiting("second", sleep(Duration::from_secs(1))).await;
            pending::<()>().await;
        })
        .detach();
        let shown = || (tasks()[1].reason, tasks()[1].until.is_some());
        yield_now().await;
        assert_eq!(shown(), (Some("first"), false));
        yield_now().await;
        assert_eq!(shown(), (Some("second"), true));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(shown(), (None, false));
    });
}
