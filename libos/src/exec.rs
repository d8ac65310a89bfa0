//! Runs the app's future; sleeps in Xen when it has nothing to do.
//!
//! ```text
//!        ┌──────────── woken ◀───────────────┐
//!        ▼                                   │
//!   poll the app ──▶ handle events ──▶ still nothing: sti; hlt
//! ```
//!
//! Interrupts are off but while the CPU sleeps, so nothing ever runs between two instructions. A port's
//! pending bit is cleared before its waiter is woken, and the CPU does not sleep while the upcall is
//! pending, so no event is lost.

use crate::{console, platform};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use xen::{Hypervisor as _, Native};

/// How long the end of the domain waits for the console to take what was written.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(1);

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `app` to its end.
pub(crate) fn run<T>(app: impl Future<Output = T>) -> T {
    let mut app: Pin<Box<_>> = Box::pin(app);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    loop {
        if woken.0.swap(false, Ordering::AcqRel)
            && let Poll::Ready(output) = app.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return output;
        }
        handle_events();
        if !woken.0.load(Ordering::Acquire) {
            sleep();
            handle_events();
        }
    }
}

/// Wakes whoever waits on a port that is pending.
fn handle_events() {
    if let Some(events) = platform::events() {
        events.dispatch();
        console::on_event();
    }
}

/// Sleeps until an event comes.
fn sleep() {
    let Some(events) = platform::events() else { return stuck() };
    if !console::is_attached() {
        stuck();
    }
    arch::idle::sleep(|| events.is_pending());
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
