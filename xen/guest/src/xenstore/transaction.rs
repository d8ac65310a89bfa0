//! Transactions: several requests that take effect together or not at all.
//!
//! ```text
//!   begin ──▶ body: reads see the store as it was, and the body's own writes
//!     ▲         │ Ok                        │ Err
//!     │         ▼                           ▼
//!     │       commit ──▶ done             abort
//!     └─── EAGAIN: someone else has changed what the body saw
//! ```

use super::client::{Nodes, Xenstore};
use super::error::StoreError;
use super::protocol::check_ok;
use core::future::poll_fn;
use core::ops::Deref;
use core::task::Poll;
use xen_abi::xs_wire::MessageType;

/// Times that a transaction is done before it is given up.
pub const TRANSACTION_TRIES: u32 = 100;

/// A transaction. All that [`Nodes`] can do is done inside of it. Dropping it aborts it.
pub struct Transaction {
    nodes: Nodes,
    open: bool,
}

impl Deref for Transaction {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        &self.nodes
    }
}

impl Transaction {
    pub(super) fn new(nodes: Nodes) -> Self {
        Self { nodes, open: true }
    }

    /// Has all that was written take effect.
    ///
    /// # Errors
    ///
    /// [`StoreError::AGAIN`] if the transaction met another one, or its connection was lost:
    /// nothing has taken effect, and all is to be done again from the beginning.
    ///
    /// # Cancellation
    ///
    /// Before the first poll it aborts; later it takes effect or does not, and nobody knows.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let call = self.nodes.send(MessageType::TRANSACTION_END, &[b"T\0"]);
        self.open = false;
        check_ok(&call?.await?.payload)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.open {
            let scope = self.nodes.scope;
            self.nodes.shared.with(|link| link.protocol.end_transaction(scope));
        }
    }
}

impl Xenstore {
    /// Does `body` in a transaction and commits it; all over again, up to [`TRANSACTION_TRIES`]
    /// times, when it met another one. Other tasks run before each new attempt.
    ///
    /// # Errors
    ///
    /// Those of `body`, which then has no effect; [`StoreError::AGAIN`] when all attempts failed.
    ///
    /// # Cancellation
    ///
    /// Nothing takes effect, unless the commit is on its way.
    pub async fn transaction<T>(
        &self,
        body: impl AsyncFn(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..TRANSACTION_TRIES {
            match self.attempt(&body).await {
                Err(StoreError::AGAIN) => yield_once().await,
                other => return other,
            }
        }
        Err(StoreError::AGAIN)
    }

    async fn attempt<T>(
        &self,
        body: &impl AsyncFn(&Transaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.begin().await?;
        let result = body(&transaction).await?;
        transaction.commit().await?;
        Ok(result)
    }
}

/// Lets all other tasks run once.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
