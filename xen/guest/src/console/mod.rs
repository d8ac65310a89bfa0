//! The console: a ring shared with xenconsoled, and the bounded queue in front of it.
//!
//! ```text
//!   log, print ──▶ Queue (drops oldest lines, counts) ──▶ Ring::write ──▶ xenconsoled ──▶ screen
//!   app ◀── Ring::read ◀── keyboard
//! ```
//!
//! Nothing here waits. The backend takes its time (it lets a guest through about 30 times in
//! 200 ms) or is not there at all; the queue gives way, not the guest.

mod queue;
mod ring;

pub use queue::Queue;
pub use ring::Ring;
