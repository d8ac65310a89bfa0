//! Errors of the store, which travel by name (Xen: io/xs_wire.h, xsd_errors).

use core::fmt;

/// Why the store refused a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ErrorName {
    /// EINVAL: the request or its path makes no sense.
    Invalid,
    /// EACCES: the node's permissions forbid it.
    Access,
    /// EEXIST: it is there already.
    Exists,
    /// EISDIR.
    IsDirectory,
    /// ENOENT: there is no such node, or no such transaction.
    NoEntry,
    /// ENOMEM: the store is out of memory.
    NoMemory,
    /// ENOSPC: a quota of this domain is used up.
    NoSpace,
    /// EIO.
    Io,
    /// ENOTEMPTY.
    NotEmpty,
    /// ENOSYS: the store does not know the request.
    NotImplemented,
    /// EROFS.
    ReadOnly,
    /// EBUSY.
    Busy,
    /// EAGAIN: the transaction met another one, and is to be done again.
    Again,
    /// EISCONN.
    IsConnected,
    /// E2BIG: the value or the reply is too long.
    TooBig,
    /// EPERM.
    NotPermitted,
    /// A name that we do not know.
    Other,
}

/// The names on the wire.
const NAMES: [(&str, ErrorName); 16] = [
    ("EINVAL", ErrorName::Invalid),
    ("EACCES", ErrorName::Access),
    ("EEXIST", ErrorName::Exists),
    ("EISDIR", ErrorName::IsDirectory),
    ("ENOENT", ErrorName::NoEntry),
    ("ENOMEM", ErrorName::NoMemory),
    ("ENOSPC", ErrorName::NoSpace),
    ("EIO", ErrorName::Io),
    ("ENOTEMPTY", ErrorName::NotEmpty),
    ("ENOSYS", ErrorName::NotImplemented),
    ("EROFS", ErrorName::ReadOnly),
    ("EBUSY", ErrorName::Busy),
    ("EAGAIN", ErrorName::Again),
    ("EISCONN", ErrorName::IsConnected),
    ("E2BIG", ErrorName::TooBig),
    ("EPERM", ErrorName::NotPermitted),
];

impl ErrorName {
    /// The error in the payload of an error message; nothing if it is not one NUL-terminated text.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (&nul, name) = payload.split_last()?;
        if nul != 0 || name.is_empty() || name.contains(&0) {
            return None;
        }
        let known = NAMES.iter().find(|(text, _)| text.as_bytes() == name);
        Some(known.map_or(Self::Other, |(_, error)| *error))
    }

    /// The name on the wire, without its NUL.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, error)| *error == self).map_or("an unknown error", |(name, _)| name)
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_the_header_file() {
        assert_eq!(ErrorName::parse(b"ENOENT\0"), Some(ErrorName::NoEntry));
        assert_eq!(ErrorName::parse(b"E2BIG\0"), Some(ErrorName::TooBig));
        assert_eq!(ErrorName::parse(b"EHOSTDOWN\0"), Some(ErrorName::Other));
        for (name, error) in NAMES {
            assert_eq!(error.name(), name);
        }
    }

    #[test]
    fn text_without_its_nul_is_no_error_name() {
        for payload in [&b""[..], b"\0", b"ENOENT", b"ENOENT\0\0", b"ENO\0ENT\0"] {
            assert_eq!(ErrorName::parse(payload), None, "{payload:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_nothing(payload: std::vec::Vec<u8>) {
            let valid = payload.len() > 1 && payload.iter().position(|b| *b == 0)
                == Some(payload.len() - 1);
            prop_assert_eq!(ErrorName::parse(&payload).is_some(), valid);
        }
    }
}
