//! A request on its way: who waits for it, and what becomes of it when the connection is lost.
//!
//! ```text
//!   submit ──▶ waiting ──▶ in flight (16 at most) ──▶ done ──▶ taken by its caller
//!                 │            │
//!    abandoned:   gone         its reply is thrown away; its id is in use until then
//! ```

use super::error::StoreError;
use super::watches::Token;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::Waker;
use xen_abi::xs_wire::{
    HEADER_BYTES, Header, MessageType, PAYLOAD_MAX_BYTES, RequestId, TransactionId,
};

/// Names a request from its submission on. Later requests have higher tickets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Counts connections: what was opened in one (transactions) does not exist in the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Epoch(pub u32);

/// The transaction that a request belongs to, and the connection that the transaction belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The store's number for it.
    pub transaction: TransactionId,
    /// Where that number is known.
    pub epoch: Epoch,
}

impl Scope {
    /// Outside of any transaction.
    pub const NONE: Self = Self { transaction: TransactionId::NONE, epoch: Epoch(0) };
}

/// Whom the reply is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// Someone who holds the ticket.
    Caller,
    /// Nobody, or nobody any more.
    Nobody,
    /// The registration of a watch.
    Watch(Token),
    /// The clean-up behind an earlier user of the ring; nothing else is sent before it is answered.
    Reset,
}

/// What becomes of a request that was not answered before its connection was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is sent (again). What reads has no effect, and what writes has the same effect twice.
    Resend,
    /// It fails with "again": it belongs to something that the new connection knows nothing of.
    Again,
    /// Nobody waits for it.
    Drop,
}

pub(super) struct Request {
    pub ticket: Ticket,
    pub kind: MessageType,
    pub transaction: TransactionId,
    pub owner: Owner,
    pub waker: Option<Waker>,
    /// The message, header and payload.
    pub message: Vec<u8>,
}

impl Request {
    /// The request, its id still open.
    pub fn new(
        ticket: Ticket,
        kind: MessageType,
        transaction: TransactionId,
        owner: Owner,
        parts: &[&[u8]],
    ) -> Result<Self, StoreError> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > PAYLOAD_MAX_BYTES {
            return Err(StoreError::TooLong);
        }
        let mut message = Vec::with_capacity(HEADER_BYTES + len);
        message.resize(HEADER_BYTES, 0);
        parts.iter().for_each(|part| message.extend_from_slice(part));
        Ok(Self { ticket, kind, transaction, owner, waker: None, message })
    }

    /// Puts the header in front of the payload.
    pub fn address(&mut self, id: RequestId) {
        let header = Header {
            kind: self.kind,
            request: id,
            transaction: self.transaction,
            len_bytes: (self.message.len() - HEADER_BYTES) as u32,
        };
        self.message[..HEADER_BYTES].copy_from_slice(&header.emit());
    }

    pub fn fate(&self) -> Fate {
        if self.owner != Owner::Caller {
            Fate::Drop
        } else if self.transaction != TransactionId::NONE
            || self.kind == MessageType::DIRECTORY_PART
        {
            // The parts of a directory that came before are of another time.
            Fate::Again
        } else {
            Fate::Resend
        }
    }

    /// Whether it has to reach the store even if nobody waits for it any more.
    pub fn is_owed(&self) -> bool {
        matches!(self.kind, MessageType::TRANSACTION_END | MessageType::UNWATCH)
    }

    /// The request for a log: its kind, and the first text of its payload.
    pub fn describe(&self) -> OutstandingRequest {
        let text = self.message[HEADER_BYTES..].split(|byte| *byte == 0).next();
        OutstandingRequest {
            ticket: self.ticket,
            kind: self.kind,
            about: String::from_utf8_lossy(text.unwrap_or_default()).into_owned(),
        }
    }
}

/// A request that has no answer yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutstandingRequest {
    /// Its name: the same when asked again later means that it has been stuck since.
    pub ticket: Ticket,
    /// What was asked.
    pub kind: MessageType,
    /// Of which node; for the end of a transaction, whether to commit (`T`) or to abort (`F`).
    pub about: String,
}

impl core::fmt::Display for OutstandingRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "xenstore {} {}", self.kind, self.about)
    }
}
