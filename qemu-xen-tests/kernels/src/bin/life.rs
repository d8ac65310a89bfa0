//! Lives until it is told to end, and says what happens to it: the suite drives it with `xl`.
//!
//! Prints `ready`, then `tick N at T` every 100 ms, T in milliseconds of monotonic time, and the
//! wall clock every second. `--until never` does not listen to the toolstack, `--until late`
//! listens and does not end; `--load yes` keeps tasks, timers and the store busy meanwhile.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use core::future::pending;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use libos::time::{self, Ticker};
use libos::{Env, println, spawn_named};

libos::entry!(main);

static WRITES: AtomicU64 = AtomicU64::new(0);
/// A new domain has a directory of its own in the store: what we wrote is not there.
static RESUMES: AtomicU64 = AtomicU64::new(0);

async fn main(env: Env) {
    env.on_suspend(|| println!("before suspend"));
    env.on_resume(|| {
        RESUMES.fetch_add(1, Ordering::Relaxed);
        println!("after resume");
    });
    env.on_sync(|| println!("hook: synced"));
    println!("ready");
    spawn_named("ticks", ticks()).detach();
    if env.boot_line().option("load").is_some() {
        for number in 0..20 {
            spawn_named("load", load(number)).detach();
        }
    }
    spawn_named("store", use_store()).detach();
    match env.boot_line().option("until") {
        Some("never") => pending().await,
        until => {
            let request = env.shutdown_requested().await;
            println!("told: {request:?}");
            if until == Some("late") {
                pending::<()>().await;
            }
            time::sleep(Duration::from_millis(50)).await;
            kernels::success();
        }
    }
}

async fn ticks() {
    let mut ticker = Ticker::every(Duration::from_millis(100));
    let mut number = 0u64;
    loop {
        ticker.tick().await;
        number += 1;
        println!("tick {number} at {}", time::since_boot().as_millis() as u64);
        if number % 10 == 1 {
            let wall = time::wall().unwrap_or_default();
            println!("wall {} s", wall.as_secs());
        }
    }
}

/// Sleeps of different lengths, and memory that comes and goes.
async fn load(number: u64) {
    let mut held = alloc::vec::Vec::new();
    loop {
        time::sleep(Duration::from_millis(1 + number)).await;
        held.push(alloc::vec![number as u8; 100 * number as usize]);
        if held.len() > 20 {
            held.clear();
        }
    }
}

/// Writes into the store and reads it back, every 50 ms.
async fn use_store() {
    let Some(store) = libos::xenstore() else { return println!("no store") };
    loop {
        let count = WRITES.fetch_add(1, Ordering::Relaxed);
        let text = alloc::format!("{count}");
        let resumes = RESUMES.load(Ordering::Relaxed);
        let start = time::Instant::now();
        let written = store.write("data/life", text.as_bytes()).await;
        let read = store.read("data/life").await;
        let took = start.elapsed();
        if took > Duration::from_millis(500) {
            println!("the store took {} ms", took.as_millis() as u64);
        }
        match (written, read) {
            (Ok(()), Ok(value)) if value == text.as_bytes() => {}
            (Ok(()), Err(_)) if resumes != RESUMES.load(Ordering::Relaxed) => {}
            (written, read) => {
                return kernels::failure(format_args!("store: {written:?}, {read:?}"));
            }
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}
