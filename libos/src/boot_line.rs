//! The boot line, split into words as a shell would.
//!
//! White space separates words; `'…'` keeps all in it; `"…"` keeps all but `\"` and `\\`; outside of
//! quotes `\` keeps the next character. An option is `--name value` or `--name=value`, a flag is
//! `--name`; after a word `--` there are no options. Words that are none of these are left alone:
//! toolstacks add their own (`root=…`, `console=hvc0`).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why a boot line could not be split.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl core::error::Error for BootLineError {}

/// The boot line.
#[derive(Clone, Default, Debug)]
pub struct BootLine {
    words: Vec<String>,
}

impl BootLine {
    /// Splits a line.
    pub fn parse(line: &[u8]) -> Result<Self, BootLineError> {
        let text = core::str::from_utf8(line)
            .map_err(|error| BootLineError::NotText(error.valid_up_to()))?;
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut rest = text.char_indices();
        while let Some((at, c)) = rest.next() {
            match c {
                c if c.is_whitespace() => words.extend(word.take()),
                '\'' | '"' => quoted(c, at, &mut rest, word.get_or_insert_default())?,
                '\\' => {
                    let (_, kept) = rest.next().ok_or(BootLineError::LastBackslash)?;
                    word.get_or_insert_default().push(kept);
                }
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
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

/// Takes what follows a quote at byte `at`, up to the one that closes it.
fn quoted(
    quote: char,
    at: usize,
    rest: &mut core::str::CharIndices<'_>,
    word: &mut String,
) -> Result<(), BootLineError> {
    let open = BootLineError::OpenQuote(at);
    loop {
        let Some((_, c)) = rest.next() else { return Err(open) };
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match rest.next() {
                Some((_, kept @ ('"' | '\\'))) => word.push(kept),
                Some((_, kept)) => word.extend(['\\', kept]),
                None => return Err(open),
            },
            c => word.push(c),
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
        assert_eq!(words(r#"--name 'Ada L.' "a \"b\" \c" x\ y ''"#),
            ["--name", "Ada L.", r#"a "b" \c"#, "x y", ""]);
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
