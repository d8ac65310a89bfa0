//! The domain's console: text out without ever waiting, typed bytes in.
//!
//! ```text
//!   print ─▶ queue 64 KiB ─▶ ring ─▶ xl console        on Xen, once the ring is attached
//!                       └──▶ early console             on a machine without Xen
//! ```
//!
//! [`print`] drops the oldest lines when the backend does not keep up, and the console says how
//! many. [`Console`] is for apps that must not lose anything: its writes wait for room.

use core::fmt::{self, Write};
use core::future::poll_fn;
use core::task::{Poll, Waker};
use spin::Mutex;
use xen::Native;
use xen::console::{Queue, Ring};
use xen::evtchn::Channel;

/// Bytes of text that may wait for the backend.
const QUEUE_BYTES: usize = 64 << 10;

/// Where text goes once it leaves the queue.
enum Sink {
    /// Nowhere yet: it waits.
    None,
    /// The console ring.
    Ring(Ring, Channel<Native>),
    /// The early console of a machine without Xen.
    Early,
}

struct State {
    /// None until there is a heap; what is printed before is dropped.
    queue: Option<Queue>,
    sink: Sink,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

static STATE: Mutex<State> =
    Mutex::new(State { queue: None, sink: Sink::None, reader: None, writer: None });

/// Begins to keep what is printed. Needs the heap.
pub(crate) fn start() {
    STATE.lock().queue = Some(Queue::new(QUEUE_BYTES));
}

/// Connects the console: to the ring if there is one, else to the early console.
pub(crate) fn attach(ring: Option<(Ring, Channel<Native>)>) {
    let mut state = STATE.lock();
    state.sink = ring.map_or(Sink::Early, |(ring, channel)| Sink::Ring(ring, channel));
    state.flush();
}

/// Whether the console can still wake anyone.
pub(crate) fn is_attached() -> bool {
    matches!(STATE.lock().sink, Sink::Ring(..))
}

/// Looks whether the backend has sent an event: it took text or gave some.
pub(crate) fn on_event() {
    let mut state = STATE.lock();
    match &state.sink {
        Sink::Ring(_, channel) if channel.take() => {}
        _ => return,
    }
    state.flush();
    let wakers = [state.reader.take(), state.writer.take()];
    drop(state);
    wakers.into_iter().flatten().for_each(Waker::wake);
}

/// Writes text. Never waits; drops and counts the oldest lines if the backend does not keep up.
pub fn print(text: fmt::Arguments<'_>) {
    // A lock that is held means that printing crashed: the crash report goes the other way.
    if let Some(mut state) = STATE.try_lock() {
        // `State` accepts any text.
        let _ = state.write_fmt(text);
        state.flush();
    }
}

/// Writes text and a newline, as [`print`] does.
pub fn print_line(text: fmt::Arguments<'_>) {
    print(format_args!("{text}\n"));
}

impl State {
    fn push(&mut self, text: &[u8]) {
        if let Some(queue) = &mut self.queue {
            queue.push(text);
        }
    }

    fn room(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::room)
    }

    /// Moves what fits from the queue to where it goes.
    fn flush(&mut self) {
        let Some(queue) = &mut self.queue else { return };
        match &mut self.sink {
            Sink::None => {}
            Sink::Ring(ring, channel) => {
                if queue.flush(ring) {
                    notify(channel);
                }
            }
            Sink::Early => queue.drain(|text| {
                boot::early_console(|console| console.write_bytes(text));
            }),
        }
    }
}

impl Write for State {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Tells the backend. An error means that it is gone; the text stays in the ring.
fn notify(channel: &Channel<Native>) {
    let _ = channel.notify();
}

/// The console as a stream of bytes, for apps.
///
/// There is one console: all handles share it. Bytes typed are given to whoever reads first.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Console;

impl Console {
    /// The domain's console.
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Waits for typed bytes and takes as many as fit; at least one, unless `to` is empty.
    ///
    /// # Cancellation
    /// Safe: nothing is taken unless it is returned.
    pub async fn read(&self, to: &mut [u8]) -> usize {
        if to.is_empty() {
            return 0;
        }
        poll_fn(|context| {
            let mut state = STATE.lock();
            if let Sink::Ring(ring, channel) = &mut state.sink {
                let count = ring.read(to);
                if count > 0 {
                    notify(channel);
                    return Poll::Ready(count);
                }
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Writes all of `bytes`, waiting for the backend instead of dropping anything.
    ///
    /// # Cancellation
    /// What was written before stays written.
    pub async fn write_all(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = poll_fn(|context| {
                let mut state = STATE.lock();
                let count = state.room().min(rest.len());
                if count > 0 {
                    state.push(&rest[..count]);
                    state.flush();
                    return Poll::Ready(count);
                }
                state.writer = Some(context.waker().clone());
                Poll::Pending
            });
            rest = &rest[written.await..];
        }
    }
}

/// Text for a crash: to the console if it can be had, and always to the early console on Xen.
pub(crate) struct CrashWriter;

impl Write for CrashWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        boot::early_console(|console| console.write_bytes(text.as_bytes()));
        if let Some(mut state) = STATE.try_lock()
            && !matches!(state.sink, Sink::Early)
        {
            state.push(text.as_bytes());
        }
        Ok(())
    }
}

/// One step of flushing for a crash or the end; whether there is nothing (more) to wait for.
pub(crate) fn try_flush() -> bool {
    match STATE.try_lock() {
        Some(mut state) => {
            state.flush();
            match &state.sink {
                Sink::Ring(ring, _) => {
                    state.queue.as_ref().is_none_or(Queue::is_empty) && ring.is_drained()
                }
                _ => true,
            }
        }
        None => true,
    }
}

/// Writes to the console like `std`'s `print!`.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::console::print(::core::format_args!($($text)*)) };
}

/// Writes a line to the console like `std`'s `println!`.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(::core::format_args!("\n")) };
    ($($text:tt)*) => { $crate::console::print_line(::core::format_args!($($text)*)) };
}
