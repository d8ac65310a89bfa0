//! The boot line, split into words as a shell would.
//!
//! White space separates words; `'…'` keeps all in it; `"…"` keeps all but `\"` and `\\`; outside
//! of quotes `\` keeps the next character. An option is `--name value` or `--name=value`, a flag is
//! `--name`; after a word `--` there are no options. Words that are none of these are left alone:
//! toolstacks add their own (`root=…`, `console=hvc0`).

use alloc::string::{FromUtf8Error, String};
use alloc::vec::Vec;
use core::fmt;

/// Why a boot line could not be split.
#[derive(Clone, PartialEq, Eq)]
pub enum BootLineError {
    /// A quote that is opened at this byte is never closed.
    OpenQuote(usize),
    /// The line ends with a backslash.
    LastBackslash,
    /// The line is not UTF-8 from this byte on.
    NotText(usize),
}

impl fmt::Display for BootLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenQuote(at) => write!(f, "boot line: the quote at byte {at} is never closed"),
            Self::LastBackslash => f.write_str("boot line: a backslash at the end quotes nothing"),
            Self::NotText(at) => write!(f, "boot line: byte {at} is not UTF-8 text"),
        }
    }
}

impl fmt::Debug for BootLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it is displayed: what `Debug` derives would cost the image a kilobyte.
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for BootLineError {}

/// The boot line.
#[derive(Clone, Default, Debug)]
pub struct BootLine {
    words: Vec<String>,
}

impl BootLine {
    /// Splits a line.
    pub fn parse(line: &[u8]) -> Result<Self, BootLineError> {
        if let Err(error) = core::str::from_utf8(line) {
            return Err(BootLineError::NotText(error.valid_up_to()));
        }
        // All that has a meaning here is ASCII, so the line is split byte by byte.
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(byte) = line.get(at) {
            if byte.is_ascii_whitespace() {
                at += 1;
            } else {
                let mut word = Vec::new();
                at = take_word(line, at, &mut word)?;
                let text = |error: FromUtf8Error| error.utf8_error().valid_up_to();
                words.push(String::from_utf8(word).map_err(|e| BootLineError::NotText(text(e)))?);
            }
        }
        Ok(Self { words })
    }

    /// All words, quotes removed.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The value of `--name value` or `--name=value`; of several the last counts.
    pub fn option(&self, name: &str) -> Option<&str> {
        let options = self.options();
        let mut found = None;
        for (i, word) in options.iter().enumerate() {
            match word.strip_prefix("--").and_then(|word| word.strip_prefix(name)) {
                Some("") => found = options.get(i + 1).map(String::as_str).or(found),
                Some(value) => found = value.strip_prefix('=').or(found),
                None => {}
            }
        }
        found
    }

    /// Whether `--name` is among the words.
    pub fn flag(&self, name: &str) -> bool {
        self.options().iter().any(|word| word.strip_prefix("--") == Some(name))
    }

    /// The words before `--`.
    fn options(&self) -> &[String] {
        let end = self.words.iter().position(|word| word == "--");
        &self.words[..end.unwrap_or(self.words.len())]
    }
}

/// Takes the word that begins at byte `at`; gives where it ends.
fn take_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, BootLineError> {
    while let Some(&byte) = line.get(at) {
        at += 1;
        match byte {
            quote @ (b'\'' | b'"') => at = take_quoted(quote, line, at, word)?,
            b'\\' => {
                word.push(*line.get(at).ok_or(BootLineError::LastBackslash)?);
                at += 1;
            }
            byte if byte.is_ascii_whitespace() => break,
            byte => word.push(byte),
        }
    }
    Ok(at)
}

/// Takes what follows a quote, up to the one that closes it; gives where that ends.
fn take_quoted(
    quote: u8,
    line: &[u8],
    start: usize,
    word: &mut Vec<u8>,
) -> Result<usize, BootLineError> {
    let mut at = start;
    loop {
        let byte = *line.get(at).ok_or(BootLineError::OpenQuote(start - 1))?;
        at += 1;
        match (byte, line.get(at)) {
            (byte, _) if byte == quote => return Ok(at),
            (b'\\', Some(&kept @ (b'"' | b'\\'))) if quote == b'"' => {
                word.push(kept);
                at += 1;
            }
            (byte, _) => word.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        BootLine::parse(line.as_bytes()).unwrap().words
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(words("  --name  Ada\troot=/dev/x "), ["--name", "Ada", "root=/dev/x"]);
        assert_eq!(
            words(r#"--name 'Ada L.' "a \"b\" \c" x\ y ''"#),
            ["--name", "Ada L.", r#"a "b" \c"#, "x y", ""]
        );
        assert_eq!(words("a'b'\"c\"d"), ["abcd"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn what_cannot_be_split_says_where() {
        let parse = |line: &[u8]| BootLine::parse(line).unwrap_err();
        assert_eq!(parse(b"ab 'c"), BootLineError::OpenQuote(3));
        assert_eq!(parse(br#"""#), BootLineError::OpenQuote(0));
        assert_eq!(parse(b"a\\"), BootLineError::LastBackslash);
        assert_eq!(parse(b"ab\xff"), BootLineError::NotText(2));
    }

    #[test]
    fn options_and_flags_are_found() {
        let line = BootLine::parse(b"--name=Ada --verbose --n 5 --name Bob x -- --late 1").unwrap();
        assert_eq!(line.option("name"), Some("Bob"));
        assert_eq!(line.option("n"), Some("5"));
        assert_eq!(line.option("late"), None);
        assert!(line.flag("verbose") && !line.flag("late") && !line.flag("verb"));
        assert_eq!(BootLine::parse(b"--name").unwrap().option("name"), None);
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(given in proptest::collection::vec(any::<String>(), 0..8)) {
            let mut line = String::new();
            for word in &given {
                line.push('\'');
                line.push_str(&word.replace('\'', "'\\''"));
                line.push_str("' ");
            }
            prop_assert_eq!(words(&line), given);
        }

        #[test]
        fn no_bytes_can_do_harm(line: Vec<u8>) {
            let _ = BootLine::parse(&line);
        }
    }
}
