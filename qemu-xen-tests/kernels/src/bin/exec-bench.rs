//! Measures the executor: one line for each figure. `cargo xenios bench executor` runs it in
//! counted time.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
#[path = "../../../../libos/benches/executor/scenarios.rs"]
mod scenarios;

use libos::sync as async_channel;
use libos::time::{Instant, sleep};

libos::entry!(main);

scenarios!(libos::spawn, libos::exec::yield_now, libos::time::sleep);

async fn main(_: libos::Env) {
    let used = || libos::heap::counters().live_bytes;
    let before = used();
    let idle = || libos::spawn(core::future::pending::<()>());
    (0..10_000).map(|_| idle()).for_each(libos::JoinHandle::detach);
    libos::println!("bench: memory of a task: {} bytes", (used() - before) / 10_000);
    // Twice, as the first time takes its memory from Xen.
    for warm in [false, true] {
        measure("read the clock", warm, read_the_clock(1_000)).await;
        measure("allocate and free 64 bytes", warm, allocate(10_000)).await;
        measure("spawn, poll and join a task", warm, spawn_and_join(10_000)).await;
        measure("wake and poll, 1 task", warm, wake_and_poll(1, 10_000)).await;
        measure("  100 tasks", warm, wake_and_poll(100, 100)).await;
        measure("  100,000 tasks", warm, wake_and_poll(100_000, 4)).await;
        measure("message to a task that waits", warm, message_to_and_fro(5_000)).await;
        measure("arm a timer and give it up", warm, arm_and_give_up(0, 10_000)).await;
        measure("  beside 10,000 others", warm, arm_and_give_up(10_000, 50_000)).await;
        measure("sleep for 1 us, wake-up included", warm, short_sleeps(1_000)).await;
    }
    kernels::success();
}

/// Reads the clock: where the counter is emulated, this is most of what a lone wake-up costs.
async fn read_the_clock(times: u64) -> u64 {
    (0..times).for_each(|_| {
        core::hint::black_box(Instant::now());
    });
    times
}

/// What the heap alone costs.
async fn allocate(times: u64) -> u64 {
    (0..times).for_each(|_| drop(core::hint::black_box(Box::new([0_u64; 8]))));
    times
}

/// Runs a scenario; says how long one of its operations takes.
async fn measure(title: &str, say: bool, scenario: impl Future<Output = u64>) {
    let start = Instant::now();
    let count = scenario.await;
    let ns = start.elapsed().as_nanos() as u64;
    if say {
        libos::println!("bench: {title}: {} ns", ns / count);
    }
}

/// Sleeps, each time until Xen wakes the domain.
async fn short_sleeps(times: u64) -> u64 {
    for _ in 0..times {
        sleep(Duration::from_micros(1)).await;
    }
    times
}
