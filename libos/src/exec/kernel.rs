//! The domain as the machine under the run loop: how it sleeps, what wakes it, how it ends.
//!
//! ```text
//!   start ─▶ main is polled once ──ready──▶ end
//!                 │ it waits for something
//!                 ▼
//!   run_on_xen: event channels, timer, life cycle ─▶ turn ─▶ end due? ─▶ suspend asked? ─▶ turn …
//! ```
//!
//! An app that never waits needs no event channel, no xenstore and no tasks; so whatever can be
//! waited for calls [`engage`], and only that links all of it into the image.
//!
//! Interrupts are off but while the CPU sleeps, so nothing ever runs between two instructions. A
//! port's pending bit is cleared before its waiter is woken, and the CPU does not sleep while the
//! upcall is pending, so no event is lost.

use super::run::{Machine, RunLoop};
use crate::lifecycle::{self, suspend};
use crate::time::{self, Instant};
use crate::{console, guest, platform, start};
use alloc::boxed::Box;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use spin::Once;
use xen::{Hypervisor as _, Native};
use xen_abi::sched::ShutdownReason;

/// Polls the app; ready with its status.
type PollApp<'a> = &'a mut dyn FnMut(&mut Context<'_>) -> Poll<u8>;

/// The run loop; nothing until something that waits was asked for.
static RUN: Once<fn(PollApp<'_>) -> !> = Once::new();

/// How often the CPU has slept.
static SLEEPS: AtomicU64 = AtomicU64::new(0);

/// How often the domain has slept so far: once for each time that it woke.
pub fn sleeps() -> u64 {
    SLEEPS.load(Ordering::Relaxed)
}

/// Says that there is something to wait for. Called by all that makes a task wait.
pub(crate) fn engage() {
    RUN.call_once(|| run_on_xen);
}

/// Runs the app to the end of the domain; its output is the status.
pub(crate) fn run(app: impl Future<Output = u8>) -> ! {
    let mut app: Pin<Box<_>> = Box::pin(app);
    if let Poll::Ready(status) = app.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        start::end_with_status(status);
    }
    match RUN.get() {
        Some(run) => run(&mut |context| app.as_mut().poll(context)),
        None => stuck(),
    }
}

/// The loop. It never returns, and neither do its callers: so it may replace the stack canary.
fn run_on_xen(app: PollApp<'_>) -> ! {
    if guest::get().is_none() {
        stuck();
    }
    lifecycle::start();
    let machine = Domain;
    let main = poll_fn(|context| app(context));
    let mut run_loop = RunLoop::new(super::global(), time::timers(), &machine, main);
    loop {
        if let Some(status) = run_loop.turn() {
            lifecycle::end_of_app(status);
        }
        if let Some(reason) = lifecycle::SHUTDOWN.due() {
            start::end(reason);
        }
        if suspend::if_requested() {
            arch::canary::replace(suspend::new_canary());
        }
    }
}

/// The domain as the loop's machine.
struct Domain;

impl Machine for Domain {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn dispatch(&self) {
        if let Some(guest) = guest::get() {
            guest.dispatch();
        }
    }

    fn sleep(&self, until: Option<Instant>) {
        let Some(guest) = guest::get() else { return };
        // What a task asks of the loop is seen to before the next sleep.
        if suspend::is_requested() || lifecycle::SHUTDOWN.due().is_some() {
            return;
        }
        if let Some(until) = until {
            guest.wake_at(until);
        }
        SLEEPS.fetch_add(1, Ordering::Relaxed);
        arch::idle::sleep(|| guest.events().is_pending());
    }
}

/// The app waits, and nothing can ever wake it.
fn stuck() -> ! {
    log::error!("the app waits for something that cannot come");
    start::end(ShutdownReason::Crash)
}

/// How often the console's backend is looked at while the end waits for it, in nanoseconds.
const CONSOLE_LOOK_NS: u64 = 2_000_000;

/// Waits until the console's backend has taken all text, at most for `patience` without any
/// progress. Takes no lock for good and needs no event: it works in a crash too, whatever that
/// interrupted.
pub(crate) fn wait_for_console(patience: Duration) {
    let patience_ns = patience.as_nanos() as u64;
    let mut waiting = console::try_flush();
    let mut since_ns = platform::system_time_ns();
    while waiting > 0 {
        let (Some(start_ns), Some(now_ns)) = (since_ns, platform::system_time_ns()) else { return };
        if now_ns.saturating_sub(start_ns) > patience_ns {
            return;
        }
        if Native.poll(&[], Some(now_ns + CONSOLE_LOOK_NS)).is_err() {
            return;
        }
        let left = console::try_flush();
        if left < waiting {
            since_ns = platform::system_time_ns();
        }
        waiting = left;
    }
}
