//! The answer to a request (blkif.h, blkif_response).
//!
//! ```text
//!   0    8           9     10       12    16
//!   ├ id ┼ operation ┼ pad ┼ status ┼ pad ┤
//! ```

use super::{Operation, RequestId};
use core::fmt;

/// How a request ended (blkif.h, BLKIF_RSP_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Status(pub i16);

impl Status {
    /// Done.
    pub const OKAY: Self = Self(0);
    /// Failed.
    pub const ERROR: Self = Self(-1);
    /// The backend does not do this operation, whatever its features said.
    pub const EOPNOTSUPP: Self = Self(-2);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::OKAY => "okay",
            Self::ERROR => "error",
            Self::EOPNOTSUPP => "not supported",
            Self(number) => return write!(f, "status {number}"),
        })
    }
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The request that it answers.
    pub id: RequestId,
    /// What that request was, as the backend remembers it.
    pub operation: Operation,
    /// How it ended.
    pub status: Status,
}

impl Response {
    /// Bytes of a response.
    pub const BYTES: usize = 16;

    /// Reads a response. Whether it makes sense is known by whoever asked.
    pub const fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, operation, _, low, high, ..] = *bytes;
        Self {
            id: RequestId(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            operation: Operation(operation),
            status: Status(i16::from_le_bytes([low, high])),
        }
    }

    /// The bytes of the response.
    pub fn emit(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[8] = self.operation.0;
        bytes[10..12].copy_from_slice(&self.status.0.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_the_header_file() {
        let response = Response {
            id: RequestId(0x0102_0304_0506_0708),
            operation: Operation::FLUSH_DISKCACHE,
            status: Status::EOPNOTSUPP,
        };
        let bytes = [8, 7, 6, 5, 4, 3, 2, 1, 3, 0, 0xfe, 0xff, 0, 0, 0, 0];
        assert_eq!(response.emit(), bytes);
        let mut padded = bytes;
        (padded[9], padded[12]) = (1, 1);
        assert_eq!(Response::parse(&padded), response, "padding has no meaning");
    }

    proptest! {
        #[test]
        fn any_response_survives(id: u64, operation: u8, status: i16) {
            let (id, operation) = (RequestId(id), Operation(operation));
            let response = Response { id, operation, status: Status(status) };
            prop_assert_eq!(Response::parse(&response.emit()), response);
        }
    }
}
