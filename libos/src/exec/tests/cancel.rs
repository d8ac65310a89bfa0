//! Cancellation in every state of a task.

use super::super::testing::{self, Dropped, Trace};
use super::super::{Cancelled, JoinHandle, spawn, yield_now};
use super::{Gate, polled};
use core::future::{Future, pending, poll_fn};
use core::task::Poll;
use std::sync::{Arc, Mutex};

/// A future that never ends and notes its drop.
fn endless(trace: &Trace) -> impl Future<Output = ()> + Send + use<> {
    let held = Dropped("future", trace.clone());
    async move {
        let _held = held;
        pending().await
    }
}

#[test]
fn a_task_that_was_never_polled() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let task = spawn(endless(&trace));
        task.cancel();
        trace.expect(&["future dropped"]);
        assert!(task.is_finished());
        assert_eq!(task.await, Err(Cancelled));
    });
}

#[test]
fn a_task_that_waits() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let task = spawn(endless(&trace));
        yield_now().await;
        trace.expect(&[]);
        task.cancel();
        trace.expect(&["future dropped"]);
        task.cancel();
        assert_eq!(task.await, Err(Cancelled));
    });
}

#[test]
fn a_task_that_is_queued_anywhere() {
    for cancelled in ["a", "b", "c"] {
        let (world, trace) = (testing::fresh(), Trace::new());
        world.run(async {
            let tasks = ["a", "b", "c"].map(|name| (name, spawn(polled(name, 2, &trace))));
            let (_, task) = tasks.iter().find(|(name, _)| *name == cancelled).unwrap();
            task.cancel();
            // The others keep their order, and a new task comes behind them.
            let last = spawn(polled("d", 1, &trace));
            assert_eq!(last.await, Ok(1));
        });
        let mut expected = std::vec::Vec::from(["a 1", "b 1", "c 1", "d 1", "a 2", "b 2", "c 2"]);
        expected.retain(|line| !line.starts_with(cancelled));
        trace.expect(&expected);
    }
}

/// A task that has its own handle.
fn with_own_handle<F: Future<Output = u32> + Send + 'static>(
    body: impl FnOnce(Arc<Mutex<Option<JoinHandle<u32>>>>) -> F,
) -> Arc<Mutex<Option<JoinHandle<u32>>>> {
    let slot = Arc::default();
    let handle = spawn(body(Arc::clone(&slot)));
    *slot.lock().unwrap() = Some(handle);
    slot
}

#[test]
fn a_task_that_cancels_itself_ends_after_its_poll() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let inner = trace.clone();
        let handle = with_own_handle(|handle| async move {
            let _held = Dropped("future", inner.clone());
            handle.lock().unwrap().as_ref().unwrap().cancel();
            inner.push("goes on");
            yield_now().await;
            inner.push("never gets here");
            1
        });
        yield_now().await;
        trace.expect(&["goes on", "future dropped"]);
        let handle = handle.lock().unwrap().take().unwrap();
        assert_eq!(handle.await, Err(Cancelled));
    });
}

#[test]
fn a_task_that_cancels_itself_and_ends_has_its_output() {
    let world = testing::fresh();
    world.run(async {
        let handle = with_own_handle(|handle| async move {
            handle.lock().unwrap().as_ref().unwrap().cancel();
            7
        });
        yield_now().await;
        let handle = handle.lock().unwrap().take().unwrap();
        assert_eq!(handle.await, Ok(7));
    });
}

#[test]
fn a_task_that_has_ended_keeps_its_output() {
    let world = testing::fresh();
    world.run(async {
        let task = spawn(async { 7 });
        yield_now().await;
        task.cancel();
        assert_eq!(task.await, Ok(7));
    });
}

#[test]
fn a_task_that_others_wait_for() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let task = Arc::new(Mutex::new(spawn(endless(&trace))));
        let (joined, inner) = (task.clone(), trace.clone());
        let joiner = spawn(async move {
            let end =
                poll_fn(|context| core::pin::Pin::new(&mut *joined.lock().unwrap()).poll(context));
            inner.push(std::format!("{:?}", end.await));
        });
        yield_now().await;
        task.lock().unwrap().cancel();
        trace.push("cancelled");
        assert_eq!(joiner.await, Ok(()));
    });
    trace.expect(&["future dropped", "cancelled", "Err(Cancelled)"]);
}

#[test]
fn a_drop_that_wakes_cancels_and_asks_about_its_own_task() {
    struct Nosy(Arc<Mutex<Option<JoinHandle<u32>>>>, Gate, Trace);
    impl Drop for Nosy {
        fn drop(&mut self) {
            self.1.waker().wake();
            if let Some(handle) = &*self.0.lock().unwrap() {
                handle.cancel();
                self.2.push(if handle.is_finished() { "ended" } else { "not ended" });
            }
        }
    }
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let gate = Gate::new();
        let (inner, held) = (trace.clone(), gate.clone());
        let handle = with_own_handle(|handle| async move {
            let _nosy = Nosy(handle, held.clone(), inner.clone());
            held.pass("task", inner).await;
            1
        });
        yield_now().await;
        let link = handle.lock().unwrap().as_ref().unwrap().id();
        // Through a second way to cancel, as the drop locks the handle.
        let taken = handle.lock().unwrap().take().unwrap();
        taken.cancel();
        assert_eq!(taken.id(), link);
        assert_eq!(taken.await, Err(Cancelled));
        trace.expect(&["task polled"]);
    });
}

#[test]
fn the_future_of_a_cancelled_task_can_cancel_others() {
    struct Chain(Option<JoinHandle<()>>, &'static str, Trace);
    impl Drop for Chain {
        fn drop(&mut self) {
            if let Some(next) = self.0.take() {
                next.cancel();
            }
            self.2.push(self.1);
        }
    }
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let link = |next, name| {
            let chain = Chain(next, name, trace.clone());
            spawn(async move {
                let _chain = chain;
                pending::<()>().await;
            })
        };
        let last = link(None, "last");
        let middle = link(Some(last), "middle");
        let first = link(Some(middle), "first");
        first.cancel();
        trace.expect(&["last", "middle", "first"]);
        assert!(super::super::tasks().len() == 1);
    });
}

#[test]
fn a_poll_may_be_the_last_though_it_was_woken() {
    let (world, trace) = (testing::fresh(), Trace::new());
    world.run(async {
        let inner = trace.clone();
        let handle = with_own_handle(|handle| {
            poll_fn(move |context| {
                inner.push("polled");
                context.waker().wake_by_ref();
                handle.lock().unwrap().as_ref().unwrap().cancel();
                Poll::Pending
            })
        });
        yield_now().await;
        yield_now().await;
        assert!(handle.lock().unwrap().as_ref().unwrap().is_finished());
    });
    trace.expect(&["polled"]);
}
