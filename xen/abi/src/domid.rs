//! Domain identifiers (Xen: xen.h, domid_t).

use core::fmt;

/// A domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct DomId(pub u16);

impl DomId {
    /// The calling domain, in hypercalls.
    pub const SELF: Self = Self(0x7ff0);
    /// The control domain.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SELF => f.write_str("this domain"),
            Self(number) => write!(f, "domain {number}"),
        }
    }
}
