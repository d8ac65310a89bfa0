//! The configuration file of a domain, as `xl create` reads it, and the quoting of a boot line.
//!
//! `xl` ignores keys it does not know, so a typing mistake there goes unnoticed: every file this
//! project uses is written by [`Config`], which knows the names.

use crate::{Error, Result};
use std::fmt::Write;

/// What `xl` does with a domain that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEnd {
    /// Free everything.
    Destroy,
    /// Keep it, to look at; `xl destroy` frees it later.
    Preserve,
    /// Start it again.
    Restart,
}

impl OnEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Preserve => "preserve",
            Self::Restart => "restart",
        }
    }
}

/// A PVH domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The domain's name.
    pub name: String,
    /// The kernel image, as dom0 sees it.
    pub kernel: String,
    /// A file that becomes module 0 of the guest.
    pub ramdisk: Option<String>,
    /// Memory in MiB; the domain starts with all it may ever have.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// The guest's command line.
    pub cmdline: String,
    /// Network interfaces, each in `xl`'s own notation.
    pub vif: Vec<String>,
    /// Disks, each in `xl`'s own notation.
    pub disk: Vec<String>,
    /// After a shutdown.
    pub on_poweroff: OnEnd,
    /// After a reboot; a triple fault counts as one.
    pub on_reboot: OnEnd,
    /// After a crash.
    pub on_crash: OnEnd,
    /// Further lines, as they are.
    pub more: Vec<String>,
}

/// Below this, the memory that `xl` sets aside for a domain's page tables is less than Xen needs
/// for the smallest domain, and `xl create` fails.
const SMALL_MIB: u32 = 32;

impl Config {
    /// A domain with one CPU, no devices, and nothing kept or restarted when it ends.
    pub fn new(name: &str, kernel: &str, memory_mib: u32) -> Self {
        Self {
            name: name.into(),
            kernel: kernel.into(),
            ramdisk: None,
            memory_mib,
            vcpus: 1,
            cmdline: String::new(),
            vif: Vec::new(),
            disk: Vec::new(),
            on_poweroff: OnEnd::Destroy,
            on_reboot: OnEnd::Destroy,
            on_crash: OnEnd::Destroy,
            more: Vec::new(),
        }
    }

    /// Keeps the domain after any end, so that its state can be asked for.
    #[must_use]
    pub fn preserved(mut self) -> Self {
        self.on_poweroff = OnEnd::Preserve;
        self.on_reboot = OnEnd::Preserve;
        self.on_crash = OnEnd::Preserve;
        self
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key:<11} = {value}");
        };
        line("name", string(&self.name));
        line("type", string("pvh"));
        line("kernel", string(&self.kernel));
        if let Some(ramdisk) = &self.ramdisk {
            line("ramdisk", string(ramdisk));
        }
        line("memory", self.memory_mib.to_string());
        line("maxmem", self.memory_mib.to_string());
        if self.memory_mib < SMALL_MIB {
            line("shadow_memory", "1".into());
        }
        line("vcpus", self.vcpus.to_string());
        // The guest's clock is Xen's, which corrects for any counter: no need to emulate that,
        // which would make each reading of the time a trap into the hypervisor.
        line("tsc_mode", string("native"));
        line("cmdline", string(&self.cmdline));
        line("on_poweroff", string(self.on_poweroff.word()));
        line("on_reboot", string(self.on_reboot.word()));
        line("on_crash", string(self.on_crash.word()));
        for (key, devices) in [("vif", &self.vif), ("disk", &self.disk)] {
            if !devices.is_empty() {
                let list: Vec<String> = devices.iter().map(|device| string(device)).collect();
                line(key, format!("[ {} ]", list.join(", ")));
            }
        }
        for more in &self.more {
            text.push_str(more);
            text.push('\n');
        }
        text
    }
}

/// A string of xl's configuration language.
///
/// The language has no way to write a quote inside a string of the same quote, and takes escapes
/// literally; so the quote that does not occur is used, and of a text with both the double quotes
/// become single ones. [`boot_line`] never makes such a text.
fn string(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if !text.contains('"') {
        format!("\"{text}\"")
    } else if !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('"', "'"))
    }
}

/// Joins words to a boot line that splits into the same words again.
///
/// A boot line is split at blanks, with quotes and backslashes as in a shell; words that need none
/// get none.
///
/// # Errors
/// When the words have both kinds of quotes in them: a string of `xl` cannot.
pub fn boot_line<S: AsRef<str>>(words: &[S]) -> Result<String> {
    let has = |quote| words.iter().any(|word| word.as_ref().contains(quote));
    if has('"') && has('\'') {
        return Err(Error::new("the boot line has both single and double quotes in it")
            .help("use one kind: a string in xl's configuration cannot hold both"));
    }
    // With double quotes in the words, single ones around them would be one kind too many.
    let quote: fn(&str) -> String = if has('"') { backslashed } else { quoted };
    let words: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    Ok(words.join(" "))
}

/// Whether a character needs no quoting on a boot line.
fn plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !"'\"\\".contains(c)
}

/// Quotes one word for a boot line, where that is needed.
fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    // `--key=some words` reads better as --key='some words'.
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() && key.chars().all(plain) => {
            format!("{key}={}", single_quote(value))
        }
        _ => single_quote(word),
    }
}

/// The same, without single quotes.
fn backslashed(word: &str) -> String {
    if word.is_empty() {
        return "\"\"".into();
    }
    let mut quoted = String::new();
    for c in word.chars() {
        if !plain(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// A word in single quotes, as a shell (and a boot line) reads it back.
pub fn single_quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_configuration() {
        let mut config = Config::new("app", "/srv/app.xen", 16).preserved();
        config.cmdline = "name='a b'".into();
        config.vif.push("bridge=xenbr0".into());
        let text = config.text();
        assert!(text.contains("type        = \"pvh\"\n"), "{text}");
        assert!(text.contains("maxmem      = 16\n"), "{text}");
        assert!(text.contains("cmdline     = \"name='a b'\"\n"), "{text}");
        assert!(text.contains("on_crash    = \"preserve\"\n"), "{text}");
        assert!(text.contains("vif         = [ \"bridge=xenbr0\" ]\n"), "{text}");
        assert!(!text.contains("disk"), "{text}");
    }

    #[test]
    fn picks_the_quote_that_does_not_occur() {
        assert_eq!(string("a"), "\"a\"");
        assert_eq!(string("say \"a\""), "'say \"a\"'");
        assert_eq!(string("\"a\" 'b'"), "\"'a' 'b'\"");
        assert_eq!(string("two\nlines"), "\"two lines\"");
    }

    #[test]
    fn quotes_only_what_needs_it() {
        let line = |words: &[&str]| boot_line(words).unwrap();
        assert_eq!(line(&["a", "--b=c"]), "a --b=c");
        assert_eq!(line(&["a b"]), "'a b'");
        assert_eq!(line(&["--greeting=hello world", ""]), "--greeting='hello world' ''");
        assert_eq!(line(&["it's"]), r"'it'\''s'");
        assert_eq!(line(&["say \"a b\"", ""]), r#"say\ \"a\ b\" """#);
        assert!(boot_line(&["it's", "\"a\""]).is_err());
    }
}
