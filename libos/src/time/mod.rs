//! Time: points of it, sleeps, limits, beats.
//!
//! ```text
//!   sleep, timeout, Ticker ────────▶ Timers ──first deadline──▶ run loop: how long to sleep
//!   embassy-time ──▶ embassy.rs ──────┘  ▲                         │
//!                                        ╰──────── fire(now) ──────╯
//! ```
//!
//! A sleep does not read the clock to find out whether it is over: the run loop does, once for all,
//! and says so. So no sleep ends early, and all that are over by one reading end in the order of
//! their deadlines.

pub(crate) mod clock;
#[cfg(any(xenios_kernel, test))]
pub(crate) mod embassy;
mod instant;
mod sleep;
#[cfg(test)]
mod tests;
mod ticker;
mod timers;

pub use clock::{since_boot, wall};
pub use core::time::Duration;
pub use instant::Instant;
pub(crate) use instant::nanos;
pub use sleep::{Elapsed, Sleep, sleep, sleep_until, timeout, timeout_at};
pub use ticker::{Ticker, interval};
pub(crate) use timers::Timers;

/// The domain's timers.
#[cfg(not(test))]
pub(crate) fn timers() -> &'static Timers {
    static TIMERS: Timers = Timers::new();
    #[cfg(xenios_kernel)]
    crate::exec::engage();
    &TIMERS
}

/// The test's timers.
#[cfg(test)]
pub(crate) fn timers() -> &'static Timers {
    &crate::exec::testing::world().timers
}
