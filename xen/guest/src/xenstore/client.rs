//! The handle that tasks hold: requests as async functions.

use super::Doorbell;
use super::error::{BadReply, StoreError};
use super::link::Link;
use super::protocol::{Reply, check_ok, transaction_id};
use super::request::{Epoch, OutstandingRequest, Scope, Ticket};
use super::ring::Ring;
use super::transaction::Transaction;
use super::watch::Watch;
use crate::page::SharedPage;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::future::Future;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};
use spin::Mutex;
use xen_abi::DomId;
use xen_abi::xs_wire::{
    ErrorName, MessageType, Permission, StorePath, TextError, decimal, directory_part, names,
};

/// Most bytes of names that a directory is read up to.
pub const DIRECTORY_MAX_BYTES: usize = 256 * 1024;
/// Times that a directory which changes while it is read is begun again.
const DIRECTORY_TRIES: u32 = 16;

/// What all handles share.
pub(super) struct Shared(Mutex<Link>);

impl Shared {
    /// Does something under the lock, then moves bytes, then notifies and wakes without the lock.
    pub fn with<R>(&self, act: impl FnOnce(&mut Link) -> R) -> R {
        let mut link = self.0.lock();
        let result = act(&mut link);
        let aftermath = link.settle();
        drop(link);
        aftermath.carry_out();
        result
    }
}

/// The store, as this domain sees it. Clones are handles to the same connection.
///
/// All that [`Nodes`] can do is done outside of any transaction here.
#[derive(Clone)]
pub struct Xenstore(Nodes);

impl Deref for Xenstore {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        &self.0
    }
}

impl Xenstore {
    /// Takes up the ring in `page`; `doorbell` notifies the store. A ring that was used before is
    /// cleaned first, if the store can do that.
    pub fn new(page: SharedPage, doorbell: impl Doorbell) -> Self {
        let link = Link::new(Ring::new(page), Arc::new(doorbell));
        let shared = Arc::new(Shared(Mutex::new(link)));
        shared.with(|_| ());
        Self(Nodes { shared, scope: Scope::NONE })
    }

    /// To be called when the store has sent an event, its pending bit cleared before: takes what
    /// has arrived, sends what waits for room, wakes who waits.
    pub fn on_event(&self) {
        self.shared.with(|_| ());
    }

    /// Goes on with a new ring after the domain was resumed in a new one. Of the requests that have
    /// no answer yet, those in a transaction fail with [`StoreError::AGAIN`], so that the
    /// transaction is done again; all others are sent again: reading has no effect, and the effects
    /// of writing went down with the old domain. Every watch is registered again and fires.
    pub fn resume(&self, page: SharedPage, doorbell: impl Doorbell) {
        let doorbell: Arc<dyn Doorbell> = Arc::new(doorbell);
        self.shared.with(|link| link.resume(Ring::new(page), doorbell));
    }

    /// The number of this domain.
    ///
    /// # Cancellation
    ///
    /// Safe: nothing has an effect.
    pub async fn domid(&self) -> Result<DomId, StoreError> {
        let number = decimal(&self.read("domid").await?).and_then(|n| u16::try_from(n).ok());
        number.map(DomId).ok_or(TextError::Number.into())
    }

    /// Watches a node and all below it, whether it exists or not. Fires once at once.
    ///
    /// # Cancellation
    ///
    /// Safe: the watch is removed again.
    pub async fn watch(&self, path: &str) -> Result<Watch, StoreError> {
        let path = StorePath::new(path)?;
        let token = self.shared.with(|link| {
            link.check()?;
            Ok::<_, StoreError>(link.protocol.watch(path.as_str()))
        })?;
        let watch = Watch::new(self.shared.clone(), token);
        watch.registered().await?;
        Ok(watch)
    }

    /// Opens a transaction. [`Self::transaction`] does all that is needed around one.
    ///
    /// # Cancellation
    ///
    /// Safe: the transaction is aborted.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let reply = self.send(MessageType::TRANSACTION_START, &[b"\0"])?.await?;
        let scope = Scope { transaction: transaction_id(&reply.payload)?, epoch: reply.epoch };
        Ok(Transaction::new(Nodes { shared: self.shared.clone(), scope }))
    }

    /// The request that has waited longest for its answer, for a log. Asked twice, the same ticket
    /// means that the store does not answer.
    pub fn oldest_request(&self) -> Option<OutstandingRequest> {
        self.shared.with(|link| link.protocol.oldest())
    }

    /// Why the store cannot be reached any more, if so. Only [`Self::resume`] changes that.
    pub fn check(&self) -> Result<(), StoreError> {
        self.shared.with(|link| link.check())
    }
}

/// The nodes of the store, inside of a [`Transaction`] or outside.
///
/// Paths are absolute, or relative to this domain's directory `/local/domain/N`.
///
/// # Cancellation
///
/// Every request may be dropped at any time. One that has not been sent is not sent any more; one
/// that has been may take effect, and its answer is thrown away.
#[derive(Clone)]
pub struct Nodes {
    pub(super) shared: Arc<Shared>,
    pub(super) scope: Scope,
}

impl Nodes {
    /// A node's value.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        Ok(self.call(MessageType::READ, path, b"")?.await?.payload)
    }

    /// A node's value as text.
    ///
    /// # Errors
    ///
    /// Besides those of [`Self::read`], [`TextError::Characters`] in a value that is not UTF-8.
    pub async fn read_text(&self, path: &str) -> Result<String, StoreError> {
        let value = self.read(path).await?;
        String::from_utf8(value).map_err(|_| TextError::Characters.into())
    }

    /// Sets a node's value; creates it, and its parents, if need be.
    pub async fn write(&self, path: &str, value: &[u8]) -> Result<(), StoreError> {
        check_ok(&self.call(MessageType::WRITE, path, value)?.await?.payload)
    }

    /// Creates a node with an empty value, and its parents, unless it is there.
    pub async fn mkdir(&self, path: &str) -> Result<(), StoreError> {
        check_ok(&self.call(MessageType::MKDIR, path, b"")?.await?.payload)
    }

    /// Removes a node and all below it. It is no error if the node is not there, but its parent is.
    pub async fn rm(&self, path: &str) -> Result<(), StoreError> {
        check_ok(&self.call(MessageType::RM, path, b"")?.await?.payload)
    }

    /// The names of a node's children, up to [`DIRECTORY_MAX_BYTES`] of them. A list too long for
    /// one reply is read in parts, and again from the start if it changes meanwhile.
    pub async fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        match self.call(MessageType::DIRECTORY, path, b"")?.await {
            Ok(reply) => split(&reply.payload),
            Err(StoreError::Store(ErrorName::TooBig)) => self.directory_in_parts(path).await,
            Err(error) => Err(error),
        }
    }

    async fn directory_in_parts(&self, path: &str) -> Result<Vec<String>, StoreError> {
        for _ in 0..DIRECTORY_TRIES {
            match self.directory_once(path).await {
                // In a transaction this means that all of it is to be done again.
                Err(StoreError::AGAIN) if self.scope == Scope::NONE => {}
                other => return other,
            }
        }
        Err(StoreError::AGAIN)
    }

    /// One attempt; [`StoreError::AGAIN`] if the directory changed.
    async fn directory_once(&self, path: &str) -> Result<Vec<String>, StoreError> {
        let mut list = Vec::new();
        let mut begun: Option<(u64, Epoch)> = None;
        loop {
            let mut offset = String::new();
            // A String takes all that is written to it.
            let _ = write!(offset, "{}\0", list.len());
            let call = self.call(MessageType::DIRECTORY_PART, path, offset.as_bytes())?;
            let reply = call.await?;
            let part = directory_part(&reply.payload)?;
            let now = (part.generation, reply.epoch);
            if *begun.get_or_insert(now) != now {
                return Err(StoreError::AGAIN);
            }
            list.extend_from_slice(part.names);
            if part.is_last {
                return split(&list);
            }
            if list.len() > DIRECTORY_MAX_BYTES {
                return Err(StoreError::BadReply(BadReply::Directory));
            }
        }
    }

    /// A node's permissions: its owner's first.
    pub async fn permissions(&self, path: &str) -> Result<Vec<Permission>, StoreError> {
        let reply = self.call(MessageType::GET_PERMS, path, b"")?.await?;
        let permissions = names(&reply.payload)?.map(Permission::parse);
        permissions.collect::<Option<_>>().ok_or(TextError::Characters.into())
    }

    /// Sets a node's permissions. The first names the owner, and what all others may do.
    pub async fn set_permissions(
        &self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), StoreError> {
        let mut texts = String::new();
        for permission in permissions {
            // As above.
            let _ = write!(texts, "{permission}\0");
        }
        let call = self.call(MessageType::SET_PERMS, path, texts.as_bytes())?;
        check_ok(&call.await?.payload)
    }

    /// Sends a request about a node.
    fn call(&self, kind: MessageType, path: &str, rest: &[u8]) -> Result<Call, StoreError> {
        self.send(kind, &[StorePath::new(path)?.as_str().as_bytes(), b"\0", rest])
    }

    pub(super) fn send(&self, kind: MessageType, parts: &[&[u8]]) -> Result<Call, StoreError> {
        let ticket = self.shared.with(|link| {
            link.check()?;
            link.protocol.submit(kind, self.scope, parts)
        })?;
        Ok(Call { shared: self.shared.clone(), ticket, taken: false })
    }
}

/// Splits a list of names.
fn split(payload: &[u8]) -> Result<Vec<String>, StoreError> {
    let mut names = names(payload)?;
    let mut list = Vec::new();
    while let Some(name) = names.next_name() {
        list.push(String::from(name?));
    }
    Ok(list)
}

/// A request that was submitted; its reply.
pub(super) struct Call {
    shared: Arc<Shared>,
    ticket: Ticket,
    taken: bool,
}

impl Future for Call {
    type Output = Result<Reply, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = self.ticket;
        let result = self.shared.with(|link| link.protocol.poll(ticket, context.waker()));
        self.taken = result.is_ready();
        result
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.taken {
            self.shared.with(|link| link.protocol.abandon(self.ticket));
        }
    }
}
