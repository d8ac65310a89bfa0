//! Tells code, comments and texts of Rust source apart.

/// A source in two layers of the same shape: what does not belong to a layer is blank there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// The code, without comments and without what is inside of texts.
    pub code: String,
    /// The comments.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Code,
    LineComment,
    BlockComment(u32),
    Text,
    RawText(usize),
}

/// Splits a source into its layers.
pub fn layers(source: &str) -> Layers {
    let chars: Vec<char> = source.chars().collect();
    let mut layers = Layers { code: String::new(), comments: String::new() };
    let mut mode = Mode::Code;
    let mut at = 0;
    while at < chars.len() {
        let (length, next) = step(&chars, at, mode);
        for char in &chars[at..(at + length).min(chars.len())] {
            let blank = if *char == '\n' { '\n' } else { ' ' };
            let comment = matches!(mode, Mode::LineComment | Mode::BlockComment(_))
                || matches!(next, Mode::LineComment | Mode::BlockComment(_));
            let code = mode == Mode::Code && next == Mode::Code;
            layers.code.push(if code { *char } else { blank });
            layers.comments.push(if comment { *char } else { blank });
        }
        at += length;
        mode = next;
    }
    layers
}

/// How many characters belong together at `at`, and the mode behind them.
fn step(chars: &[char], at: usize, mode: Mode) -> (usize, Mode) {
    let next = chars.get(at + 1).copied();
    match (mode, chars[at]) {
        (Mode::Code, '/') if next == Some('/') => (2, Mode::LineComment),
        (Mode::Code, '/') if next == Some('*') => (2, Mode::BlockComment(1)),
        (Mode::Code, '"') => (1, Mode::Text),
        (Mode::Code, 'r') if !in_word(chars, at) => match raw_start(chars, at) {
            Some(hashes) => (hashes + 2, Mode::RawText(hashes)),
            None => (1, Mode::Code),
        },
        (Mode::Code, '\'') => (char_literal(chars, at), Mode::Code),
        (Mode::LineComment, '\n') => (1, Mode::Code),
        (Mode::BlockComment(depth), '*') if next == Some('/') => {
            (2, if depth == 1 { Mode::Code } else { Mode::BlockComment(depth - 1) })
        }
        (Mode::BlockComment(depth), '/') if next == Some('*') => (2, Mode::BlockComment(depth + 1)),
        (Mode::Text, '\\') => (2, Mode::Text),
        (Mode::Text, '"') => (1, Mode::Code),
        (Mode::RawText(hashes), '"') if ends_raw(chars, at, hashes) => (hashes + 1, Mode::Code),
        _ => (1, mode),
    }
}

/// Whether the character before `at` is part of a word (`b` and `c` may stand before a raw text).
fn in_word(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|at| chars.get(at)).copied();
    let word = |char: Option<char>| char.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = matches!(before(1), Some('b' | 'c')) && !word(before(2));
    word(before(1)) && !prefix
}

/// The number of hashes, if a raw text begins at `at`.
fn raw_start(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|char| **char == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn ends_raw(chars: &[char], at: usize, hashes: usize) -> bool {
    (1..=hashes).all(|offset| chars.get(at + offset) == Some(&'#'))
}

/// The length of a character literal at `at`; a lifetime has the length of its quote.
fn char_literal(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let end = chars[at + 2..].iter().skip(1).position(|char| *char == '\'');
        return end.map_or(1, |end| end + 4);
    }
    if chars.get(at + 2) == Some(&'\'') { 3 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_shape() {
        let source = "let a = \"x // y\"; // c \"d\"\n/* e\n/* f */ */ g('\"', '\\'', b'a');\n";
        let layers = layers(source);
        assert_eq!(layers.code.lines().count(), source.lines().count());
        assert_eq!(layers.code.chars().count(), source.chars().count());
        assert!(layers.code.contains("let a ="), "{}", layers.code);
        assert!(!layers.code.contains("x // y"));
        assert!(layers.comments.contains("// c \"d\""));
        assert!(layers.comments.contains("f */ */"));
        assert!(layers.code.contains(" g("));
    }

    #[test]
    fn raw_texts_and_lifetimes() {
        let layers = layers("r#\"unsafe \" fn\"# fn a<'a>(b: &'a str) { br\"x\"; bar\"y\" }");
        assert!(!layers.code.contains("unsafe"));
        assert!(layers.code.contains("fn a<'a>(b: &'a str) {"), "{}", layers.code);
        assert!(!layers.code.contains('x'));
        assert!(layers.code.ends_with('}'));
    }
}
