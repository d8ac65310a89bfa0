//! A response of the receive ring: a page that the backend has filled (io/netif.h,
//! netif_rx_response).

use crate::bytes::{i16_at, u16_at};

/// Bytes of the message.
pub const RX_RESPONSE_BYTES: usize = 8;

/// What holds for a slot (io/netif.h, NETRXF_*). Bits 0 and 1 are the other way round than in
/// [`super::TxFlags`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxFlags(pub u16);

impl RxFlags {
    /// The backend vouches for the contents: no need to verify the checksum.
    pub const DATA_VALIDATED: Self = Self(1 << 0);
    /// The TCP or UDP checksum is that of the pseudo header alone: the packet comes from this
    /// machine, and no wire has seen it.
    pub const CHECKSUM_BLANK: Self = Self(1 << 1);
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

/// How many bytes a slot holds, or why it holds none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RxStatus {
    /// Bytes of data.
    Bytes(u16),
    /// The backend could not fill the page (-1), or threw the packet away (-2).
    Failed,
    /// A number that means nothing.
    Unknown(i16),
}

/// A piece of a packet, as the backend claims it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxResponse {
    /// That of the request.
    pub id: u16,
    /// First byte in the page.
    pub offset: u16,
    /// What holds for it; for the packet, if it is the first.
    pub flags: RxFlags,
    /// How many bytes, see [`Self::status`]; negative if none.
    pub status: i16,
}

impl RxResponse {
    /// The response in a slot. Nothing is checked.
    pub fn parse(bytes: &[u8; RX_RESPONSE_BYTES]) -> Self {
        let half = |offset| u16_at(bytes, offset).unwrap_or(0);
        Self {
            id: half(0),
            offset: half(2),
            flags: RxFlags(half(4)),
            status: i16_at(bytes, 6).unwrap_or(0),
        }
    }

    /// The response as bytes.
    pub fn emit(&self) -> [u8; RX_RESPONSE_BYTES] {
        let ([a, b], [c, d]) = (self.id.to_le_bytes(), self.offset.to_le_bytes());
        let ([e, f], [g, h]) = (self.flags.0.to_le_bytes(), self.status.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// What the status says.
    pub const fn status(&self) -> RxStatus {
        match self.status {
            bytes @ 0.. => RxStatus::Bytes(bytes.cast_unsigned()),
            -1 | -2 => RxStatus::Failed,
            other => RxStatus::Unknown(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_header() {
        let flags = RxFlags::DATA_VALIDATED.with(RxFlags::MORE_DATA);
        let response = RxResponse { id: 0x0102, offset: 0x0304, flags, status: 0x0506 };
        let golden = [2, 1, 4, 3, 0b101, 0, 6, 5];
        assert_eq!(response.emit(), golden);
        assert_eq!(RxResponse::parse(&golden), response);
        assert!(response.flags.contains(RxFlags::DATA_VALIDATED));
        assert!(!response.flags.contains(RxFlags::CHECKSUM_BLANK));
    }

    #[test]
    fn a_status_is_a_length_or_a_failure() {
        let status = |status| RxResponse { id: 0, offset: 0, flags: RxFlags(0), status }.status();
        assert_eq!(status(4096), RxStatus::Bytes(4096));
        assert_eq!(status(i16::MAX), RxStatus::Bytes(0x7fff));
        assert_eq!((status(-1), status(-2)), (RxStatus::Failed, RxStatus::Failed));
        assert_eq!(status(i16::MIN), RxStatus::Unknown(i16::MIN));
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes: [u8; RX_RESPONSE_BYTES]) {
            prop_assert_eq!(RxResponse::parse(&bytes).emit(), bytes);
        }
    }
}
