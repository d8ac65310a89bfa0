//! The xenstore protocol as bytes and values (Xen: io/xs_wire.h, docs/misc/xenstore.txt).
//!
//! ```text
//!   0        4          8       12      16
//!   ├─ type ─┼─ req_id ─┼─ tx_id ┼─ len ─┼─ len bytes ─┤     one message, either way
//! ```
//!
//! [`Parser`] cuts messages out of a stream that arrives in any pieces. The modules below make
//! values of what is inside: paths, error names, permissions, lists and numbers in text.

mod error;
mod parser;
mod path;
mod permission;
mod text;

pub use error::ErrorName;
pub use parser::{Message, Parser, TooLong};
pub use path::{PathError, StorePath, is_node_name};
pub use permission::{Access, Permission};
pub use text::{
    DirectoryPart, Names, TextError, decimal, directory_part, names, text, watch_event,
};

use crate::bytes::u32_at;
use core::fmt;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 16;
/// Most bytes that may follow a header (xs_wire.h, XENSTORE_PAYLOAD_MAX). The daemon drops the
/// connection of a client that sends more.
pub const PAYLOAD_MAX_BYTES: usize = 4096;

/// Layout of the ring page (xs_wire.h, xenstore_domain_interface).
pub mod ring {
    /// Bytes of each of the two rings.
    pub const RING_BYTES: usize = 1024;
    /// Offset of the ring to the store.
    pub const REQ: usize = 0;
    /// Offset of the ring to the guest.
    pub const RSP: usize = 1024;
    /// Index up to which the store has read.
    pub const REQ_CONS: usize = 2048;
    /// Index up to which the guest has written.
    pub const REQ_PROD: usize = 2052;
    /// Index up to which the guest has read.
    pub const RSP_CONS: usize = 2056;
    /// Index up to which the store has written.
    pub const RSP_PROD: usize = 2060;
    /// What the store can do: `FEATURE_` bits.
    pub const SERVER_FEATURES: usize = 2064;
    /// [`CONNECTED`] or [`RECONNECT`].
    pub const CONNECTION: usize = 2068;
    /// Why the store stopped serving this ring; 0 if it has not.
    pub const ERROR: usize = 2072;

    /// The guest may ask for a fresh start of the ring.
    pub const FEATURE_RECONNECTION: u32 = 1;
    /// The store tells errors in the error word.
    pub const FEATURE_ERROR: u32 = 2;

    /// The ring is in use.
    pub const CONNECTED: u32 = 0;
    /// The guest waits for the store to start the ring afresh.
    pub const RECONNECT: u32 = 1;
}

/// What a message is about (xs_wire.h, xsd_sockmsg_type).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct MessageType(pub u32);

/// Types with names; others are printed as numbers.
const TYPE_NAMES: [(MessageType, &str); 15] = [
    (MessageType::DIRECTORY, "directory"),
    (MessageType::READ, "read"),
    (MessageType::GET_PERMS, "get-permissions"),
    (MessageType::WATCH, "watch"),
    (MessageType::UNWATCH, "unwatch"),
    (MessageType::TRANSACTION_START, "transaction-start"),
    (MessageType::TRANSACTION_END, "transaction-end"),
    (MessageType::WRITE, "write"),
    (MessageType::MKDIR, "mkdir"),
    (MessageType::RM, "rm"),
    (MessageType::SET_PERMS, "set-permissions"),
    (MessageType::WATCH_EVENT, "watch-event"),
    (MessageType::ERROR, "error"),
    (MessageType::RESET_WATCHES, "reset-watches"),
    (MessageType::DIRECTORY_PART, "directory-part"),
];

impl MessageType {
    /// Names of a node's children.
    pub const DIRECTORY: Self = Self(1);
    /// A node's value.
    pub const READ: Self = Self(2);
    /// A node's permissions.
    pub const GET_PERMS: Self = Self(3);
    /// Asks for events about a node and all below it.
    pub const WATCH: Self = Self(4);
    /// Ends that.
    pub const UNWATCH: Self = Self(5);
    /// Opens a transaction.
    pub const TRANSACTION_START: Self = Self(6);
    /// Commits or aborts one.
    pub const TRANSACTION_END: Self = Self(7);
    /// Sets a value, creating the node and its parents.
    pub const WRITE: Self = Self(11);
    /// Creates a node with an empty value, and its parents.
    pub const MKDIR: Self = Self(12);
    /// Removes a node and all below it.
    pub const RM: Self = Self(13);
    /// Sets permissions.
    pub const SET_PERMS: Self = Self(14);
    /// A watched node may have changed. Sent by the store alone.
    pub const WATCH_EVENT: Self = Self(15);
    /// A request failed. Sent by the store alone.
    pub const ERROR: Self = Self(16);
    /// Drops the connection's watches and transactions.
    pub const RESET_WATCHES: Self = Self(21);
    /// A part of a directory too long for one reply.
    pub const DIRECTORY_PART: Self = Self(22);
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPE_NAMES.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

/// What a reply is matched to its request by; chosen by the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct RequestId(pub u32);

/// A transaction; chosen by the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TransactionId(pub u32);

impl TransactionId {
    /// Outside of any transaction.
    pub const NONE: Self = Self(0);
}

/// The head of a message (xs_wire.h, xsd_sockmsg).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is about.
    pub kind: MessageType,
    /// The request that it is or answers.
    pub request: RequestId,
    /// The transaction that it belongs to.
    pub transaction: TransactionId,
    /// Bytes that follow. As parsed, any value: [`Parser`] checks it.
    pub len_bytes: u32,
}

impl Header {
    /// The header in 16 bytes.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let word = |offset| u32_at(bytes, offset).unwrap_or(0);
        Self {
            kind: MessageType(word(0)),
            request: RequestId(word(4)),
            transaction: TransactionId(word(8)),
            len_bytes: word(12),
        }
    }

    /// The header as 16 bytes.
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.kind.0.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.request.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.transaction.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.len_bytes.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn a_read_of_domid_as_libxenstore_sends_it() {
        let header = Header {
            kind: MessageType::READ,
            request: RequestId(0x0102_0304),
            transaction: TransactionId(5),
            len_bytes: 6,
        };
        let golden = [2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 6, 0, 0, 0];
        assert_eq!(header.emit(), golden);
        assert_eq!(Header::parse(&golden), header);
    }

    #[test]
    fn types_have_the_numbers_of_the_header_file() {
        let numbers = TYPE_NAMES.map(|(kind, _)| kind.0);
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 21, 22]);
        assert_eq!(MessageType::RM.to_string(), "rm");
        assert_eq!(MessageType(99).to_string(), "type 99");
    }

    proptest! {
        #[test]
        fn any_header_survives(kind: u32, request: u32, transaction: u32, len_bytes: u32) {
            let header = Header {
                kind: MessageType(kind),
                request: RequestId(request),
                transaction: TransactionId(transaction),
                len_bytes,
            };
            prop_assert_eq!(Header::parse(&header.emit()), header);
        }
    }
}
