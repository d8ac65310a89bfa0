//! Turns the addresses in a crash report into functions and lines.

use std::path::Path;

/// Knows the functions and lines of one image.
pub struct Symbols {
    loader: Option<addr2line::Loader>,
}

impl Symbols {
    /// Reads the debug information of a linked file. Without any, addresses stay as they are.
    pub fn of(debug: &Path) -> Self {
        Self { loader: addr2line::Loader::new(debug).ok() }
    }

    /// A console line with what its address means appended, if it has one that means something.
    pub fn explain(&self, line: &str) -> String {
        match address_in(line).and_then(|address| self.look_up(address)) {
            Some(place) => format!("{line} {place}"),
            None => line.into(),
        }
    }

    /// `function at file:line`, with the functions that were inlined there in front.
    fn look_up(&self, address: u64) -> Option<String> {
        let loader = self.loader.as_ref()?;
        let mut frames = loader.find_frames(address).ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let name = name.map(|name| format!("{:#}", rustc_demangle::demangle(&name)));
            let place = frame.location.and_then(|location| {
                Some(format!("{}:{}", shorten(location.file?), location.line?))
            });
            places.push(match (name, place) {
                (Some(name), Some(place)) => format!("{name} at {place}"),
                (Some(name), None) => name,
                (None, Some(place)) => place,
                (None, None) => continue,
            });
        }
        if places.is_empty() {
            let name = loader.find_symbol(address)?;
            places.push(format!("{:#}", rustc_demangle::demangle(name)));
        }
        Some(places.join(", inlined into "))
    }
}

/// A path as seen from the current directory, or from inside the library's source.
fn shorten(file: &str) -> &str {
    let inside = std::env::current_dir().ok().and_then(|current| {
        file.strip_prefix(current.to_str()?).map(|rest| rest.trim_start_matches('/'))
    });
    let library = || file.find("/library/").map(|at| &file[at + 1..]);
    inside.or_else(library).unwrap_or(file)
}

/// The address to look up for a line of a crash report.
///
/// A frame `#N 0x...` holds the address behind a call, except for the first frame; one byte before
/// it lies in the call itself. `rip 0x...` is the very instruction.
fn address_in(line: &str) -> Option<u64> {
    let trimmed = line.trim_start();
    if let Some(rest) = trimmed.strip_prefix('#') {
        let (number, rest) = rest.split_once(char::is_whitespace)?;
        number.parse::<u32>().ok()?;
        return hexadecimal(rest.trim_start())?.checked_sub(1);
    }
    let at = line.find("rip 0x").or_else(|| line.find("rip=0x"))?;
    hexadecimal(&line[at + 4..])
}

/// The number that a text begins with.
fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_addresses_in_reports() {
        assert_eq!(address_in("  #0 0x00000000001012ab"), Some(0x10_12aa));
        assert_eq!(address_in("  #12 0x00000000001012ab [stack]"), Some(0x10_12aa));
        assert_eq!(address_in("rip 0x101000 rsp 0x0"), Some(0x10_1000));
        assert_eq!(address_in("page fault at rip 0x101000"), Some(0x10_1000));
        assert_eq!(address_in("#1 hello"), None);
        assert_eq!(address_in("# 0x10"), None);
        assert_eq!(address_in("plain text 0x10"), None);
    }

    #[test]
    fn explains_an_address_of_this_very_test() {
        let program = std::env::current_exe().unwrap();
        let symbols = Symbols::of(&program);
        assert_eq!(symbols.explain("no address"), "no address");
        assert_eq!(Symbols::of(Path::new("/nonexistent")).explain("rip 0x10"), "rip 0x10");
    }
}
