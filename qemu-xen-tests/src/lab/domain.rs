//! Domains in a lab.
//!
//! How a domain ended is read from the log that `xl create` leaves behind in the background: it
//! tells the reason the moment the domain shuts down, and costs no command in dom0.

use super::{Follow, Lab};
use crate::xl::{Config, single_quote};
use crate::{Context, Error, Result};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The time that a command of the toolstack may take.
const XL_LIMIT: Duration = Duration::from_secs(120);

/// A domain that was created in a lab.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// What `xl` calls the file of its configuration.
    pub config: String,
}

/// Where a domain is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has not ended.
    Running,
    /// It has ended, with this reason code, and is kept.
    Shutdown(u32),
    /// There is no such domain.
    Gone,
}

/// How a domain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With a reason code: 0 poweroff, 1 reboot, 2 suspend, 3 crash, 4 watchdog.
    Shutdown(u32),
    /// It was destroyed.
    Destroyed,
}

impl Lab {
    /// Creates a domain; the name in `config` must not be in use.
    ///
    /// # Errors
    /// When `xl` refuses; the error has what it said.
    pub fn create(&self, config: &Config) -> Result<Domain> {
        self.create_with(config, "")
    }

    /// Creates a domain that does not run yet; `xl unpause` starts it.
    ///
    /// # Errors
    /// As for [`Lab::create`].
    pub fn create_paused(&self, config: &Config) -> Result<Domain> {
        self.create_with(config, "-p ")
    }

    fn create_with(&self, config: &Config, options: &str) -> Result<Domain> {
        let file = self.share().join(format!("{}.cfg", config.name));
        std::fs::write(&file, config.text()).doing(|| format!("write {}", file.display()))?;
        let domain =
            Domain { name: config.name.clone(), config: format!("/share/{}.cfg", config.name) };
        let output =
            self.quick(&format!("xl create {options}{}", single_quote(&domain.config)), XL_LIMIT)?;
        if output.success() {
            return Ok(domain);
        }
        Err(Error::new(format!(
            "xl cannot create the domain {}: {}",
            domain.name,
            output.error_text()
        )))
    }

    /// A name that no domain of this lab had yet.
    pub fn fresh_name(&self, start: &str) -> String {
        format!("{start}-{}", self.next_number())
    }

    /// The file that a domain's console output is in, once there is any.
    pub fn console_log(&self, name: &str) -> PathBuf {
        self.share().join("console").join(format!("guest-{name}.log"))
    }

    /// What a domain has written to its console so far.
    pub fn console_text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.console_log(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a console line that `wanted` accepts, among all the lines from the start.
    ///
    /// # Errors
    /// When no such line comes within `limit`, or the lab dies.
    pub fn wait_for_line(
        &self,
        domain: &Domain,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let mut follow = Follow::new(&self.console_log(&domain.name));
        let until = Instant::now() + limit;
        loop {
            let piece = (Instant::now() + Duration::from_millis(500)).min(until);
            if let Some(line) = follow.wait_for(piece, &wanted) {
                return Ok(line);
            }
            if !self.alive() {
                return Err(self.explain(Error::new("the lab has ended")));
            }
            if Instant::now() >= until {
                return Err(Error::new(format!(
                    "{} did not print the expected line within {} s",
                    domain.name,
                    limit.as_secs()
                )));
            }
        }
    }

    /// What `xl create` noted about the domain's end.
    pub fn end_watch(&self, domain: &Domain) -> EndWatch {
        let path = self.share().join("xl").join(format!("xl-{}.log", domain.name));
        EndWatch { follow: Follow::new(&path) }
    }

    /// Waits for the domain's end; `None` if it still runs after `limit`.
    ///
    /// # Errors
    /// When the lab dies.
    pub fn wait_end(&self, domain: &Domain, limit: Duration) -> Result<Option<Ended>> {
        let mut watch = self.end_watch(domain);
        let until = Instant::now() + limit;
        let mut checks = 0_u32;
        loop {
            if let Some(ended) = watch.ended() {
                return Ok(Some(ended));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            checks += 1;
            if checks.is_multiple_of(100) && !self.alive() {
                return Err(self.explain(Error::new("the lab has ended")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a domain that `xl` destroys at its end is gone, memory and all.
    pub fn wait_gone(&self, domain: &Domain, limit: Duration) -> bool {
        let mut watch = self.end_watch(domain);
        let until = Instant::now() + limit;
        watch.follow.wait_for(until, |line| line.starts_with("Done. Exiting")).is_some()
    }

    /// Asks the toolstack where a domain is in its life.
    ///
    /// # Errors
    /// When the lab dies.
    pub fn domain_state(&self, name: &str) -> Result<State> {
        let output = self.quick("xl list -v", XL_LIMIT)?;
        Ok(state(&output.text(), name))
    }

    /// Destroys a domain; one that is gone already is no error.
    ///
    /// # Errors
    /// When the lab dies.
    pub fn destroy(&self, domain: &Domain) -> Result<()> {
        self.quick(&format!("xl destroy {}", single_quote(&domain.name)), XL_LIMIT).map(|_| ())
    }

    /// Types bytes at the domain's console.
    ///
    /// # Errors
    /// When the domain has no console, or the lab dies.
    pub fn type_at(&self, domain: &Domain, bytes: &[u8]) -> Result<()> {
        let name = format!("typed-{}-{}", domain.name, self.next_number());
        let file = self.share().join(&name);
        std::fs::write(&file, bytes).doing(|| format!("write {}", file.display()))?;
        let id = format!("$(xl domid {})", single_quote(&domain.name));
        self.sh_ok(
            &format!("cat /share/{name} > $(xenstore-read /local/domain/{id}/console/tty)"),
            XL_LIMIT,
        )?;
        // Only tidiness is lost if it stays.
        let _ = std::fs::remove_file(&file);
        Ok(())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown(0) => f.write_str("it powered off"),
            Self::Shutdown(1) => f.write_str("it asked for a reboot or died of a triple fault"),
            Self::Shutdown(3) => f.write_str("it crashed"),
            Self::Shutdown(code) => write!(f, "it shut down with reason code {code}"),
            Self::Destroyed => f.write_str("it was destroyed"),
        }
    }
}

/// Watches for a domain's end.
#[derive(Debug)]
pub struct EndWatch {
    follow: Follow,
}

impl EndWatch {
    /// How the domain ended, as soon as that is known.
    pub fn ended(&mut self) -> Option<Ended> {
        self.follow.lines().iter().find_map(|line| ended(line))
    }
}

/// The reason code of a domain that was suspended: it goes on elsewhere.
const SUSPENDED: u32 = 2;

/// Reads a line of xl's log.
///
/// Such lines are `Domain 3 has shut down, reason code 0 0x0` and `Domain 3 has been destroyed.` A
/// domain that is saved has not ended.
fn ended(line: &str) -> Option<Ended> {
    if let Some((_, rest)) = line.split_once("has shut down, reason code ") {
        let code = rest.split_whitespace().next()?.parse().ok();
        return code.filter(|code| *code != SUSPENDED).map(Ended::Shutdown);
    }
    line.contains("has been destroyed").then_some(Ended::Destroyed)
}

/// Finds a domain in the output of `xl list -v`.
///
/// The columns are name, ID, memory, VCPUs, state, time, UUID, reason code and label; the code is
/// `-` for a domain that has not ended.
fn state(list: &str, name: &str) -> State {
    for line in list.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&name) {
            continue;
        }
        return match words.get(7).and_then(|code| code.parse().ok()) {
            Some(code) if words.get(4).is_some_and(|flags| flags.contains(['s', 'c'])) => {
                State::Shutdown(code)
            }
            _ => State::Running,
        };
    }
    State::Gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_end_from_the_log() {
        let shut = "Domain 3 has shut down, reason code 3 0x3";
        assert_eq!(ended(shut), Some(Ended::Shutdown(3)));
        assert_eq!(ended("Domain 3 has been destroyed."), Some(Ended::Destroyed));
        assert_eq!(ended("Domain 3 has shut down, reason code 2 0x2"), None);
        assert_eq!(ended("Waiting for domain a (domid 3) to die [pid 12]"), None);
    }

    #[test]
    fn reads_the_list() {
        let list = "Name ID Mem VCPUs State Time(s) UUID Reason-Code Security Label\n\
                    Domain-0 0 1024 1 r----- 12.3 0000 - -\n\
                    a 1 16 1 ---s-- 0.1 1111 0 -\n\
                    b 2 16 1 ----c- 0.1 2222 3 -\n\
                    c 3 16 1 -b---- 0.1 3333 - -\n";
        assert_eq!(state(list, "a"), State::Shutdown(0));
        assert_eq!(state(list, "b"), State::Shutdown(3));
        assert_eq!(state(list, "c"), State::Running);
        assert_eq!(state(list, "d"), State::Gone);
    }
}
