//! Work on packets that a stack leaves to the device: checksums and segments, in software.
//!
//! A backend can be asked to complete the checksum of a packet and to cut a large TCP packet into
//! segments, but not every backend can do both, and one that comes after a restart may do less than
//! the one before. The stack need not know: what the backend does not do is done here.
//!
//! Only TCP and UDP directly over Ethernet and IP are looked at. Whatever else a frame is, it is
//! left alone.

mod checksum;
mod flow;
mod headers;
mod segment;
#[cfg(test)]
pub(crate) mod tests;

pub use checksum::{complete_blank, fill};
pub use flow::flow_hash;
pub use headers::{Headers, IpVersion, Transport};
pub use segment::Segments;
