//! What a test kernel says about itself, and what that makes of the test.
//!
//! A kernel's verdict is the last line of its console that begins with `verdict: `.

use crate::lab::Ended;
use std::fmt;

/// A kernel's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The property holds.
    Success,
    /// It cannot be tested here.
    Skip(String),
    /// The test itself is broken.
    Error(String),
    /// The property does not hold.
    Failure(String),
}

impl Verdict {
    /// The verdict in a console's text.
    pub fn of(console: &str) -> Option<Self> {
        let last = console.lines().rev().find_map(|line| line.trim().strip_prefix("verdict: "))?;
        let (word, why) = match last.split_once(':') {
            Some((word, why)) => (word.trim(), why.trim().to_string()),
            None => (last.trim(), String::new()),
        };
        Some(match word {
            "success" => Self::Success,
            "skip" => Self::Skip(why),
            "error" => Self::Error(why),
            "failure" => Self::Failure(why),
            _ => Self::Error(format!("strange verdict `{last}`")),
        })
    }
}

/// What an app says last, before its status.
pub const EXIT_STATUS: &str = "xenios: exit status ";

/// The status that an app ended with.
pub fn exit_status(console: &str) -> Option<u8> {
    console.lines().rev().find_map(|line| line.trim().strip_prefix(EXIT_STATUS))?.parse().ok()
}

/// What a kernel is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Say `verdict: success` and power off.
    Success,
    /// Be an app that ends with this status: 0 with a poweroff, others with a crash.
    Exit(u8),
    /// Be ended with this reason code, whatever it says.
    Ends(u32),
    /// Say `verdict: success`; the driver says how it ended, and the domain is destroyed after it.
    /// For domains that `xl` does not watch any more: those that were suspended.
    Driven,
    /// Crash, with these texts on its console or in Xen's log.
    Crash {
        /// The texts.
        report: &'static [&'static str],
    },
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Success,
    /// Not tested.
    Skip(String),
    /// The test is broken.
    Error(String),
    /// The property does not hold.
    Failure(String),
    /// The guest died unexpectedly.
    Crash(String),
    /// The guest did not end.
    Timeout(String),
}

impl Outcome {
    /// Whether this counts as passed.
    pub fn passed(&self) -> bool {
        *self == Self::Success
    }

    /// Whether this counts as neither passed nor failed.
    pub fn skipped(&self) -> bool {
        matches!(self, Self::Skip(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match self {
            Self::Success => return f.write_str("success"),
            Self::Skip(why) => ("skip", why),
            Self::Error(why) => ("error", why),
            Self::Failure(why) => ("failure", why),
            Self::Crash(why) => ("crash", why),
            Self::Timeout(why) => ("timeout", why),
        };
        write!(f, "{word}: {why}")
    }
}

/// All that one boot of a kernel left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunLog {
    /// Its console.
    pub console: String,
    /// What Xen wrote to its own console meanwhile.
    pub xen: String,
    /// How it ended; `None` if it had to be destroyed.
    pub ended: Option<Ended>,
}

impl RunLog {
    /// What this boot makes of a test.
    pub fn outcome(&self, expect: Expect) -> Outcome {
        let verdict = Verdict::of(&self.console);
        match expect {
            Expect::Success => self.outcome_of_success(verdict),
            Expect::Exit(status) => self.outcome_of_exit(status),
            Expect::Ends(code) => match (verdict, self.ended) {
                (Some(Verdict::Failure(why)), _) => Outcome::Failure(why),
                (_, Some(Ended::Shutdown(ended))) if ended == code => Outcome::Success,
                (_, Some(ended)) => Outcome::Failure(format!("{ended}, not with code {code}")),
                (_, None) => Outcome::Timeout("it did not end in time".into()),
            },
            Expect::Driven => match verdict {
                Some(Verdict::Success) => Outcome::Success,
                Some(Verdict::Failure(why)) => Outcome::Failure(why),
                other => Outcome::Failure(format!("its verdict is {other:?}")),
            },
            Expect::Crash { report } => self.outcome_of_crash(verdict, report),
        }
    }

    fn outcome_of_success(&self, verdict: Option<Verdict>) -> Outcome {
        match (verdict, self.ended) {
            (Some(Verdict::Skip(why)), _) => Outcome::Skip(why),
            (Some(Verdict::Error(why)), _) => Outcome::Error(why),
            (Some(Verdict::Failure(why)), _) => Outcome::Failure(why),
            (Some(Verdict::Success), Some(Ended::Shutdown(0))) => Outcome::Success,
            (Some(Verdict::Success), Some(ended)) => {
                Outcome::Crash(format!("after its success, {ended}"))
            }
            (Some(Verdict::Success), None) => {
                Outcome::Timeout("it did not power off after its success".into())
            }
            (None, Some(Ended::Shutdown(0))) => {
                Outcome::Error("it powered off without a verdict".into())
            }
            (None, Some(ended)) => Outcome::Crash(format!("{ended}, without a verdict")),
            (None, None) => Outcome::Timeout("it did not end in time".into()),
        }
    }

    fn outcome_of_exit(&self, wanted: u8) -> Outcome {
        let reason = Ended::Shutdown(if wanted == 0 { 0 } else { 3 });
        match (exit_status(&self.console), self.ended) {
            (_, None) => Outcome::Timeout("it did not end in time".into()),
            (Some(status), Some(ended)) if status == wanted && ended == reason => Outcome::Success,
            (Some(status), Some(ended)) => {
                Outcome::Failure(format!("exit status {status}, and {ended}"))
            }
            (None, Some(ended)) => Outcome::Crash(format!("{ended}, without an exit status")),
        }
    }

    fn outcome_of_crash(&self, verdict: Option<Verdict>, report: &[&str]) -> Outcome {
        match verdict {
            Some(Verdict::Success) => {
                return Outcome::Failure("it survived what should have killed it".into());
            }
            Some(Verdict::Skip(why)) => return Outcome::Skip(why),
            Some(Verdict::Error(why)) => return Outcome::Error(why),
            Some(Verdict::Failure(why)) => return Outcome::Failure(why),
            None => {}
        }
        let missing =
            report.iter().find(|text| !self.console.contains(**text) && !self.xen.contains(**text));
        match (self.ended, missing) {
            (None, _) => Outcome::Timeout("it neither crashed nor ended".into()),
            (Some(Ended::Shutdown(3)), None) => Outcome::Success,
            (Some(Ended::Shutdown(3)), Some(text)) => {
                Outcome::Failure(format!("it crashed, but the report lacks `{text}`"))
            }
            (Some(ended), _) => Outcome::Failure(format!("{ended} instead of a reported crash")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(console: &str, ended: Option<Ended>) -> RunLog {
        RunLog { console: console.into(), xen: "(XEN) d1v0 fault".into(), ended }
    }

    #[test]
    fn the_last_verdict_counts() {
        assert_eq!(Verdict::of("hello\n"), None);
        assert_eq!(Verdict::of("verdict: success\r\n"), Some(Verdict::Success));
        let two = "verdict: success\nverdict: failure: x: y\nxenios: exit status 1\n";
        assert_eq!(Verdict::of(two), Some(Verdict::Failure("x: y".into())));
        assert!(matches!(Verdict::of("verdict: well\n"), Some(Verdict::Error(_))));
    }

    #[test]
    fn success_takes_a_verdict_and_a_poweroff() {
        let good = "verdict: success\n";
        let outcome = |console, ended| log(console, ended).outcome(Expect::Success);
        assert!(outcome(good, Some(Ended::Shutdown(0))).passed());
        assert!(matches!(outcome(good, Some(Ended::Shutdown(3))), Outcome::Crash(_)));
        assert!(matches!(outcome(good, None), Outcome::Timeout(_)));
        assert!(matches!(outcome("", Some(Ended::Shutdown(0))), Outcome::Error(_)));
        assert!(matches!(outcome("", Some(Ended::Shutdown(1))), Outcome::Crash(_)));
        assert!(outcome("verdict: skip: no disk", None).skipped());
    }

    #[test]
    fn an_app_ends_with_its_status() {
        let outcome = |console, code, wanted| {
            log(console, Some(Ended::Shutdown(code))).outcome(Expect::Exit(wanted))
        };
        assert!(outcome("xenios: exit status 0\n", 0, 0).passed());
        assert!(outcome("xenios: exit status 7\r\n", 3, 7).passed());
        assert!(matches!(outcome("xenios: exit status 7\n", 3, 0), Outcome::Failure(_)));
        assert!(matches!(outcome("", 3, 0), Outcome::Crash(_)));
    }

    #[test]
    fn a_crash_has_to_be_reported() {
        let expect = Expect::Crash { report: &["page fault", "d1v0"] };
        let crashed = Some(Ended::Shutdown(3));
        assert!(log("page fault at 0\n", crashed).outcome(expect).passed());
        assert!(matches!(log("", crashed).outcome(expect), Outcome::Failure(_)));
        let survived = "page fault\nverdict: success\n";
        assert!(matches!(log(survived, crashed).outcome(expect), Outcome::Failure(_)));
        let reset = Some(Ended::Shutdown(1));
        assert!(matches!(log("page fault\n", reset).outcome(expect), Outcome::Failure(_)));
        assert!(matches!(log("page fault\n", None).outcome(expect), Outcome::Timeout(_)));
    }
}
