//! The error of the host side: what happened, and what the user can do about it.
//!
//! Every failure ends up in front of somebody who typed a command, so an [`Error`] is two texts:
//! the message, and (where there is something to be done) the help. Callers add context with
//! [`Context`].

use std::fmt;

/// A failure, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    help: Option<String>,
    status: u8,
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that says `what` happened.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), help: None, status: 1 }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the exit status of a tool that ends with this error (1 unless said otherwise).
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// What happened.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do next, where that is known.
    pub fn what_to_do(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The exit status for this error.
    pub fn exit_status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// Turns a foreign error into an [`Error`] that says what was being done.
pub trait Context<T> {
    /// `doing` completes the sentence "cannot …".
    ///
    /// # Errors
    /// The error it was called on, with the sentence in front.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(format!("cannot {}: {error}", doing())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_makes_a_sentence() {
        let result: std::result::Result<(), &str> = Err("no such file");
        let error = result.doing(|| "read x".into()).unwrap_err();
        assert_eq!(error.what(), "cannot read x: no such file");
        assert_eq!(error.exit_status(), 1);
        assert_eq!(error.help("make x").what_to_do(), Some("make x"));
    }
}
