//! Suspend and resume: the domain is taken apart, stops, and is put together again, perhaps
//! elsewhere.
//!
//! ```text
//!   control/shutdown = "suspend"
//!        │ acknowledged by the control task, which asks the run loop
//!        ▼
//!   between two rounds, no task is being polled:
//!     1. the app's functions for "before"          4. SHUTDOWN_suspend: save, migrate …
//!     2. no foreign page may be mapped             5. in a new domain: shared info, events,
//!     3. the console is flushed, the timer           grants, clock, console, xenstore, upcall
//!        disarmed                                 6. generator, heap key and canary made anew
//!                                                 7. the app's functions for "after"
//! ```
//!
//! A suspend that was cancelled, and a checkpoint (`xl save -c`), come back in the same domain:
//! steps 5 and 6 are left out, all is as it was. The drivers' channels are closed by step 5; that
//! is how they learn that they have to connect again.
//!
//! Source: Xen: sched.h, SHUTDOWN_suspend; docs/misc/xenstore-paths.

use super::hooks::Hooks;
use crate::{exec, guest, platform};
use arch::cpu::Features;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use xen::hypercall::Resumed;
use xen::{Hypervisor as _, Native};

/// Called before the domain stops, in the run loop.
pub(crate) static BEFORE: Hooks = Hooks::new();
/// Called after it has come back.
pub(crate) static AFTER: Hooks = Hooks::new();

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// How long the console's backend is waited for before the domain stops: what is left in the queue
/// travels along.
const CONSOLE_PATIENCE: Duration = Duration::from_millis(100);

/// Asks the run loop to suspend before it goes on.
pub(crate) fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Whether the run loop is to suspend before it goes on.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// A stack canary for the new domain.
pub(crate) fn new_canary() -> u64 {
    let features = platform::boot_info().map_or(Features::empty(), |info| info.features);
    arch::canary::of_word(arch::entropy::word(features).0)
}

/// Suspends if it was asked for; whether the domain is a new one. Called between two rounds.
pub(crate) fn if_requested() -> bool {
    if !REQUESTED.swap(false, Ordering::Relaxed) {
        return false;
    }
    let mapped = guest::foreign_pages();
    if mapped > 0 {
        // Xen would refuse to save such a domain, after it has stopped.
        log::error!("no suspend: {mapped} pages of other domains are mapped");
        return false;
    }
    BEFORE.call();
    log::info!("suspending");
    exec::wait_for_console(CONSOLE_PATIENCE);
    let is_new = suspend();
    AFTER.call();
    is_new
}

/// Stops the domain; whether it has come back as a new one.
fn suspend() -> bool {
    // An error says that no timer is armed.
    let _ = Native.stop_timer();
    match Native.suspend() {
        Ok(Resumed::InNewDomain) => {
            guest::resume();
            log::info!("resumed");
            true
        }
        Ok(Resumed::InSameDomain) => {
            guest::rearm();
            log::info!("resumed in the same domain");
            false
        }
        Err(errno) => {
            guest::rearm();
            log::error!("Xen refuses to suspend: {errno}");
            false
        }
    }
}
