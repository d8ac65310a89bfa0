//! Bytes on the wire: what of each header the stack reads and writes itself. Nothing here
//! allocates, and whatever a peer sends either parses or does not: [`None`].
//!
//! TCP segments, DHCP and DNS messages are smoltcp's to parse; this is what comes before them.

pub mod arp;
pub mod checksum;
pub mod dhcp;
pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod ndp;
pub mod tcp;
pub mod udp;

/// Numbers of protocols in IP headers (IANA, "Protocol Numbers").
pub mod protocol {
    /// Internet Control Message Protocol.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// The same for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Two bytes as a number.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*field))
}

/// Four bytes as a number.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*field))
}

/// Writes bytes at a place; nothing if they do not fit.
pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at.saturating_add(value.len())) {
        field.copy_from_slice(value);
    }
}
