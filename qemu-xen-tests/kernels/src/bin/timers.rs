//! Timers: never early, in order, on a grid; a limit ends what is late.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::pending;
use kernels::check;
use libos::exec::Either;
use libos::spawn;
use libos::sync::Mutex;
use libos::time::{Duration, Elapsed, Instant, Ticker, sleep, timeout};

libos::entry!(main);

/// How late a timer may be: on an emulated machine under load Xen's time jumps by a second at
/// times.
const LATE: Duration = Duration::from_secs(3);

async fn main(_: libos::Env) {
    kernels::conclude(show().await);
}

async fn show() -> Result<(), String> {
    accuracy().await?;
    order().await?;
    limits().await?;
    ticks().await?;
    embassy().await
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn accuracy() -> Result<(), String> {
    let mut worst = Duration::ZERO;
    for length in [ms(0), Duration::from_micros(50), ms(1), ms(10), ms(100)] {
        let start = Instant::now();
        sleep(length).await;
        let took = start.elapsed();
        check!(took >= length, "a sleep of {length:?} took {took:?}");
        worst = worst.max(took - length);
    }
    libos::println!("at worst {} us late", worst.as_micros());
    check!(worst < LATE, "a sleep was {worst:?} late");
    Ok(())
}

async fn order() -> Result<(), String> {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..200_u64)
        .map(|number| {
            let ended = ended.clone();
            // Each of 50 deadlines four times.
            let after = ms(20 + number * 37 % 50);
            let start = Instant::now();
            spawn(async move {
                libos::time::sleep_until(start + after).await;
                ended.lock().await.push(start + after);
            })
        })
        .collect();
    for task in tasks {
        check!(task.await == Ok(()), "a task was cancelled");
    }
    let ended = ended.lock().await;
    check!(ended.len() == 200 && ended.is_sorted(), "not in order: {ended:?}");
    Ok(())
}

async fn limits() -> Result<(), String> {
    let start = Instant::now();
    check!(timeout(ms(30), pending::<()>()).await == Err(Elapsed), "no limit");
    let took = start.elapsed();
    check!(took >= ms(30) && took < LATE, "a limit of 30 ms took {took:?}");
    check!(timeout(LATE, sleep(ms(1))).await == Ok(()), "limited too soon");
    let first = libos::exec::select(sleep(20 * LATE), sleep(ms(3))).await;
    check!(matches!(first, Either::Second(())), "the later sleep won");
    Ok(())
}

async fn ticks() -> Result<(), String> {
    let mut ticker = Ticker::every(ms(5));
    let first = ticker.tick().await;
    let mut last = first;
    for _ in 0..20 {
        let tick = ticker.tick().await;
        check!(tick > last && tick <= Instant::now(), "a tick for {tick} after {last}");
        let steps = (tick - first).as_nanos() as u64;
        check!(steps.is_multiple_of(5_000_000), "{steps} ns are off the grid");
        last = tick;
    }
    // Missed ticks come as one.
    sleep(ms(62)).await;
    let missed = ticker.tick().await;
    let next = ticker.tick().await;
    check!(next - missed >= ms(55), "a tick for {next} after the missed one for {missed}");
    Ok(())
}

/// Crates that use embassy's time and channels run unchanged.
async fn embassy() -> Result<(), String> {
    use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
    use embassy_sync::channel::Channel;
    use embassy_time::Timer;
    static CHANNEL: Channel<CriticalSectionRawMutex, u64, 1> = Channel::new();
    let start = Instant::now();
    for after in [9, 3, 6] {
        spawn(async move {
            Timer::after_millis(after).await;
            CHANNEL.send(after).await;
        })
        .detach();
    }
    for after in [3, 6, 9] {
        let got = CHANNEL.receive().await;
        check!(got == after && start.elapsed() >= ms(after), "{got} ms came before {after} ms");
    }
    Ok(())
}
