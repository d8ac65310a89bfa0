//! Futures on the host, polled only when they were woken: a forgotten wake-up is a test that fails.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

/// Whether a task was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Task<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    woken: Arc<Flag>,
}

/// Tasks that run side by side.
#[derive(Default)]
pub struct Tasks<'a>(Vec<Task<'a>>);

impl<'a> Tasks<'a> {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; it is polled at the next [`Self::poll`].
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'a) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.0.push(Task { future: Box::pin(future), woken });
    }

    /// Polls those that were woken, once each, and drops those that are done; how many were polled.
    pub fn poll(&mut self) -> usize {
        let mut polled = 0;
        self.0.retain_mut(|task| {
            if !task.woken.0.swap(false, Ordering::AcqRel) {
                return true;
            }
            polled += 1;
            let waker = Waker::from(task.woken.clone());
            task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
        });
        polled
    }

    /// Tasks that are not done.
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

/// Runs a future to its end. `progress` lets the rest of the world do something, and says whether
/// it did; `None` when nothing can happen any more and the future is not done.
pub fn run<T>(future: impl Future<Output = T>, mut progress: impl FnMut() -> bool) -> Option<T> {
    let mut future = pin!(future);
    let woken = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    loop {
        if woken.0.swap(false, Ordering::AcqRel) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(output);
            }
        } else if !progress() && !woken.0.load(Ordering::Acquire) {
            return None;
        }
    }
}
