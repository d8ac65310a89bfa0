//! Our executor beside tokio's current-thread one, on the host: `cargo xenios bench executor`.
//!
//! Both are built with the same flags. Figures are printed, never asserted: the least of three
//! runs.

extern crate alloc;

#[macro_use]
mod scenarios;

use std::future::Future;
use std::time::Instant;

/// How often each scenario runs; the first figures would be those of cold caches.
const RUNS: u32 = 3;

mod ours {
    scenarios!(libos::spawn, libos::exec::yield_now, libos::time::sleep);
}

mod tokios {
    scenarios!(tokio::spawn, tokio::task::yield_now, tokio::time::sleep);
}

/// Runs a scenario inside our executor; nanoseconds an operation.
fn in_ours<F: Future<Output = u64>>(scenario: impl Fn() -> F) -> f64 {
    least(|| libos::exec::host::run(timed(scenario())))
}

/// Runs a scenario inside tokio's; nanoseconds an operation.
fn in_tokios<F: Future<Output = u64>>(scenario: impl Fn() -> F) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    least(|| runtime.block_on(timed(scenario())))
}

fn least(run: impl Fn() -> f64) -> f64 {
    (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min)
}

async fn timed(scenario: impl Future<Output = u64>) -> f64 {
    let start = Instant::now();
    let count = scenario.await;
    start.elapsed().as_nanos() as f64 / count as f64
}

fn main() {
    println!("on the host, ns                            ours    tokio");
    let row =
        |title: &str, ours: f64, tokios: f64| println!("{title:<40} {ours:>6.0} {tokios:>8.0}");
    macro_rules! compare {
        ($title:expr, $scenario:ident $arguments:tt) => {
            row(
                $title,
                in_ours(|| ours::$scenario $arguments),
                in_tokios(|| tokios::$scenario $arguments),
            );
        };
    }
    compare!("spawn, poll and join a task", spawn_and_join(10_000));
    compare!("  of 100,000", spawn_and_join(100_000));
    compare!("wake and poll, 1 task", wake_and_poll(1, 1_000_000));
    compare!("  100 tasks", wake_and_poll(100, 10_000));
    compare!("  100,000 tasks", wake_and_poll(100_000, 10));
    compare!("message to a task that waits", message_to_and_fro(200_000));
    compare!("arm a timer and give it up", arm_and_give_up(0, 200_000));
    compare!("  beside 10,000 others", arm_and_give_up(10_000, 200_000));
}
