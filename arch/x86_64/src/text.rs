//! Formatted text handed out in pieces.
//!
//! Each type that implements [`core::fmt::Write`] gets a copy of the code that turns characters
//! into bytes. Whoever prints goes through this one instead, and the image has it once.

use core::fmt;

/// Formats `text`, handing each piece to `take`.
pub fn format(text: fmt::Arguments<'_>, take: &mut dyn FnMut(&str)) {
    // `Pieces` takes all text; an error is one of a value's own `Display`, whose text then ends
    // there.
    let _ = fmt::write(&mut Pieces(take), text);
}

struct Pieces<'a>(&'a mut dyn FnMut(&str));

impl fmt::Write for Pieces<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn the_pieces_are_the_text() {
        let mut all = String::new();
        format(format_args!("{}-{:>4}{}", 1, "ab", 'ä'), &mut |piece| all.push_str(piece));
        assert_eq!(all, "1-  abä");
    }
}
