//! What can go wrong with the store, and who is to blame.

use core::fmt;
use xen_abi::xs_wire::{ErrorName, PathError, RequestId, TextError};

/// Why a request has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The store refused.
    Store(ErrorName),
    /// The store sent a reply that makes no sense.
    BadReply(BadReply),
    /// The ring to the store does not work any more.
    Broken(Broken),
    /// We asked for something that is not a path.
    Path(PathError),
    /// We asked for more than a message holds: 4096 bytes, the path included.
    TooLong,
}

impl StoreError {
    /// There is no such node.
    pub const NO_ENTRY: Self = Self::Store(ErrorName::NoEntry);
    /// The node's permissions forbid it.
    pub const ACCESS: Self = Self::Store(ErrorName::Access);
    /// The transaction is to be done again.
    pub const AGAIN: Self = Self::Store(ErrorName::Again);
}

impl From<PathError> for StoreError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<TextError> for StoreError {
    fn from(error: TextError) -> Self {
        Self::BadReply(BadReply::Text(error))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name) => write!(f, "xenstore: {name}"),
            Self::BadReply(reply) => write!(f, "xenstore: bad reply ({reply:?})"),
            Self::Broken(broken) => write!(f, "xenstore: broken ring ({broken:?})"),
            Self::Path(error) => error.fmt(f),
            Self::TooLong => f.write_str("too long for xenstore"),
        }
    }
}

/// What is wrong with a message of the store's.
///
/// The first six say that the stream as a whole cannot be trusted any more: the connection is
/// broken. Of the others only the one request suffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadReply {
    /// Its header announces this many bytes.
    TooLong(u32),
    /// Nobody asked.
    Unsolicited(RequestId),
    /// It answers another kind of request.
    Type(u32),
    /// It belongs to another transaction.
    Transaction(u32),
    /// An error without a name.
    Error,
    /// A watch event without path or token.
    Event,
    /// Not the "OK" that was due.
    NotOk,
    /// Its text is malformed.
    Text(TextError),
    /// A directory that never ends, or that is longer than we take.
    Directory,
}

/// Why the ring does not work any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Broken {
    /// These indices are further apart than the ring is long.
    Indices {
        /// Index of the side that writes.
        producer: u32,
        /// Index of the side that reads.
        consumer: u32,
    },
    /// The store says so, with its error number (xs_wire.h, XENSTORE_ERROR_*).
    ByStore(u32),
}
