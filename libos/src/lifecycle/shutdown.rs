//! The end of the domain as a decision: who asked for it, who was told, when it is due.
//!
//! ```text
//!   running ──xl shutdown, xl reboot──▶ requested ──main returns, or nobody listens──▶ due
//!                                          │                                          ▲
//!                                          └────────────── grace is over ─────────────┘
//! ```
//!
//! An app that asks [`Shutdown::requested`] is told and has the grace period to finish; one that
//! never asks would not know what to do with the time, so the end is due at once.

use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use spin::Mutex;
use xen_abi::sched::ShutdownReason;

/// What the toolstack wants of the domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// `xl shutdown`.
    Poweroff,
    /// `xl reboot`.
    Reboot,
}

impl Request {
    /// The reason with which the domain then ends.
    pub fn reason(self) -> ShutdownReason {
        match self {
            Self::Poweroff => ShutdownReason::Poweroff,
            Self::Reboot => ShutdownReason::Reboot,
        }
    }
}

/// What is known about the end of the domain.
#[derive(Debug)]
pub struct Shutdown {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    request: Option<Request>,
    /// Whether anyone ever asked to be told.
    has_listener: bool,
    due: Option<ShutdownReason>,
    wakers: Vec<Waker>,
}

impl Shutdown {
    /// Nothing requested.
    pub const fn new() -> Self {
        let state = State { request: None, has_listener: false, due: None, wakers: Vec::new() };
        Self { state: Mutex::new(state) }
    }

    /// The toolstack asks for the end; whether the app is told and has a grace period. If not, the
    /// end is due now. Only the first request counts.
    pub fn request(&self, request: Request) -> bool {
        let mut state = self.state.lock();
        state.request.get_or_insert(request);
        if !state.has_listener {
            state.due = state.request.map(Request::reason);
        }
        let told = state.has_listener;
        let wakers = core::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        told
    }

    /// Ends the domain with `reason`, whatever the app does.
    pub fn end_now(&self, reason: ShutdownReason) {
        self.state.lock().due.get_or_insert(reason);
    }

    /// The reason, once the end is due.
    pub fn due(&self) -> Option<ShutdownReason> {
        self.state.lock().due
    }

    /// The request, if there is one.
    pub fn current(&self) -> Option<Request> {
        self.state.lock().request
    }

    /// Waits for a request. From the first poll on, the app counts as one that wants to be told.
    pub fn poll_requested(&self, context: &mut Context<'_>) -> Poll<Request> {
        let mut state = self.state.lock();
        state.has_listener = true;
        if let Some(request) = state.request {
            return Poll::Ready(request);
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(shutdown: &Shutdown) -> Poll<Request> {
        shutdown.poll_requested(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_does_not_listen_ends_at_once() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.request(Request::Poweroff));
        assert_eq!(shutdown.due(), Some(ShutdownReason::Poweroff));
    }

    #[test]
    fn who_listens_is_told_and_has_time() {
        let shutdown = Shutdown::new();
        assert!(poll(&shutdown).is_pending());
        assert!(shutdown.request(Request::Reboot));
        assert_eq!(shutdown.due(), None);
        assert_eq!(poll(&shutdown), Poll::Ready(Request::Reboot));
        assert!(shutdown.request(Request::Poweroff), "a second request changes nothing");
        assert_eq!(shutdown.current(), Some(Request::Reboot));
        shutdown.end_now(ShutdownReason::Reboot);
        shutdown.end_now(ShutdownReason::Crash);
        assert_eq!(shutdown.due(), Some(ShutdownReason::Reboot));
    }
}
