//! Tells the user what is going on: moving bars on a terminal, plain lines elsewhere.
//!
//! All of it goes to standard error, so that standard output belongs to the guest.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A sequence of steps, one running at a time.
pub struct Progress {
    terminal: bool,
    silent: bool,
    current: Mutex<Option<Step>>,
}

struct Step {
    text: String,
    bar: ProgressBar,
    since: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Reports on standard error.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), silent: false, current: Mutex::new(None) }
    }

    /// Reports nothing.
    pub fn silent() -> Self {
        Self { terminal: false, silent: true, current: Mutex::new(None) }
    }

    /// Begins a step; one that was running has ended well.
    pub fn step(&self, text: impl Into<String>) {
        self.end();
        if self.silent {
            return;
        }
        let text = text.into();
        let bar = if self.terminal {
            let bar = ProgressBar::new_spinner().with_message(text.clone());
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            eprintln!("{text} ...");
            ProgressBar::hidden()
        };
        *self.lock() = Some(Step { text, bar, since: Instant::now() });
    }

    /// Says how far the step is, in percent.
    pub fn percent(&self, percent: f64) {
        if let Some(step) = &*self.lock()
            && self.terminal
        {
            if step.bar.length() != Some(1000) {
                step.bar.set_length(1000);
                step.bar.set_style(style("{spinner} {msg} {wide_bar} {percent}% {elapsed}"));
            }
            // The cast saturates, and a bar cannot do anything wrong.
            step.bar.set_position((percent * 10.0).clamp(0.0, 1000.0) as u64);
        }
    }

    /// Ends the step; a terminal shows how long it took.
    pub fn end(&self) {
        if let Some(step) = self.lock().take() {
            step.bar.finish_and_clear();
            let seconds = step.since.elapsed().as_secs_f64();
            if self.terminal {
                eprintln!("{} ({seconds:.1} s)", step.text);
            }
        }
    }

    /// Ends the step without a word, because it failed or was of no interest.
    pub fn abandon(&self) {
        if let Some(step) = self.lock().take() {
            step.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Step>> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
