//! Tasks: spawn, join, cancel, select, channels, ten thousand at once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::pending;
use core::sync::atomic::{AtomicU32, Ordering};
use kernels::check;
use libos::exec::{Cancelled, Either, JoinHandle, join, select, yield_now};
use libos::sync::{Mutex, bounded};
use libos::{exec, spawn, spawn_named};

libos::entry!(main);

async fn main(_: libos::Env) {
    kernels::conclude(show().await);
}

async fn show() -> Result<(), String> {
    // The runtime has tasks of its own from the first turn on.
    yield_now().await;
    yield_now().await;
    join_and_cancel().await?;
    messages().await?;
    many().await?;
    list().await
}

/// Notes that it was dropped.
struct Noted(Arc<AtomicU32>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn join_and_cancel() -> Result<(), String> {
    let answer = spawn(async { 6 * 7 });
    check!(answer.await == Ok(42), "no answer");
    let both = join(spawn(async { 1 }), spawn(async { 2 })).await;
    check!(both == (Ok(1), Ok(2)), "join gives {both:?}");
    let drops = Arc::new(AtomicU32::new(0));
    let endless = |noted: Noted| {
        spawn(async move {
            let _noted = noted;
            pending::<()>().await
        })
    };
    let (queued, waiting) = (endless(Noted(drops.clone())), endless(Noted(drops.clone())));
    queued.cancel();
    check!(drops.load(Ordering::Relaxed) == 1, "a queued task's future was not dropped");
    yield_now().await;
    waiting.cancel();
    check!(drops.load(Ordering::Relaxed) == 2, "a waiting task's future was not dropped");
    check!(queued.await == Err(Cancelled) && waiting.await == Err(Cancelled), "not cancelled");
    let first = select(spawn(async { 1 }), pending::<()>()).await;
    check!(matches!(first, Either::First(Ok(1))), "select chose the other");
    Ok(())
}

async fn messages() -> Result<(), String> {
    let (sender, receiver) = bounded::<u32>(4);
    let total = Arc::new(Mutex::new(0));
    let workers: Vec<JoinHandle<()>> = (0..3)
        .map(|_| {
            let (receiver, total) = (receiver.clone(), total.clone());
            spawn(async move {
                while let Ok(number) = receiver.recv().await {
                    let mut total = total.lock().await;
                    // Held over a turn of the others: nobody else gets in.
                    let before = *total;
                    yield_now().await;
                    *total = before + number;
                }
            })
        })
        .collect();
    for number in 1..=100 {
        check!(sender.send(number).await.is_ok(), "the channel is closed");
    }
    drop(sender);
    for worker in workers {
        check!(worker.await == Ok(()), "a worker was cancelled");
    }
    let total = *total.lock().await;
    check!(total == 5050, "the sum is {total}");
    Ok(())
}

async fn many() -> Result<(), String> {
    let before = exec::tasks().len();
    let handles: Vec<_> = (0..10_000_u64)
        .map(|number| {
            spawn(async move {
                yield_now().await;
                number
            })
        })
        .collect();
    let mut sum = 0;
    for handle in handles {
        sum += handle.await.unwrap_or_default();
    }
    check!(sum == 49_995_000, "the sum of 10,000 tasks is {sum}");
    let left = exec::tasks().len();
    check!(left == before, "{left} tasks are left, {before} were there before");
    Ok(())
}

async fn list() -> Result<(), String> {
    spawn_named("idle", exec::waiting("nothing that comes", pending::<()>())).detach();
    spawn(pending::<()>()).detach();
    yield_now().await;
    for task in exec::tasks() {
        libos::println!("task {task}");
    }
    Ok(())
}
