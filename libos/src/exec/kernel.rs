//! The domain as the machine under the run loop: how it sleeps, and what wakes it.
//!
//! Interrupts are off but while the CPU sleeps, so nothing ever runs between two instructions. A port's
//! pending bit is cleared before its waiter is woken, and the CPU does not sleep while the upcall is
//! pending, so no event is lost.

use super::run::{self, Machine};
use crate::time::{self, Instant};
use crate::{console, platform};
use core::future::Future;
use core::time::Duration;
use spin::Once;
use xen::evtchn::Channel;
use xen::{Hypervisor as _, Native};
use xen_abi::event::{Priority, Virq};

/// How long the end of the domain waits for the console to take what was written.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(1);

/// The timer's event channel, bound at the first sleep that has a deadline.
static TIMER: Once<Option<Channel<Native>>> = Once::new();

struct Domain;

/// Runs `app` and all tasks until `app` returns.
pub(crate) fn run<T>(app: impl Future<Output = T>) -> T {
    run::run(super::global(), time::timers(), &Domain, app)
}

impl Machine for Domain {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn dispatch(&self) {
        if let Some(events) = platform::events() {
            events.dispatch();
            console::on_event();
        }
    }

    fn sleep(&self, until: Option<Instant>) {
        let Some(events) = platform::events() else { return stuck() };
        match until {
            Some(until) => set_timer(until),
            None if !console::is_attached() => return stuck(),
            None => {}
        }
        arch::idle::sleep(|| events.is_pending());
    }
}

/// Has Xen send an event at a point in time.
fn set_timer(until: Instant) {
    let timer =
        TIMER.call_once(|| platform::events()?.bind_virq(Virq::Timer, Priority::CONTROL).ok());
    let Some(system_ns) = platform::system_time_ns() else { return };
    let left = until - Instant::now();
    let deadline_ns = system_ns.saturating_add(left.as_nanos() as u64);
    if timer.is_none() || Native.set_timer(deadline_ns).is_err() {
        log::error!("Xen gives us no timer");
        stuck();
    }
}

/// Nothing can ever wake us.
fn stuck() {
    log::error!("the app waits for something that cannot come: no event channel is bound");
    platform::shut_down(xen_abi::sched::ShutdownReason::Crash);
}

/// How often the console's backend is looked at while the end waits for it, in nanoseconds.
const CONSOLE_LOOK_NS: u64 = 2_000_000;

/// Waits until the console's backend has taken all text, at most [`CONSOLE_PATIENCE`]. Takes no lock for
/// good: it works in a crash too, whatever that interrupted.
pub(crate) fn wait_for_console() {
    let Some(start_ns) = platform::system_time_ns() else {
        console::try_flush();
        return;
    };
    let deadline_ns = start_ns.saturating_add(CONSOLE_PATIENCE.as_nanos() as u64);
    let mut now_ns = start_ns;
    while !console::try_flush() && now_ns < deadline_ns {
        if Native.poll(&[], Some(now_ns + CONSOLE_LOOK_NS)).is_err() {
            return;
        }
        now_ns = platform::system_time_ns().unwrap_or(deadline_ns);
    }
}
