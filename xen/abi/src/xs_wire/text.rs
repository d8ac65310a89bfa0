//! What replies and events carry: texts with a NUL behind each, and decimal numbers.

use super::path::is_node_name;

/// What is wrong with the text in a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextError {
    /// A text has no NUL behind it.
    NoNul,
    /// There is no text where one is to be.
    Missing,
    /// It is not a number, or too large.
    Number,
    /// It has characters that it cannot have.
    Characters,
}

/// The number in a decimal text: digits alone, at most what a `u64` holds.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The one text of a payload, without its NUL.
pub fn text(payload: &[u8]) -> Result<&[u8], TextError> {
    match payload.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text),
        _ => Err(TextError::NoNul),
    }
}

/// Cuts the first text off the front of `payload`.
fn first<'a>(payload: &mut &'a [u8]) -> Result<&'a [u8], TextError> {
    if payload.is_empty() {
        return Err(TextError::Missing);
    }
    let nul = payload.iter().position(|byte| *byte == 0).ok_or(TextError::NoNul)?;
    let (text, rest) = payload.split_at(nul);
    *payload = &rest[1..];
    Ok(text)
}

/// The texts of a list, one after another; an empty payload is an empty list.
#[derive(Clone, Debug)]
pub struct Names<'a>(&'a [u8]);

/// Splits a payload into its texts.
pub fn names(payload: &[u8]) -> Result<Names<'_>, TextError> {
    match payload.last() {
        None | Some(0) => Ok(Names(payload)),
        Some(_) => Err(TextError::NoNul),
    }
}

impl<'a> Names<'a> {
    /// The next one as the name of a node.
    pub fn next_name(&mut self) -> Option<Result<&'a str, TextError>> {
        let name = core::str::from_utf8(self.next()?).ok().filter(|name| is_node_name(name));
        Some(name.ok_or(TextError::Characters))
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        first(&mut self.0).ok()
    }
}

/// A part of a directory's names (docs/misc/xenstore.txt, DIRECTORY_PART).
#[derive(Clone, Debug)]
pub struct DirectoryPart<'a> {
    /// Changes whenever the directory does.
    pub generation: u64,
    /// The names, each with its NUL; their length is what the next part's offset grows by.
    pub names: &'a [u8],
    /// Whether the list ends here.
    pub is_last: bool,
}

/// Reads the payload of a DIRECTORY_PART reply: the generation, names, and an empty name at the
/// end.
pub fn directory_part(payload: &[u8]) -> Result<DirectoryPart<'_>, TextError> {
    let mut rest = payload;
    let generation = decimal(first(&mut rest)?).ok_or(TextError::Number)?;
    // The empty name that ends the list is a NUL behind that of the last one, or alone.
    let (names, is_last) = match rest {
        [0] => (&rest[..0], true),
        [names @ .., 0, 0] => (&rest[..names.len() + 1], true),
        [.., 0] => (rest, false),
        [] => return Err(TextError::Missing),
        _ => return Err(TextError::NoNul),
    };
    Ok(DirectoryPart { generation, names, is_last })
}

/// The path and the token of a watch event. What follows them is ignored.
pub fn watch_event(payload: &[u8]) -> Result<(&[u8], &[u8]), TextError> {
    let mut rest = payload;
    Ok((first(&mut rest)?, first(&mut rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn listed(payload: &[u8]) -> Result<Vec<String>, TextError> {
        let mut names = names(payload)?;
        core::iter::from_fn(|| names.next_name()).map(|name| name.map(String::from)).collect()
    }

    #[test]
    fn lists_as_the_store_sends_them() {
        assert_eq!(listed(b""), Ok(Vec::new()));
        assert_eq!(listed(b"vif\0vbd\0").unwrap(), ["vif", "vbd"]);
        assert_eq!(listed(b"vif\0vbd"), Err(TextError::NoNul));
        assert_eq!(listed(b"vif\0\0"), Err(TextError::Characters));
        assert_eq!(listed(b"a/b\0"), Err(TextError::Characters));
        assert_eq!(listed(b"\xff\0"), Err(TextError::Characters));
    }

    #[test]
    fn parts_of_a_directory_as_the_store_sends_them() {
        let part = directory_part(b"123\0a\0bc\0").unwrap();
        assert_eq!((part.generation, part.names, part.is_last), (123, &b"a\0bc\0"[..], false));
        let last = directory_part(b"123\0d\0\0").unwrap();
        assert_eq!((last.names, last.is_last), (&b"d\0"[..], true));
        let empty = directory_part(b"9\0\0").unwrap();
        assert_eq!((empty.names, empty.is_last), (&b""[..], true));
        assert!(matches!(directory_part(b""), Err(TextError::Missing)));
        assert!(matches!(directory_part(b"12"), Err(TextError::NoNul)));
        assert!(matches!(directory_part(b"12\0"), Err(TextError::Missing)));
        assert!(matches!(directory_part(b"x\0a\0"), Err(TextError::Number)));
        assert!(matches!(directory_part(b"1\0a"), Err(TextError::NoNul)));
    }

    #[test]
    fn events_may_have_fields_that_we_do_not_know() {
        assert_eq!(watch_event(b"device/vif\x0017\0"), Ok((&b"device/vif"[..], &b"17"[..])));
        assert_eq!(watch_event(b"a\x001\0more\0"), Ok((&b"a"[..], &b"1"[..])));
        assert_eq!(watch_event(b"a\x001"), Err(TextError::NoNul));
        assert_eq!(watch_event(b"a\0"), Err(TextError::Missing));
        assert_eq!(watch_event(b""), Err(TextError::Missing));
    }

    #[test]
    fn a_text_is_one_text() {
        assert_eq!(text(b"OK\0"), Ok(&b"OK"[..]));
        assert_eq!(text(b"\0"), Ok(&b""[..]));
        for payload in [&b""[..], b"OK", b"O\0K\0"] {
            assert_eq!(text(payload), Err(TextError::NoNul));
        }
    }

    proptest! {
        #[test]
        fn decimals_are_what_rust_prints(number: u64, bytes: Vec<u8>) {
            prop_assert_eq!(decimal(number.to_string().as_bytes()), Some(number));
            prop_assert_eq!(decimal(std::format!("1{number:020}").as_bytes()), None);
            let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
            prop_assert!(digits || decimal(&bytes).is_none());
        }

        #[test]
        fn any_list_of_names_survives(list in proptest::collection::vec("[a-z0-9@_-]{1,9}", 0..9)) {
            let payload: String = list.iter().flat_map(|name| [name, "\0"]).collect();
            prop_assert_eq!(listed(payload.as_bytes()).unwrap(), list);
        }

        #[test]
        fn any_part_survives(
            generation: u64,
            list in proptest::collection::vec("[a-z0-9]{1,9}", 0..9),
            is_last: bool,
        ) {
            prop_assume!(is_last || !list.is_empty());
            let names: String = list.iter().flat_map(|name| [name, "\0"]).collect();
            let end = if is_last { "\0" } else { "" };
            let payload = std::format!("{generation}\0{names}{end}");
            let part = directory_part(payload.as_bytes()).unwrap();
            prop_assert_eq!(part.generation, generation);
            prop_assert_eq!(part.names, names.as_bytes());
            prop_assert_eq!(part.is_last, is_last);
        }

        #[test]
        fn no_bytes_do_harm(payload in proptest::collection::vec(
            prop_oneof![Just(0u8), Just(b'1'), any::<u8>()], 0..40)) {
            let _ = (listed(&payload), text(&payload), watch_event(&payload));
            if let Ok(part) = directory_part(&payload) {
                prop_assert!(part.names.is_empty() || part.names.ends_with(&[0]));
                prop_assert!(part.is_last || !part.names.is_empty());
            }
        }
    }
}
