//! Network devices: the messages of the transmit and the receive ring, and the keys in xenstore
//! (Xen: io/netif.h). Names are from the frontend's view: what is transmitted leaves the guest.
//!
//! ```text
//!                 request                        response
//!   transmit      gref offset flags id size      id status              12 bytes a slot
//!   receive       id gref                        id offset flags status  8 bytes a slot
//!
//!   a packet:     first slot, extra info slots, further slots
//! ```
//!
//! A packet that is longer than a page takes several slots, one after the other. A slot that
//! carries an [`ExtraInfo`] holds no data: it tells something about the packet, such as how to cut
//! it into segments.

mod extra;
pub mod keys;
mod mac;
mod rx_request;
mod rx_response;
mod tx_request;
mod tx_response;

pub use extra::{EXTRA_BYTES, Extra, ExtraInfo, Gso, GsoType, HashAlgorithm, HashType, PacketHash};
pub use mac::Mac;
pub use rx_request::{RX_REQUEST_BYTES, RxRequest};
pub use rx_response::{RX_RESPONSE_BYTES, RxFlags, RxResponse, RxStatus};
pub use tx_request::{TX_REQUEST_BYTES, TxFlags, TxRequest};
pub use tx_response::{TX_RESPONSE_BYTES, TxResponse, TxStatus};

/// Bytes of a slot of the transmit ring.
pub const TX_SLOT_BYTES: usize = TX_REQUEST_BYTES;
/// Bytes of a slot of the receive ring.
pub const RX_SLOT_BYTES: usize = RX_RESPONSE_BYTES;

/// Slots with data that a backend takes for one packet, the first one included (io/netif.h,
/// XEN_NETIF_NR_SLOTS_MIN). Extra info slots do not count.
pub const PACKET_SLOTS_MAX: usize = 18;
/// Bytes of the longest packet that can be transmitted (io/netif.h, XEN_NETIF_MAX_TX_SIZE).
pub const TX_PACKET_BYTES_MAX: usize = 0xffff;
/// Bytes of an Ethernet header, and so of the shortest packet.
pub const ETHERNET_HEADER_BYTES: usize = 14;
