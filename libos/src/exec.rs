//! Runs the app's future; sleeps in Xen when it has nothing to do.
//!
//! ```text
//!        ┌──────────── woken ◀───────────────┐
//!        ▼                                   │
//!   poll the app ──▶ handle events ──▶ still nothing: SCHEDOP_poll on the bound ports
//! ```
//!
//! Interrupts stay off for good: there is no handler, so nothing ever runs between two instructions. A
//! port's pending bit is cleared before its waiter is woken, and Xen looks at the pending bits again
//! before it lets us sleep, so no event is lost.

use crate::{console, platform};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use xen::{Hypervisor as _, Native, evtchn};

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
        if woken.0.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = app.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        }
        handle_events();
        if !woken.0.load(Ordering::Acquire) {
            sleep(None);
            handle_events();
        }
    }
}

/// Wakes whoever waits on a port that is pending.
fn handle_events() {
    let Some(shared_info) = platform::shared_info() else { return };
    evtchn::clear_summary(shared_info);
    if let Some(port) = console::port() {
        if evtchn::take_pending(shared_info, port) {
            console::on_event();
        }
    }
}

/// Gives the CPU away until a bound port is pending or system time `deadline_ns` has come.
fn sleep(deadline_ns: Option<u64>) {
    let port = console::port();
    if platform::shared_info().is_none() || (port.is_none() && deadline_ns.is_none()) {
        // Nothing can ever wake us.
        log::error!("the app waits for something that cannot come: no event channel is bound");
        platform::shut_down(xen_abi::sched::ShutdownReason::Crash);
    }
    if let Err(errno) = Native.poll(port.as_slice(), deadline_ns) {
        log::error!("Xen refuses to let us sleep: {errno}");
    }
}

/// Waits until the console's backend has taken all text, at most [`CONSOLE_PATIENCE`].
pub(crate) fn wait_for_console() {
    let Some(shared_info) = platform::shared_info() else {
        console::try_flush();
        return;
    };
    let Some(start_ns) = platform::system_time_ns() else { return };
    let deadline_ns = start_ns.saturating_add(CONSOLE_PATIENCE.as_nanos() as u64);
    while !console::try_flush() {
        if platform::system_time_ns().is_none_or(|now_ns| now_ns >= deadline_ns) {
            return;
        }
        let Some(port) = console::port() else { return };
        evtchn::take_pending(shared_info, port);
        if console::try_flush() || Native.poll(&[port], Some(deadline_ns)).is_err() {
            return;
        }
    }
}
