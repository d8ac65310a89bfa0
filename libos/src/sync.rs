//! What tasks share and tell each other. All of it is fair (first come, first served) unless said
//! otherwise, and several tasks may wait at once.
//!
//! | for | take |
//! |---|---|
//! | data that several tasks change, held over an `.await` | [`Mutex`], [`RwLock`] |
//! | a limit on how many do something at once | [`Semaphore`] |
//! | messages; the end of all senders ends the receivers | [`bounded`], [`unbounded`] |
//! | "something has changed, look again", to any number | [`Event`] |
//! | the latest value, to one task | [`Signal`] |
//! | the latest value, to a fixed number of tasks | [`Watch`] |
//! | a value that is made once | [`OnceCell`] |
//! | tasks that go on together | [`Barrier`] |
//!
//! The pieces are those of the crates async-lock, async-channel, event-listener and embassy-sync.
//! The mutex and the channel of embassy-sync are left out on purpose: they remember one waiting
//! task, and several wake each other in turn for as long as they wait. Crates that use them work
//! all the same.
//!
//! # Cancellation
//! A wait that is dropped takes nothing: no lock, no permit, no message. A message that was being
//! sent is dropped with the send.

pub use async_channel::{
    Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, bounded, unbounded,
};
pub use async_lock::{
    Barrier, Mutex, MutexGuard, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
    SemaphoreGuard,
};
pub use event_listener::{Event, EventListener, Listener};

use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;

/// The latest value, for one task that waits for it.
pub type Signal<T> = embassy_sync::signal::Signal<CriticalSectionRawMutex, T>;

/// The latest value, for at most `N` tasks that wait for it.
pub type Watch<T, const N: usize> = embassy_sync::watch::Watch<CriticalSectionRawMutex, T, N>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::testing::{self, Trace};
    use crate::{exec, spawn};
    use alloc::sync::Arc;
    use core::time::Duration;
    use std::format;

    #[test]
    fn waiters_for_a_mutex_are_served_in_order_and_do_not_spin() {
        let world = testing::fresh();
        let trace = Trace::new();
        let mutex = Arc::new(Mutex::new(()));
        world.run(async {
            let held = mutex.lock().await;
            let tasks: std::vec::Vec<_> = (0..3)
                .map(|number| {
                    let (mutex, trace) = (mutex.clone(), trace.clone());
                    spawn(async move {
                        let _held = mutex.lock().await;
                        trace.push(format!("task {number}"));
                    })
                })
                .collect();
            crate::time::sleep(Duration::from_millis(1)).await;
            let polls: u64 = exec::tasks().iter().skip(1).map(|task| task.polls).sum();
            assert_eq!(polls, 3, "each waiter was polled once");
            drop(held);
            for task in tasks {
                task.await.unwrap();
            }
        });
        trace.expect(&["task 0", "task 1", "task 2"]);
    }

    #[test]
    fn the_last_sender_ends_the_channel() {
        let world = testing::fresh();
        let got = world.run(async {
            let (sender, receiver) = bounded(1);
            for number in 0..3 {
                let sender = sender.clone();
                spawn(async move { sender.send(number).await }).detach();
            }
            drop(sender);
            let mut got = std::vec::Vec::new();
            while let Ok(number) = receiver.recv().await {
                got.push(number);
            }
            got
        });
        assert_eq!(got, [0, 1, 2]);
    }

    #[test]
    fn a_signal_and_a_watch_give_the_latest() {
        let world = testing::fresh();
        world.run(async {
            let signal = Arc::new(Signal::new());
            let waiter = {
                let signal = signal.clone();
                spawn(async move { signal.wait().await })
            };
            exec::yield_now().await;
            signal.signal(1);
            signal.signal(2);
            assert_eq!(waiter.await, Ok(2));
            let watch: Watch<u32, 2> = Watch::new();
            let mut receiver = watch.receiver().unwrap();
            watch.sender().send(7);
            assert_eq!(receiver.changed().await, 7);
        });
    }
}
