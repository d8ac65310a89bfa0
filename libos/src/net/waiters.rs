//! Tasks that wait for the same thing.

use alloc::vec::Vec;
use core::task::{Context, Waker};

/// Their wakers, each task's once.
#[derive(Default)]
pub struct Waiters(Vec<Waker>);

impl Waiters {
    /// Adds the task that is being polled.
    pub fn add(&mut self, context: &Context<'_>) {
        if !self.0.iter().any(|known| known.will_wake(context.waker())) {
            self.0.push(context.waker().clone());
        }
    }

    /// Moves all of them to those that are to be woken.
    pub fn wake(&mut self, wakes: &mut Vec<Waker>) {
        wakes.append(&mut self.0);
    }
}
