//! The handle to a watch.

use super::client::Shared;
use super::error::StoreError;
use super::watches::Token;
use alloc::string::String;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::{Context, Poll};

/// Tells what changes at a node and below it. Dropping it ends the watch.
///
/// That something changed is a hint, not a fact: the store may tell of changes that were none, and
/// several changes may be told as one. Whoever is told reads again.
pub struct Watch {
    shared: Arc<Shared>,
    token: Token,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, token: Token) -> Self {
        Self { shared, token }
    }

    /// Waits until the store has it.
    pub(super) async fn registered(&self) -> Result<(), StoreError> {
        poll_fn(|context| {
            self.shared.with(|link| {
                let protocol = &mut link.protocol;
                let (watches, wakers) = (&mut protocol.watches, &mut protocol.wakers);
                watches.poll_registered(self.token, context.waker(), wakers)
            })
        })
        .await
    }

    /// Waits for a change; the path of the node that changed, relative if the watch's is. It is the
    /// watch's own path at first, after a resume, and when more changed than is remembered.
    ///
    /// # Errors
    ///
    /// When the watch will not fire again: the connection is broken for good, or the store did not
    /// take the watch again after a resume.
    ///
    /// # Cancellation
    ///
    /// Safe: no change is lost.
    pub async fn next(&mut self) -> Result<String, StoreError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Forgets what has changed so far: for those who are about to read all of it anyway.
    pub fn forget(&mut self) {
        self.shared.with(|link| link.protocol.watches.forget(self.token));
    }

    /// [`Self::next`] for those who wait for several things.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<String, StoreError>> {
        self.shared.with(|link| {
            let protocol = &mut link.protocol;
            let (watches, wakers) = (&mut protocol.watches, &mut protocol.wakers);
            watches.poll_changed(self.token, context.waker(), wakers)
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.with(|link| link.protocol.unwatch(self.token));
    }
}
