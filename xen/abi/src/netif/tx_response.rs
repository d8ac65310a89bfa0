//! A response of the transmit ring: what became of a slot (io/netif.h, netif_tx_response).

use crate::bytes::{i16_at, u16_at};

/// Bytes of the message.
pub const TX_RESPONSE_BYTES: usize = 4;

/// What became of a slot (io/netif.h, NETIF_RSP_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxStatus {
    /// Sent, or on its way.
    Okay,
    /// The backend could not use it.
    Error,
    /// The backend threw it away.
    Dropped,
    /// The slot held an extra info; the response's id means nothing.
    Null,
}

impl TxStatus {
    /// The status behind a number; nothing if it is none.
    pub const fn from_number(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Okay),
            -1 => Some(Self::Error),
            -2 => Some(Self::Dropped),
            1 => Some(Self::Null),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> i16 {
        match self {
            Self::Okay => 0,
            Self::Error => -1,
            Self::Dropped => -2,
            Self::Null => 1,
        }
    }
}

/// What became of a slot, as the backend claims it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TxResponse {
    /// That of the request.
    pub id: u16,
    /// A status, see [`TxStatus::from_number`]; from a backend, any number.
    pub status: i16,
}

impl TxResponse {
    /// The response in a slot. Nothing is checked.
    pub fn parse(bytes: &[u8; TX_RESPONSE_BYTES]) -> Self {
        Self { id: u16_at(bytes, 0).unwrap_or(0), status: i16_at(bytes, 2).unwrap_or(0) }
    }

    /// The response as bytes.
    pub fn emit(&self) -> [u8; TX_RESPONSE_BYTES] {
        let ([a, b], [c, d]) = (self.id.to_le_bytes(), self.status.to_le_bytes());
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_header() {
        let response = TxResponse { id: 0x0102, status: -2 };
        let golden = [2, 1, 0xfe, 0xff];
        assert_eq!(response.emit(), golden);
        assert_eq!(TxResponse::parse(&golden), response);
        assert_eq!(TxStatus::from_number(-2), Some(TxStatus::Dropped));
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes: [u8; TX_RESPONSE_BYTES]) {
            prop_assert_eq!(TxResponse::parse(&bytes).emit(), bytes);
        }

        #[test]
        fn four_numbers_are_statuses(number: i16) {
            let status = TxStatus::from_number(number);
            prop_assert_eq!(status.is_some(), (-2..=1).contains(&number));
            prop_assert!(status.is_none_or(|status| status.number() == number));
        }
    }
}
