//! The task that does what the toolstack writes into `control/shutdown`.
//!
//! The node is emptied before anything is done: that is the acknowledgement that `xl` waits for. It
//! is emptied in a transaction, for the toolstack empties it too when it gives up waiting: then the
//! command is off.
//!
//! Source: Xen: docs/misc/xenstore-paths, "control/shutdown".

use super::command::Command;
use super::kernel::SHUTDOWN;
use super::shutdown::Request;
use super::suspend;
use crate::boot_line::BootLine;
use crate::exec::waiting;
use crate::{platform, time};
use alloc::string::String;
use core::time::Duration;
use xen::xenstore::{StoreError, Xenstore};
use xen_abi::sched::ShutdownReason;

/// The node.
const SHUTDOWN_NODE: &str = "control/shutdown";
/// What we tell the toolstack we can do.
const FEATURES: [&str; 3] =
    ["control/feature-poweroff", "control/feature-reboot", "control/feature-suspend"];

/// How long an app that was told to end may take, unless the boot line says otherwise (`--grace`).
const GRACE: Duration = Duration::from_secs(10);

/// The grace period that the boot line says; an error is the text that does not say one.
pub(super) fn grace() -> Result<Duration, String> {
    let line = platform::boot_info().map(|info| info.boot_line).unwrap_or_default();
    // The line was read at the start, so it can be read.
    let line = BootLine::parse(line).unwrap_or_default();
    let Some(text) = line.option("grace") else { return Ok(GRACE) };
    let number = text.strip_suffix('s').unwrap_or(text);
    number.parse().map(Duration::from_secs).map_err(|_| text.into())
}

/// Runs as long as the domain.
pub(super) async fn run(store: Xenstore, grace: Duration) {
    if let Err(error) = follow(&store, grace).await {
        log::error!("control: {error}; xl shutdown and xl save do not reach this domain");
    }
}

async fn follow(store: &Xenstore, grace: Duration) -> Result<(), StoreError> {
    for feature in FEATURES {
        // Other toolstacks may not let us write there.
        let _ = store.write(feature, b"1").await;
    }
    let mut watch = store.watch(SHUTDOWN_NODE).await?;
    loop {
        waiting("a word from the toolstack", watch.next()).await?;
        if let Some(command) = acknowledged(store).await? {
            carry_out(command, grace);
        }
    }
}

/// Reads the command and empties the node, both or neither.
async fn acknowledged(store: &Xenstore) -> Result<Option<Command>, StoreError> {
    let taken = store.transaction(async |transaction| {
        let command = match transaction.read(SHUTDOWN_NODE).await {
            Ok(value) => Command::parse(&value),
            Err(StoreError::NO_ENTRY) => None,
            Err(error) => return Err(error),
        };
        if command.is_some() {
            transaction.write(SHUTDOWN_NODE, b"").await?;
        }
        Ok(command)
    });
    taken.await
}

fn carry_out(command: Command, grace: Duration) {
    match command {
        Command::End(request) => end(request, grace),
        Command::Suspend => suspend::request(),
        Command::Crash => SHUTDOWN.end_now(ShutdownReason::Crash),
        Command::Unknown => log::warn!("control: the toolstack sent a word that is not known here"),
    }
}

/// Tells the app; ends the domain when its grace is over.
fn end(request: Request, grace: Duration) {
    log::info!("the toolstack asks for {request:?}");
    if SHUTDOWN.request(request) {
        crate::exec::spawn_named("grace", async move {
            time::sleep(grace).await;
            log::warn!("the app has not ended within {} s: ending it", grace.as_secs());
            SHUTDOWN.end_now(request.reason());
        })
        .detach();
    }
}
