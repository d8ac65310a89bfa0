//! The task that answers `xl sysrq`.

use super::command::{KEYS, Key};
use super::kernel::{SHUTDOWN, SYNC};
use crate::exec::{self, waiting};
use crate::{guest, heap, println};
use xen::xenstore::{StoreError, Xenstore};
use xen_abi::sched::ShutdownReason;

/// The node.
const NODE: &str = "control/sysrq";

/// Runs as long as the domain.
pub(super) async fn run(store: Xenstore) {
    if let Err(error) = follow(&store).await {
        log::error!("sysrq: {error}");
    }
}

async fn follow(store: &Xenstore) -> Result<(), StoreError> {
    let mut watch = store.watch(NODE).await?;
    loop {
        waiting("a key of xl sysrq", watch.next()).await?;
        let value = match store.read(NODE).await {
            Ok(value) => value,
            Err(StoreError::NO_ENTRY) => continue,
            Err(error) => return Err(error),
        };
        let Some(key) = Key::parse(&value) else { continue };
        // Emptied first: a key that ends the domain shall not be there when it starts again.
        if let Err(error) = store.write(NODE, b"").await {
            log::debug!("sysrq: cannot empty the node: {error}");
        }
        press(key);
    }
}

fn press(key: Key) {
    match key {
        Key::Help => {
            for (letter, _, does) in KEYS {
                println!("sysrq {}: {does}", char::from(letter));
            }
        }
        Key::Sync => {
            SYNC.call();
            println!("sysrq: synced ({} hooks)", SYNC.count());
        }
        Key::Tasks => exec::tasks().iter().for_each(|task| println!("sysrq: task {task}")),
        Key::Memory => memory(),
        Key::Events => events(),
        Key::Reboot => SHUTDOWN.end_now(ShutdownReason::Reboot),
        Key::Poweroff => SHUTDOWN.end_now(ShutdownReason::Poweroff),
        Key::Crash => panic!("xl sysrq asked for a crash"),
    }
}

fn memory() {
    let heap = heap::counters();
    println!(
        "sysrq: heap {} bytes in {} blocks (peak {}), {} of {} bytes free",
        heap.live_bytes,
        heap.live_blocks,
        heap.peak_bytes,
        heap.available_bytes,
        heap.claimed_bytes
    );
    println!(
        "sysrq: {} KiB in free frames, {} KiB in the largest piece",
        arch::frames::free_bytes() / 1024,
        arch::frames::largest_free_bytes() / 1024
    );
}

fn events() {
    let Some(guest) = guest::get() else { return };
    let events = guest.events().counters();
    let interface = if events.fifo { "FIFO" } else { "two-level" };
    println!("sysrq: {} event channels, {interface}", events.open);
    if let Some(grants) = guest.grant_counters() {
        println!(
            "sysrq: {} grants in use, {} set aside, {} leaked; {} of {} frames",
            grants.in_use, grants.quarantined, grants.leaked, grants.frames, grants.frames_limit
        );
    }
    if let Some(request) = guest::store().and_then(|store| store.oldest_request()) {
        println!("sysrq: xenstore owes an answer: {request}");
    }
}
