//! A request of the receive ring: a page that the backend may fill (io/netif.h, netif_rx_request).

use crate::bytes::{u16_at, u32_at};
use crate::gnttab::GrantRef;

/// Bytes of the message.
pub const RX_REQUEST_BYTES: usize = 8;

/// A page for received data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxRequest {
    /// Comes back in the response, at the same place in the ring.
    pub id: u16,
    /// The page.
    pub grant: GrantRef,
}

impl RxRequest {
    /// The request in a slot. Nothing is checked; the two bytes of padding are ignored.
    pub fn parse(bytes: &[u8; RX_REQUEST_BYTES]) -> Self {
        let grant = GrantRef(u32_at(bytes, 4).unwrap_or(0));
        Self { id: u16_at(bytes, 0).unwrap_or(0), grant }
    }

    /// The request as bytes.
    pub fn emit(&self) -> [u8; RX_REQUEST_BYTES] {
        let ([a, b], [c, d, e, f]) = (self.id.to_le_bytes(), self.grant.0.to_le_bytes());
        [a, b, 0, 0, c, d, e, f]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_header() {
        let request = RxRequest { id: 0x0102, grant: GrantRef(0x0304_0506) };
        let golden = [2, 1, 0, 0, 6, 5, 4, 3];
        assert_eq!(request.emit(), golden);
        assert_eq!(RxRequest::parse(&golden), request);
    }

    proptest! {
        #[test]
        fn any_request_survives(id: u16, grant: u32, padding: [u8; 2]) {
            let request = RxRequest { id, grant: GrantRef(grant) };
            let mut bytes = request.emit();
            prop_assert_eq!(&bytes[2..4], [0, 0]);
            bytes[2..4].copy_from_slice(&padding);
            prop_assert_eq!(RxRequest::parse(&bytes), request);
        }
    }
}
