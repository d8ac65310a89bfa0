//! Finds tasks that run too long without yielding.
//!
//! Two readings of the clock around each poll would tell, but where the hypervisor emulates the
//! time stamp counter a reading leaves for it and costs thousands of instructions: more than most
//! polls. So:
//!
//! - Where a reading is cheap (measured at the start and after a resume) each poll is timed.
//! - Elsewhere a stretch of polls is: as many as a round may have, or fewer before the domain
//!   sleeps. That is one reading, which the timers need anyhow. A stretch of one poll, the usual
//!   one of a domain that reacts to events, tells whose it was. After a slow stretch of several the
//!   next [`CLOSE_POLLS`] polls are timed one by one: a task that is slow again is found out then,
//!   and one that was slow once is not worth the readings.
//!
//! What is measured is time, not work: a domain that is paused during a poll blames the task.

use super::info::Name;
use super::run::Machine;
use crate::time::Instant;
use core::fmt;
use core::time::Duration;

/// Polls that are timed one by one after a slow stretch.
const CLOSE_POLLS: usize = 1024;

/// A reading that takes no longer than this is cheap: a native one takes some 20 ns, an emulated
/// one microseconds.
const CHEAP_NS: u64 = 500;

/// So many warnings at the most ...
const WARNINGS: u32 = 5;
/// ... in so long a time.
const WARNINGS_IN: Duration = Duration::from_secs(1);

/// A task that ran too long.
pub struct SlowPoll {
    /// The task.
    pub name: Name,
    /// How long its poll took.
    pub took: Duration,
    /// Further slow polls since the last warning, of which nothing was said.
    pub unsaid: u32,
}

impl fmt::Display for SlowPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} ran {} ms without yielding", self.name, self.took.as_millis() as u64)?;
        if self.unsaid > 0 {
            write!(f, " ({} more slow polls since the last warning)", self.unsaid)?;
        }
        Ok(())
    }
}

/// How closely it is looked.
pub(super) struct Watch {
    /// Whether a reading of the clock is cheap.
    cheap: bool,
    /// Polls that are still to be timed one by one.
    close_polls: usize,
    /// Since when warnings are counted.
    since: Option<Instant>,
    said: u32,
    unsaid: u32,
}

impl Watch {
    pub(super) const fn new() -> Self {
        Self { cheap: false, close_polls: 0, since: None, said: 0, unsaid: 0 }
    }

    /// Finds out what a reading costs: the least of three, as any one may have been interrupted.
    /// Gives the last of them.
    pub(super) fn measure(&mut self, machine: &impl Machine) -> Instant {
        let mut last = machine.now();
        let mut least_ns = u64::MAX;
        for _ in 0..3 {
            least_ns = least_ns.min(last.advance_to(machine.now()));
        }
        self.cheap = least_ns <= CHEAP_NS;
        last
    }

    /// Whether each poll of a round of so many is timed.
    pub(super) fn is_close(&mut self, polls: usize) -> bool {
        let close = self.cheap || self.close_polls > 0;
        self.close_polls = self.close_polls.saturating_sub(polls);
        close
    }

    /// A stretch that was timed as a whole has taken so long.
    pub(super) fn stretch_took(&mut self, took_ns: u64, limit_ns: u64) {
        if took_ns >= limit_ns {
            self.close_polls = CLOSE_POLLS;
        }
    }

    /// A poll was slow: says so, unless enough was said a moment ago.
    pub(super) fn poll_was_slow(
        &mut self,
        now: Instant,
        took_ns: u64,
        name: Option<Name>,
        machine: &impl Machine,
    ) {
        if self.since.is_none_or(|since| now - since >= WARNINGS_IN) {
            self.since = Some(now);
            self.said = 0;
        }
        let Some(name) = name.filter(|_| self.said < WARNINGS) else {
            self.unsaid = self.unsaid.saturating_add(1);
            return;
        };
        let took = Duration::from_nanos(took_ns);
        machine.warn(&SlowPoll { name, took, unsaid: self.unsaid });
        self.said += 1;
        self.unsaid = 0;
    }
}
