//! A request of the transmit ring: a piece of a packet that the backend is to send (io/netif.h,
//! netif_tx_request).

use crate::bytes::{u16_at, u32_at};
use crate::gnttab::GrantRef;

/// Bytes of the message.
pub const TX_REQUEST_BYTES: usize = 12;

mod field {
    pub const GRANT: usize = 0;
    pub const OFFSET: usize = 4;
    pub const FLAGS: usize = 6;
    pub const ID: usize = 8;
    pub const SIZE: usize = 10;
}

/// What holds for a slot (io/netif.h, NETTXF_*). Bits 0 and 1 are the other way round than in
/// [`super::RxFlags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxFlags(pub u16);

impl TxFlags {
    /// The TCP or UDP checksum is that of the pseudo header alone: the backend completes it.
    pub const CHECKSUM_BLANK: Self = Self(1 << 0);
    /// The contents are known to be as they were sent: no need to verify the checksum.
    pub const DATA_VALIDATED: Self = Self(1 << 1);
    /// The packet goes on in the next slot with data.
    pub const MORE_DATA: Self = Self(1 << 2);
    /// The next slot is an extra info slot.
    pub const EXTRA_INFO: Self = Self(1 << 3);

    /// Whether all of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both together.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// A piece of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxRequest {
    /// The page that it lies in.
    pub grant: GrantRef,
    /// Its first byte in the page.
    pub offset: u16,
    /// What holds for it; for the packet, if it is the first.
    pub flags: TxFlags,
    /// Comes back in the response.
    pub id: u16,
    /// Bytes of the whole packet in its first slot, of this piece alone in the others. The first
    /// piece has what the others leave.
    pub size_bytes: u16,
}

impl TxRequest {
    /// The request in a slot. Nothing is checked: any bytes are a request.
    pub fn parse(bytes: &[u8; TX_REQUEST_BYTES]) -> Self {
        let half = |offset| u16_at(bytes, offset).unwrap_or(0);
        Self {
            grant: GrantRef(u32_at(bytes, field::GRANT).unwrap_or(0)),
            offset: half(field::OFFSET),
            flags: TxFlags(half(field::FLAGS)),
            id: half(field::ID),
            size_bytes: half(field::SIZE),
        }
    }

    /// The request as bytes.
    pub fn emit(&self) -> [u8; TX_REQUEST_BYTES] {
        let mut bytes = [0; TX_REQUEST_BYTES];
        bytes[field::GRANT..field::OFFSET].copy_from_slice(&self.grant.0.to_le_bytes());
        bytes[field::OFFSET..field::FLAGS].copy_from_slice(&self.offset.to_le_bytes());
        bytes[field::FLAGS..field::ID].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[field::ID..field::SIZE].copy_from_slice(&self.id.to_le_bytes());
        bytes[field::SIZE..].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_header() {
        let request = TxRequest {
            grant: GrantRef(0x0102_0304),
            offset: 0x0506,
            flags: TxFlags::CHECKSUM_BLANK.with(TxFlags::DATA_VALIDATED).with(TxFlags::EXTRA_INFO),
            id: 0x0708,
            size_bytes: 0x090a,
        };
        let golden = [4, 3, 2, 1, 6, 5, 0b1011, 0, 8, 7, 0x0a, 9];
        assert_eq!(request.emit(), golden);
        assert_eq!(TxRequest::parse(&golden), request);
        assert!(request.flags.contains(TxFlags::CHECKSUM_BLANK));
        assert!(!request.flags.contains(TxFlags::MORE_DATA));
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes: [u8; TX_REQUEST_BYTES]) {
            prop_assert_eq!(TxRequest::parse(&bytes).emit(), bytes);
        }
    }
}
