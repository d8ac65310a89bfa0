//! What a backend cannot say without being broken or hostile.

use core::fmt;
use xen::ring::RingError;

/// A response or an index that cannot be. The device is closed for it: what the backend says next
/// would be worth no more. The domain goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lie {
    /// More responses on the transmit ring than requests.
    TxIndex(RingError),
    /// A transmit response to a request that is not there: this is its id.
    TxId(u16),
    /// A transmit response with a status that means nothing.
    TxStatus {
        /// Which request.
        id: u16,
        /// The status.
        status: i16,
    },
    /// One more extra info slot of the transmit ring answered than there was.
    TxNull,
    /// More responses on the receive ring than requests.
    RxIndex(RingError),
    /// A receive response that is not for the request at its place in the ring.
    RxId {
        /// Id of that request.
        expected: u16,
        /// What the response says.
        id: u16,
    },
    /// A receive response with a status that is neither a length nor an error.
    RxStatus {
        /// Which request.
        id: u16,
        /// The status.
        status: i16,
    },
    /// Received data that reach beyond the page.
    RxBeyondPage {
        /// First byte.
        offset: u16,
        /// Bytes.
        bytes: u16,
    },
    /// A received packet of more slots than any may have.
    RxSlots,
    /// A received packet with extra info without end.
    RxExtras,
    /// Extra info announced by a slot that is not the first of its packet.
    RxExtraInside,
    /// A received packet of so many bytes, more than any may have.
    RxLength(u32),
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TxIndex(error) => write!(f, "transmit ring: {error}"),
            Self::TxId(id) => write!(f, "transmit response to request {id}, which is not there"),
            Self::TxStatus { id, status } => {
                write!(f, "transmit response to request {id} with status {status}")
            }
            Self::TxNull => f.write_str("transmit response to an extra info that is not there"),
            Self::RxIndex(error) => write!(f, "receive ring: {error}"),
            Self::RxId { expected, id } => {
                write!(f, "receive response with id {id} in the place of {expected}")
            }
            Self::RxStatus { id, status } => {
                write!(f, "receive response to request {id} with status {status}")
            }
            Self::RxBeyondPage { offset, bytes } => {
                write!(f, "{bytes} received bytes at {offset} reach beyond the page")
            }
            Self::RxSlots => f.write_str("received packet of too many slots"),
            Self::RxExtras => f.write_str("received packet with extra info without end"),
            Self::RxExtraInside => f.write_str("extra info in the middle of a received packet"),
            Self::RxLength(bytes) => write!(f, "received packet of {bytes} bytes"),
        }
    }
}

impl core::error::Error for Lie {}
