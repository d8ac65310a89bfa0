//! Any request, as a backend finds it in a slot.

use super::{Direct, Discard, Indirect, Operation, RequestId, Slot};
use core::fmt;

/// What is wrong with a request. The frontend is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// There is no such operation here.
    Operation(Operation),
    /// It has as many segments, which is too many, or none where there must be some.
    Segments(u16),
    /// A segment's sectors do not lie in its page.
    Segment,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(operation) => write!(f, "a request cannot be a {operation}"),
            Self::Segments(count) => write!(f, "a request with {count} segments"),
            Self::Segment => f.write_str("a segment beyond the end of its page"),
        }
    }
}

/// A request of any kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// With its segments in the slot.
    Direct(Direct),
    /// With its segments in pages of their own.
    Indirect(Indirect),
    /// Without data.
    Discard(Discard),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// When it makes no sense; [`Self::id_of`] is what the answer goes to.
    pub fn parse(slot: &Slot) -> Result<Self, RequestError> {
        match Operation(slot[0]) {
            Operation::INDIRECT => Indirect::parse(slot).map(Self::Indirect),
            Operation::DISCARD => Discard::parse(slot).map(Self::Discard),
            _ => Direct::parse(slot).map(Self::Direct),
        }
    }

    /// The id in a slot: at the same place in all requests.
    pub fn id_of(slot: &Slot) -> RequestId {
        RequestId(super::u64_at(slot, 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_do_harm(
            operation in 0u8..8,
            slot in proptest::collection::vec(any::<u8>(), 112),
        ) {
            let mut slot: Slot = slot.try_into().unwrap();
            slot[0] = operation;
            let id = Request::id_of(&slot);
            match Request::parse(&slot) {
                Ok(Request::Direct(request)) => prop_assert_eq!(request.id, id),
                Ok(Request::Indirect(request)) => prop_assert_eq!(request.id, id),
                Ok(Request::Discard(request)) => prop_assert_eq!(request.id, id),
                Err(_) => prop_assert!(operation != 5),
            }
        }
    }
}
