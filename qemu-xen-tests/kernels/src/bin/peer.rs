//! Two domains share a page and an event channel; then one is destroyed, and the other goes on.
//!
//! ```text
//!   A (no --peer)                              B (--peer DOMID-OF-A)
//!   data/peer ◀── the suite: B's number
//!   grants a page, opens a port,
//!   data/grant, data/port, readable for B ───▶ maps, connects
//!   counts events ◀─────────────────────────── counts in the page, notifies, every 100 ms
//!   nothing comes any more                     ✝ xl destroy
//!   takes its page back
//! ```
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use core::sync::atomic::Ordering;
use core::time::Duration;
use kernels::own_grants::page;
use kernels::{check, running_time};
use libos::exec::sleeps;
use libos::{Env, guest, println, time};
use xen::gnttab::Access;
use xen::xenstore::{StoreError, Xenstore};
use xen_abi::DomId;
use xen_abi::event::{EvtchnPort, Priority};
use xen_abi::gnttab::GrantRef;
use xen_abi::xs_wire::{self, Permission};

libos::entry!(main);

/// After this time without an event the peer is taken for dead.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the survivor is looked at.
const WINDOW: Duration = Duration::from_secs(5);
/// How long it may run meanwhile.
const RUNNING_MAX: Duration = Duration::from_millis(20);

async fn main(env: Env) {
    match env.boot_line().option("peer").map(str::parse) {
        None => kernels::conclude(survivor(&env).await),
        Some(Ok(peer)) => kernels::conclude(victim(&env, DomId(peer)).await),
        Some(Err(_)) => kernels::failure(format_args!("--peer is not a number")),
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Reads a number as soon as there is one.
async fn number(store: &Xenstore, path: &str) -> Result<u32, String> {
    let mut watch = store.watch(path).await.map_err(text)?;
    loop {
        watch.next().await.map_err(text)?;
        match store.read_text(path).await {
            Ok(number) => return number.trim().parse().map_err(text),
            // Not there yet, or not for us yet.
            Err(StoreError::NO_ENTRY | StoreError::ACCESS) => {}
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
}

/// Writes a number that `peer` may read.
async fn tell(store: &Xenstore, path: &str, peer: DomId, number: u32) -> Result<(), String> {
    let own = store.domid().await.map_err(text)?;
    let permissions = [
        Permission { domain: own, access: xs_wire::Access::None },
        Permission { domain: peer, access: xs_wire::Access::Read },
    ];
    store.write(path, number.to_string().as_bytes()).await.map_err(text)?;
    store.set_permissions(path, &permissions).await.map_err(text)
}

async fn survivor(env: &Env) -> Result<(), String> {
    let guest = guest::get().ok_or("not on Xen")?;
    let (store, grants) = (env.xenstore().ok_or("no store")?, guest.grants().ok_or("no grants")?);
    println!("ready");
    let peer = number(&store, "data/peer").await?;
    let peer = DomId(u16::try_from(peer).map_err(text)?);
    let channel = guest.events().alloc_unbound(peer, Priority::BULK).map_err(text)?;
    let granted = grants.grant(peer, page()?, Access::ReadWrite).map_err(text)?;
    tell(&store, "data/grant", peer, granted.reference().0).await?;
    tell(&store, "data/port", peer, channel.port().0).await?;

    let mut events = 0;
    let end = loop {
        // The peer has to boot first.
        let patience = if events == 0 { 10 * SILENCE } else { SILENCE };
        match time::timeout(patience, channel.wait()).await {
            Ok(Ok(())) => events += 1,
            end => break end,
        }
        if events == 10 {
            println!("the peer is alive");
        }
    };
    println!("after {events} events: {end:?}, notify gives {:?}", channel.notify());
    let counted = granted.u32_at(0).load(Ordering::Acquire);
    check!(events >= 10 && counted >= 10, "{events} events, {counted} in the page");
    match granted.end() {
        Ok(_) => println!("the page is ours again"),
        Err(error) => println!("the page is set aside: {error}"),
    }
    drop(channel);
    let (before, woken) = (running_time().ok_or("no running time")?, sleeps());
    time::sleep(WINDOW).await;
    let ran = running_time().ok_or("no running time")?.saturating_sub(before);
    println!("ran {} us in 5 s, woke {} times", ran.as_micros(), sleeps() - woken);
    check!(ran < RUNNING_MAX, "it spins: {} us of 5 s", ran.as_micros());
    let counters = grants.table_counters();
    check!(counters.quarantined == 0 && counters.leaked == 0, "{counters:?}");
    Ok(())
}

async fn victim(env: &Env, peer: DomId) -> Result<(), String> {
    let guest = guest::get().ok_or("not on Xen")?;
    let store = env.xenstore().ok_or("no store")?;
    let foreign = guest.foreign().ok_or("no grants")?;
    let path = |name| format!("/local/domain/{}/data/{name}", peer.0);
    let grant = GrantRef(number(&store, &path("grant")).await?);
    let port = EvtchnPort(number(&store, &path("port")).await?);
    let mapped = foreign.map(peer, &[grant], Access::ReadWrite).map_err(text)?;
    let channel = guest.events().bind_interdomain(peer, port, Priority::BULK).map_err(text)?;
    let page = mapped.page(0).ok_or("not for writing")?;
    println!("mapped {grant}");
    loop {
        page.u32_at(0).fetch_add(1, Ordering::Release);
        channel.notify().map_err(text)?;
        time::sleep(Duration::from_millis(100)).await;
    }
}
