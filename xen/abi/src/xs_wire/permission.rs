//! Permissions of a node: a letter and a domain each (Xen: docs/misc/xenstore.txt, "permissions").
//!
//! The first of a node's permissions names its owner, who may do all, and what every domain may do
//! that none of the others names.

use super::text::decimal;
use crate::DomId;
use core::fmt;

/// What a domain may do with a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Access {
    /// Nothing.
    None,
    /// Read it and its children's names.
    Read,
    /// Write it and create children.
    Write,
    /// Both.
    Both,
}

impl Access {
    /// The letter on the wire.
    pub fn letter(self) -> char {
        match self {
            Self::None => 'n',
            Self::Read => 'r',
            Self::Write => 'w',
            Self::Both => 'b',
        }
    }

    /// Whether it includes reading.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Whether it includes writing.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }
}

/// One permission. Its text, such as `r0`, is what `Display` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Permission {
    /// The domain that it is for.
    pub domain: DomId,
    /// What that domain may do.
    pub access: Access,
}

impl Permission {
    /// The permission in a text such as `n5`, without its NUL.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (letter, number) = text.split_first()?;
        let access = match letter {
            b'n' => Access::None,
            b'r' => Access::Read,
            b'w' => Access::Write,
            b'b' => Access::Both,
            _ => return None,
        };
        let domain = DomId(u16::try_from(decimal(number)?).ok()?);
        Some(Self { domain, access })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domain.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn texts_of_the_toolstack_are_permissions() {
        let owner = Permission { domain: DomId(5), access: Access::None };
        assert_eq!(Permission::parse(b"n5"), Some(owner));
        assert_eq!(owner.to_string(), "n5");
        let all = Permission { domain: DomId(65535), access: Access::Both };
        assert_eq!(Permission::parse(b"b65535"), Some(all));
        assert!(all.access.reads() && all.access.writes());
    }

    #[test]
    fn other_texts_are_not() {
        for text in [&b""[..], b"n", b"5", b"x5", b"n-1", b"n65536", b"n5 ", b"r\0"] {
            assert_eq!(Permission::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_permission_survives(domain: u16, letter in 0usize..4) {
            let access = [Access::None, Access::Read, Access::Write, Access::Both][letter];
            let permission = Permission { domain: DomId(domain), access };
            prop_assert_eq!(Permission::parse(permission.to_string().as_bytes()), Some(permission));
        }

        #[test]
        fn any_bytes_are_a_permission_or_nothing(text: std::vec::Vec<u8>) {
            if let Some(permission) = Permission::parse(&text) {
                prop_assert!(text.starts_with(&[permission.access.letter() as u8]));
            }
        }
    }
}
