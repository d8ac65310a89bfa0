//! Messages cut out of a stream of bytes that arrives in any pieces.
//!
//! The parser holds one message and allocates nothing, so no stream makes it grow.

use super::{HEADER_BYTES, Header, PAYLOAD_MAX_BYTES};

/// A message, its payload within the parser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Its head; `len_bytes` is the length of the payload.
    pub header: Header,
    /// What follows the head.
    pub payload: &'a [u8],
}

/// A header announced more bytes than a message may have. Nothing after it makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong(pub u32);

/// Collects the bytes of one message after another.
pub struct Parser {
    header: [u8; HEADER_BYTES],
    payload: [u8; PAYLOAD_MAX_BYTES],
    /// Bytes of the message that have arrived, its header included.
    filled: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser at the beginning of a message.
    pub const fn new() -> Self {
        Self { header: [0; HEADER_BYTES], payload: [0; PAYLOAD_MAX_BYTES], filled: 0 }
    }

    /// Forgets a message that has arrived in part.
    pub fn reset(&mut self) {
        self.filled = 0;
    }

    /// Whether a message has arrived in part.
    pub fn is_amid_message(&self) -> bool {
        self.filled > 0
    }

    /// Takes bytes from the front of `bytes` until a message is complete, or none are left. To be
    /// called again until it gives nothing.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; again at every further call until [`Self::reset`].
    pub fn feed<'a>(&'a mut self, bytes: &mut &[u8]) -> Result<Option<Message<'a>>, TooLong> {
        if self.filled < HEADER_BYTES {
            self.filled += fill(&mut self.header[self.filled..], bytes);
            if self.filled < HEADER_BYTES {
                return Ok(None);
            }
        }
        let header = Header::parse(&self.header);
        let len = header.len_bytes as usize;
        let Some(payload) = self.payload.get_mut(..len) else {
            return Err(TooLong(header.len_bytes));
        };
        self.filled += fill(&mut payload[self.filled - HEADER_BYTES..], bytes);
        if self.filled < HEADER_BYTES + len {
            return Ok(None);
        }
        self.filled = 0;
        Ok(Some(Message { header, payload }))
    }
}

/// Moves bytes from the front of `from` into `to`, as many as both allow; how many.
fn fill(to: &mut [u8], from: &mut &[u8]) -> usize {
    let count = to.len().min(from.len());
    let (taken, rest) = from.split_at(count);
    to[..count].copy_from_slice(taken);
    *from = rest;
    count
}

#[cfg(test)]
mod tests {
    use super::super::{MessageType, RequestId, TransactionId};
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    type Owned = (Header, Vec<u8>);

    fn all(parser: &mut Parser, mut bytes: &[u8], out: &mut Vec<Owned>) -> Result<(), TooLong> {
        while let Some(message) = parser.feed(&mut bytes)? {
            out.push((message.header, message.payload.to_vec()));
        }
        assert!(bytes.is_empty(), "bytes left over without a message");
        Ok(())
    }

    fn header(len_bytes: u32) -> Header {
        Header {
            kind: MessageType::READ,
            request: RequestId(7),
            transaction: TransactionId(9),
            len_bytes,
        }
    }

    #[test]
    fn two_messages_in_one_piece() {
        let mut bytes = header(0).emit().to_vec();
        bytes.extend(header(2).emit());
        bytes.extend(b"ab");
        let (mut parser, mut out) = (Parser::new(), Vec::new());
        all(&mut parser, &bytes, &mut out).unwrap();
        assert_eq!(out, [(header(0), Vec::new()), (header(2), b"ab".to_vec())]);
        assert!(!parser.is_amid_message());
    }

    #[test]
    fn a_length_beyond_the_limit_stops_the_stream() {
        let mut parser = Parser::new();
        let bytes = header(4097).emit();
        assert_eq!(parser.feed(&mut &bytes[..]), Err(TooLong(4097)));
        assert_eq!(parser.feed(&mut &[0; 40][..]), Err(TooLong(4097)), "and keeps it stopped");
        parser.reset();
        let mut longest = header(4096).emit().to_vec();
        longest.resize(16 + 4096, 3);
        let message = parser.feed(&mut &longest[..]).unwrap().unwrap();
        assert_eq!(message.payload, [3; 4096]);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_messages(
            payloads in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..200), 0..8),
            cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for payload in payloads {
                stream.extend(header(payload.len() as u32).emit());
                stream.extend(&payload);
                expected.push((header(payload.len() as u32), payload));
            }
            let (mut parser, mut out) = (Parser::new(), Vec::new());
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                all(&mut parser, piece, &mut out).unwrap();
                rest = after;
            }
            prop_assert_eq!(out, expected);
        }

        #[test]
        fn no_bytes_do_harm(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let mut parser = Parser::new();
            for piece in pieces {
                let mut bytes = &piece[..];
                while let Ok(Some(message)) = parser.feed(&mut bytes) {
                    prop_assert_eq!(message.payload.len(), message.header.len_bytes as usize);
                }
            }
        }
    }
}
