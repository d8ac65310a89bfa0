//! Why something on the network did not work.

use core::fmt;

/// Why something on the network did not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer does not listen on that port.
    Refused,
    /// The peer has ended the connection without ceremony.
    Reset,
    /// The peer was silent for too long.
    TimedOut,
    /// Our side has ended the connection, or the direction that is asked for.
    Closed,
    /// The host does not answer, or a router says that there is no way to it.
    Unreachable,
    /// No interface leads there.
    NoRoute,
    /// The interface has no address of that version, or the address is not ours.
    NoAddress,
    /// Somebody else has that port.
    InUse,
    /// A bound of [`super::Limits`] is reached.
    Limit,
    /// A port or an address that cannot be meant.
    Invalid,
    /// A datagram is longer than what can be sent, or than the buffer that is to take it.
    TooLong,
    /// The interface is gone.
    InterfaceGone,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the peer refuses the connection",
            Self::Reset => "the peer has reset the connection",
            Self::TimedOut => "the peer does not answer any more",
            Self::Closed => "the connection was closed on this side",
            Self::Unreachable => "the host cannot be reached",
            Self::NoRoute => "no interface leads there",
            Self::NoAddress => "no such address on this side",
            Self::InUse => "the port is in use",
            Self::Limit => "too many at once",
            Self::Invalid => "not an address to talk to",
            Self::TooLong => "too long a datagram",
            Self::InterfaceGone => "the interface is gone",
        })
    }
}

impl core::error::Error for Error {}
