//! What can be told about a task: its name, where it is in its life, what it waits for.

use crate::time::Instant;
use alloc::borrow::Cow;
use core::fmt;
use core::panic::Location;
use core::time::Duration;

/// Which task, for ever: identities are not used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub(super) u64);

/// What a task is called.
#[derive(Clone)]
pub enum Name {
    /// As it was named.
    Given(Cow<'static, str>),
    /// By the place where it was spawned.
    Place(&'static Location<'static>),
}

/// Where a task is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskState {
    /// It is being polled.
    Running,
    /// It was woken and will be polled.
    Queued,
    /// It waits to be woken.
    Waiting,
}

/// One line of the task list.
#[derive(Clone)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Which task.
    pub id: TaskId,
    /// Its name.
    pub name: Name,
    /// Where it is in its life.
    pub state: TaskState,
    /// How often it was polled.
    pub polls: u64,
    /// How long its polls took in all; known if each of them was timed.
    pub run_time: Option<Duration>,
    /// What it waits for, if it said so.
    pub reason: Option<&'static str>,
    /// When it will be woken at the latest, if it sleeps.
    pub until: Option<Instant>,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(name) => f.write_str(name),
            Self::Place(place) => write!(f, "{}:{}", place.file(), place.line()),
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
        })
    }
}

impl fmt::Display for TaskInfo {
    /// As in `7 conn 3: waiting for the console until 12.500000, 41 polls, 120 us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.id, self.name, self.state)?;
        if self.state == TaskState::Waiting {
            if let Some(reason) = self.reason {
                write!(f, " for {reason}")?;
            }
            if let Some(until) = self.until {
                write!(f, " until {until}")?;
            }
        }
        write!(f, ", {} polls", self.polls)?;
        if let Some(run_time) = self.run_time {
            write!(f, ", {} us", run_time.as_micros() as u64)?;
        }
        Ok(())
    }
}
