//! Many tasks, and many random steps against a model.

use super::super::testing::{self, Trace};
use super::super::{Cancelled, JoinHandle, spawn, tasks, yield_now};
use super::Gate;
use crate::time::{Duration, sleep};
use core::future::poll_fn;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, Mutex};
use std::vec::Vec;

#[test]
fn a_hundred_thousand_tasks() {
    const COUNT: usize = 100_000;
    let world = testing::fresh();
    let sum = world.run(async {
        let handles: Vec<JoinHandle<usize>> = (0..COUNT)
            .map(|number| {
                spawn(async move {
                    yield_now().await;
                    sleep(Duration::from_nanos((number * 7919 % COUNT) as u64)).await;
                    number
                })
            })
            .collect();
        assert_eq!(tasks().len(), COUNT + 1);
        yield_now().await;
        handles.iter().step_by(3).for_each(JoinHandle::cancel);
        assert_eq!(tasks().len(), COUNT - COUNT.div_ceil(3) + 1);
        let mut sum = 0;
        for (number, handle) in handles.into_iter().enumerate() {
            if number % 3 == 0 {
                assert_eq!(handle.await, Err(Cancelled));
            } else {
                sum += handle.await.unwrap();
            }
        }
        assert_eq!(tasks().len(), 1);
        sum
    });
    assert_eq!(sum, (0..COUNT).filter(|number| number % 3 != 0).sum());
}

#[test]
fn no_wake_up_of_any_thread_is_lost() {
    const THREADS: usize = 4;
    const TASKS: usize = 50;
    const TOKENS: usize = 200;
    struct Tray(AtomicUsize, Mutex<Option<Waker>>);
    let world = testing::fresh();
    world.run(async {
        let trays: Arc<Vec<Tray>> =
            Arc::new((0..TASKS).map(|_| Tray(AtomicUsize::new(0), Mutex::new(None))).collect());
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let trays = trays.clone();
                let mut taken = 0;
                spawn(poll_fn(move |context| {
                    *trays[number].1.lock().unwrap() = Some(context.waker().clone());
                    taken += trays[number].0.swap(0, Ordering::SeqCst);
                    if taken == THREADS * TOKENS { Poll::Ready(()) } else { Poll::Pending }
                }))
            })
            .collect();
        yield_now().await;
        for thread in 0..THREADS {
            let trays = trays.clone();
            std::thread::spawn(move || {
                for step in 0..TASKS * TOKENS {
                    let one = &trays[(step * 7 + thread) % TASKS];
                    one.0.fetch_add(1, Ordering::SeqCst);
                    if let Some(waker) = one.1.lock().unwrap().take() {
                        waker.wake();
                    }
                }
            });
        }
        let start = std::time::Instant::now();
        while !tasks.iter().all(JoinHandle::is_finished) {
            assert!(start.elapsed().as_secs() < 60, "a wake-up was lost");
            yield_now().await;
        }
    });
}

/// A step of the model.
#[derive(Clone, Copy, Debug)]
enum Step {
    Spawn,
    Wake(usize),
    Open(usize),
    Cancel(usize),
    Detach(usize),
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Spawn),
        4 => any::<usize>().prop_map(Step::Wake),
        1 => any::<usize>().prop_map(Step::Open),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Detach),
        3 => Just(Step::Run),
    ]
}

/// What a task should be doing.
#[derive(Default)]
struct Model {
    /// By number: whether it lives, whether its gate is open, whether it was polled.
    tasks: Vec<(bool, bool, bool)>,
    queue: VecDeque<usize>,
    trace: Vec<String>,
}

impl Model {
    fn wake(&mut self, number: usize) {
        if self.tasks[number].0 && !self.queue.contains(&number) {
            self.queue.push_back(number);
        }
    }

    fn run(&mut self) {
        for number in core::mem::take(&mut self.queue) {
            self.trace.push(format!("{number} polled"));
            let task = &mut self.tasks[number];
            task.0 = !task.1;
            task.2 = true;
        }
    }

    fn cancel(&mut self, number: usize) {
        self.tasks[number].0 = false;
        self.queue.retain(|queued| *queued != number);
    }
}

fn name(number: usize) -> &'static str {
    std::boxed::Box::leak(number.to_string().into_boxed_str())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_order_of_steps_does_as_the_model(steps in proptest::collection::vec(step(), 0..100)) {
        let (world, trace) = (testing::fresh(), Trace::new());
        let mut model = Model::default();
        let mut real: Vec<(Gate, Option<JoinHandle<()>>)> = Vec::new();
        let result: Result<(), TestCaseError> = world.run(async {
            for step in steps.into_iter().chain([Step::Run]) {
                let count = real.len().max(1);
                match step {
                    Step::Spawn => {
                        let (gate, number) = (Gate::new(), real.len());
                        let task = spawn(gate.clone().pass(name(number), trace.clone()));
                        real.push((gate, Some(task)));
                        model.tasks.push((true, false, false));
                        model.queue.push_back(number);
                    }
                    Step::Run => {
                        // All that is queued is polled in the rounds until main is polled again.
                        yield_now().await;
                        model.run();
                    }
                    Step::Wake(at) | Step::Open(at) | Step::Cancel(at) | Step::Detach(at) => {
                        let Some((gate, handle)) = real.get_mut(at % count) else { continue };
                        let number = at % count;
                        match step {
                            Step::Cancel(_) => if let Some(handle) = handle {
                                handle.cancel();
                                model.cancel(number);
                            },
                            Step::Detach(_) => drop(handle.take()),
                            _ if !model.tasks[number].2 => continue,
                            Step::Open(_) => {
                                gate.open();
                                model.tasks[number].1 = true;
                                model.wake(number);
                            }
                            _ => {
                                gate.waker().wake();
                                model.wake(number);
                            }
                        }
                    }
                }
                prop_assert_eq!(trace.take(), core::mem::take(&mut model.trace));
                let live = model.tasks.iter().filter(|task| task.0).count();
                prop_assert_eq!(tasks().len(), live + 1);
                for ((_, handle), task) in real.iter().zip(&model.tasks) {
                    if let Some(handle) = handle {
                        prop_assert_eq!(handle.is_finished(), !task.0);
                    }
                }
            }
            Ok(())
        });
        result?;
    }
}
