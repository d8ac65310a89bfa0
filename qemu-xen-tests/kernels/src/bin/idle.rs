//! Idle costs nothing: with event channels open, a watch set and a timer armed for an hour, the
//! domain hardly runs at all, and does not wake without a reason.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use kernels::{check, running_time};
use libos::exec::sleeps;
use libos::{guest, spawn_named, time};
use xen_abi::DomId;
use xen_abi::event::Priority;

libos::entry!(main);

/// How long the domain is looked at.
const WINDOW: Duration = Duration::from_secs(10);
/// How long it may run meanwhile.
const RUNNING_MAX: Duration = Duration::from_millis(20);
/// How often it may wake meanwhile: once for the end of the window, and the toolstack may have a
/// last word about the new domain.
const WAKES_MAX: u64 = 5;

async fn main(_: libos::Env) {
    kernels::conclude(show().await);
}

async fn show() -> Result<(), String> {
    spawn_named("hour", time::sleep(Duration::from_secs(3600))).detach();
    let guest = guest::get().ok_or("not on Xen")?;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let channel = guest.events().alloc_unbound(DomId(0), Priority::BULK);
        let channel = channel.map_err(|errno| alloc::format!("no event channel: {errno}"))?;
        waiting.push(spawn_named("listener", async move { channel.wait().await }));
    }
    // What the start itself brings is over.
    time::sleep(Duration::from_secs(1)).await;
    let (before, woken) = (running_time().ok_or("Xen does not tell the running time")?, sleeps());
    time::sleep(WINDOW).await;
    let (after, wakes) = (running_time().ok_or("no running time")?, sleeps() - woken);
    let ran = after.saturating_sub(before);
    libos::println!("ran {} us in {} s, woke {wakes} times", ran.as_micros(), WINDOW.as_secs());
    check!(ran < RUNNING_MAX, "it ran {} us", ran.as_micros());
    check!((1..=WAKES_MAX).contains(&wakes), "it woke {wakes} times");
    Ok(())
}
