//! The log: lines with a time stamp on the console, filtered by module from the boot line.
//!
//! `--logs '*:info,net:debug,net::arp:off'`: levels by module path; the longest path that fits
//! decides, `*` stands for all others. Levels are off, error, warn, info, debug, trace.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use log::{LevelFilter, Metadata};

/// Levels by module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    all_others: LevelFilter,
    /// Module paths, `a::b`, and their levels.
    modules: Vec<(String, LevelFilter)>,
}

/// Why a filter could not be read.
#[derive(Clone, PartialEq, Eq)]
pub enum FilterError {
    /// This part is not `module:level`.
    Part(String),
    /// This is not a level.
    Level(String),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part) => write!(f, "--logs: '{part}' is not of the form module:level"),
            Self::Level(level) => {
                write!(f, "--logs: '{level}' is none of off, error, warn, info, debug, trace")
            }
        }
    }
}

impl fmt::Debug for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it is displayed: quoting text the way of `Debug` would cost the image 5 KB.
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for FilterError {}

impl Default for Filter {
    fn default() -> Self {
        Self { all_others: LevelFilter::Info, modules: Vec::new() }
    }
}

impl Filter {
    /// Reads a filter such as `*:info,net:debug`; a level alone is for all modules.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for part in text.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if part.is_empty() {
                continue;
            }
            let colon = part.iter().rposition(|&byte| byte == b':');
            let (module, level) = match colon {
                Some(at) => (&part[..at], &part[at + 1..]),
                None => (&b"*"[..], part),
            };
            if module.is_empty() || module.ends_with(b":") {
                return Err(FilterError::Part(as_text(part)));
            }
            let level = level_of(level).ok_or_else(|| FilterError::Level(as_text(level)))?;
            match module {
                b"*" => filter.all_others = level,
                module => filter.modules.push((as_text(module), level)),
            }
        }
        Ok(filter)
    }

    /// The level up to which `target` is logged.
    pub fn level_for(&self, target: &str) -> LevelFilter {
        let fits = |module: &str| {
            target
                .strip_prefix(module)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let fitting = self.modules.iter().filter(|(module, _)| fits(module));
        let longest = fitting.max_by_key(|(module, _)| module.len());
        longest.map_or(self.all_others, |(_, level)| *level)
    }

    /// Whether a record is logged.
    pub fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level_for(metadata.target())
    }

    /// The most talkative level of all.
    pub fn highest(&self) -> LevelFilter {
        self.modules.iter().map(|(_, level)| *level).fold(self.all_others, core::cmp::max)
    }
}

/// The level with this name.
fn level_of(name: &[u8]) -> Option<LevelFilter> {
    LevelFilter::iter().find(|level| level.as_str().as_bytes().eq_ignore_ascii_case(name))
}

/// A piece of a text, cut at ASCII characters, as text again.
fn as_text(piece: &[u8]) -> String {
    core::str::from_utf8(piece).unwrap_or_default().into()
}

#[cfg(xenios_kernel)]
pub use sink::{install, set_filter};

#[cfg(xenios_kernel)]
mod sink {
    use super::Filter;
    use crate::{console, time};
    use log::{LevelFilter, Log, Metadata, Record};
    use spin::Once;

    struct Logger;

    static LOGGER: Logger = Logger;
    static FILTER: Once<Filter> = Once::new();

    /// Starts logging to the console, at the default level until [`set_filter`].
    pub fn install() {
        log::set_max_level(LevelFilter::Info);
        // An error says that there is a logger already: this one, as no one else sets any.
        let _ = log::set_logger(&LOGGER);
    }

    /// Sets the levels, once.
    pub fn set_filter(filter: Filter) {
        log::set_max_level(filter.highest());
        FILTER.call_once(|| filter);
    }

    impl Log for Logger {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            FILTER.get().is_none_or(|filter| filter.lets_through(metadata))
        }

        fn log(&self, record: &Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            let now = time::since_boot();
            console::print(format_args!(
                "[{:5}.{:06}] {:5} {}: {}\n",
                now.as_secs(),
                now.subsec_micros(),
                record.level(),
                record.target(),
                record.args()
            ));
        }

        fn flush(&self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_decides() {
        let filter = Filter::parse("*:warn, net:debug,net::arp:off").unwrap();
        assert_eq!(filter.level_for("net"), LevelFilter::Debug);
        assert_eq!(filter.level_for("net::tcp"), LevelFilter::Debug);
        assert_eq!(filter.level_for("net::arp::cache"), LevelFilter::Off);
        assert_eq!(filter.level_for("network"), LevelFilter::Warn);
        assert_eq!(filter.highest(), LevelFilter::Debug);
    }

    #[test]
    fn a_level_alone_is_for_all() {
        assert_eq!(Filter::parse("trace").unwrap().level_for("x"), LevelFilter::Trace);
        assert_eq!(Filter::parse("").unwrap(), Filter::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(Filter::parse("net:loud"), Err(FilterError::Level("loud".into())));
        assert_eq!(Filter::parse(":info"), Err(FilterError::Part(":info".into())));
        assert_eq!(Filter::parse("a::info"), Err(FilterError::Part("a::info".into())));
    }
}
