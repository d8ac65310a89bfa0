//! The client of xenstore, the tree of small texts by which the domains of a machine find each
//! other.
//!
//! ```text
//!   tasks ── Xenstore, Nodes ── Watch ── Transaction        async, cheap to clone
//!                    │  lock; wakers are called when it is released
//!                   Link            fresh start, broken ring, resume
//!              ┌─────┴──────┐
//!          Protocol        Ring     messages in, bytes out │ bytes in a page both sides write
//!     requests, watches
//! ```
//!
//! Nothing here waits, spins or knows an executor: a request is a future that is woken by
//! [`Xenstore::on_event`], which the runtime calls for the store's event channel.

mod client;
mod error;
mod link;
mod protocol;
mod request;
mod ring;
#[cfg(test)]
mod tests;
mod transaction;
mod watch;
mod watches;

pub use client::{DIRECTORY_MAX_BYTES, Nodes, Xenstore};
pub use error::{BadReply, Broken, StoreError};
pub use protocol::IN_FLIGHT_MAX;
pub use request::{OutstandingRequest, Ticket};
pub use transaction::{TRANSACTION_TRIES, Transaction};
pub use watch::Watch;
pub use watches::CHANGES_MAX;
pub use xen_abi::xs_wire::{Access, ErrorName, PathError, Permission, StorePath, TextError};

/// Tells the store that the ring has changed: sends its event channel.
///
/// May be called from any task; must not block.
pub trait Doorbell: Send + Sync + 'static {
    /// Sends the event.
    fn notify(&self);
}

impl<F: Fn() + Send + Sync + 'static> Doorbell for F {
    fn notify(&self) {
        self();
    }
}
