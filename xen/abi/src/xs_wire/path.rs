//! Paths of nodes, checked before they are sent (Xen: docs/misc/xenstore.txt, "STRUCTURE").

use core::fmt;

/// Most characters of an absolute path (xs_wire.h, XENSTORE_ABS_PATH_MAX).
pub const ABSOLUTE_MAX: usize = 3072;
/// Most characters of a relative one (xs_wire.h, XENSTORE_REL_PATH_MAX).
pub const RELATIVE_MAX: usize = 2048;

/// Why a text is not a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// There is nothing in it.
    Empty,
    /// It is longer than the store takes.
    TooLong,
    /// It has a character that none may have, at this byte.
    Character(usize),
    /// It has an empty part: two slashes side by side, or one at the end.
    EmptyPart,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::TooLong => f.write_str("the path is too long"),
            Self::Character(at) => write!(f, "the path has a wrong character at byte {at}"),
            Self::EmptyPart => f.write_str("the path has an empty part"),
        }
    }
}

/// The path of a node: absolute, or relative to the directory of the domain that uses it
/// (`/local/domain/N`), or a special one of watches that begins with `@`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorePath<'a>(&'a str);

impl<'a> StorePath<'a> {
    /// Checks `text`.
    pub fn new(text: &'a str) -> Result<Self, PathError> {
        let absolute = text.starts_with('/');
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > if absolute { ABSOLUTE_MAX } else { RELATIVE_MAX } {
            return Err(PathError::TooLong);
        }
        if let Some(at) = text.bytes().position(|byte| !is_part_byte(byte) && byte != b'/') {
            return Err(PathError::Character(at));
        }
        if text != "/" && (text.contains("//") || text.ends_with('/')) {
            return Err(PathError::EmptyPart);
        }
        Ok(Self(text))
    }

    /// The path as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it begins at the root.
    pub fn is_absolute(self) -> bool {
        self.0.starts_with('/')
    }

    /// Whether `self` is `ancestor` or lies below it. A relative and an absolute path never do.
    pub fn is_within(self, ancestor: StorePath<'_>) -> bool {
        match self.0.strip_prefix(ancestor.0) {
            Some(rest) => rest.is_empty() || ancestor.0 == "/" || rest.starts_with('/'),
            None => false,
        }
    }
}

/// Whether a text can be the name of one node in a directory.
pub fn is_node_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= ABSOLUTE_MAX && name.bytes().all(is_part_byte)
}

fn is_part_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    #[test]
    fn paths_of_the_toolstack_are_paths() {
        for text in [
            "/",
            "/local/domain/3/device/vif/0",
            "device/vif/0/state",
            "@releaseDomain",
            "domid",
            "/vm/00112233-4455-6677-8899-aabbccddeeff/uuid",
        ] {
            assert!(StorePath::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_the_store_would_refuse_is_refused_here() {
        assert_eq!(StorePath::new(""), Err(PathError::Empty));
        assert_eq!(StorePath::new("a b"), Err(PathError::Character(1)));
        assert_eq!(StorePath::new("a\0"), Err(PathError::Character(1)));
        assert_eq!(StorePath::new("/a/ä"), Err(PathError::Character(3)));
        assert_eq!(StorePath::new("a.b"), Err(PathError::Character(1)));
        for text in ["//", "a//b", "a/", "/a/"] {
            assert_eq!(StorePath::new(text), Err(PathError::EmptyPart), "{text}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_header_file() {
        let text = "a".repeat(3072);
        assert_eq!(StorePath::new(&text), Err(PathError::TooLong));
        assert!(StorePath::new(&text[..2048]).is_ok());
        assert_eq!(StorePath::new(&text[..2049]), Err(PathError::TooLong));
        let absolute = std::format!("/{text}");
        assert!(StorePath::new(&absolute[..3072]).is_ok());
        assert_eq!(StorePath::new(&absolute), Err(PathError::TooLong));
    }

    #[test]
    fn below_means_whole_parts() {
        let path = |text| StorePath::new(text).unwrap();
        assert!(path("a/b").is_within(path("a")));
        assert!(path("a").is_within(path("a")));
        assert!(path("/a").is_within(path("/")));
        assert!(!path("ab").is_within(path("a")));
        assert!(!path("a").is_within(path("a/b")));
        assert!(!path("a").is_within(path("/")));
    }

    proptest! {
        #[test]
        fn a_path_that_is_accepted_has_clean_parts(text in "[a-c/@ ]{0,12}") {
            let parts = text.strip_prefix('/').unwrap_or(&text);
            let clean = text == "/" || parts.split('/').all(is_node_name);
            prop_assert_eq!(StorePath::new(&text).is_ok(), clean);
        }

        #[test]
        fn any_text_is_a_path_or_an_error(text: String) {
            let _ = StorePath::new(&text);
        }
    }
}
