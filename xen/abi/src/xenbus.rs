//! States of the two ends of a device (Xen: io/xenbus.h).

use crate::xs_wire::decimal;
use core::fmt;

/// What an end of a device writes into its `state` node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum XenbusState {
    /// No end is there.
    Unknown = 0,
    /// The end is starting.
    Initialising = 1,
    /// A backend has told its features and waits for the frontend.
    InitWait = 2,
    /// A frontend has told its rings and waits for the backend.
    Initialised = 3,
    /// In use.
    Connected = 4,
    /// The end is about to go.
    Closing = 5,
    /// The end is gone, or as if it were.
    Closed = 6,
    /// The end is changing what it consists of (PCI).
    Reconfiguring = 7,
    /// It has done so.
    Reconfigured = 8,
}

impl XenbusState {
    /// All states, at their numbers.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Initialising,
        Self::InitWait,
        Self::Initialised,
        Self::Connected,
        Self::Closing,
        Self::Closed,
        Self::Reconfiguring,
        Self::Reconfigured,
    ];

    /// The state in a node's value: its number as decimal text.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Self::ALL.get(usize::try_from(decimal(value)?).ok()?).copied()
    }

    /// What is written into the node.
    pub fn text(self) -> &'static str {
        ["0", "1", "2", "3", "4", "5", "6", "7", "8"][self as usize]
    }
}

impl fmt::Display for XenbusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown",
            Self::Initialising => "Initialising",
            Self::InitWait => "InitWait",
            Self::Initialised => "Initialised",
            Self::Connected => "Connected",
            Self::Closing => "Closing",
            Self::Closed => "Closed",
            Self::Reconfiguring => "Reconfiguring",
            Self::Reconfigured => "Reconfigured",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn states_are_the_numbers_of_the_header_file() {
        for (number, state) in XenbusState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert_eq!(XenbusState::parse(state.text().as_bytes()), Some(state));
        }
        assert_eq!(XenbusState::parse(b"4"), Some(XenbusState::Connected));
    }

    #[test]
    fn other_values_are_no_states() {
        for value in [&b""[..], b"9", b"-1", b"4\n", b" 4", b"Connected", b"4\0", b"256"] {
            assert_eq!(XenbusState::parse(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_a_state_or_nothing(value: Vec<u8>) {
            if let Some(state) = XenbusState::parse(&value) {
                prop_assert_eq!(decimal(&value), Some(state as u64));
            }
        }
    }
}
