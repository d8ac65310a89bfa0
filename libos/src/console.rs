//! The domain's console: text out without ever waiting, typed bytes in.
//!
//! ```text
//!   print ─▶ queue 64 KiB ─▶ ring ─▶ xl console        on Xen, once the ring is attached
//!                       └──▶ early console             on a machine without Xen
//! ```
//!
//! [`print`] drops the oldest lines when the backend does not keep up, and the console says how
//! many. [`Console`] is for apps that must not lose anything: its writes wait for room.

use crate::exec::{self, Wakers};
use core::convert::Infallible;
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use embedded_io_async::{ErrorType, Read, Write as AsyncWrite};
use spin::Mutex;
use xen::console::{Queue, Ring};
use xen::{Hypervisor as _, Native};
use xen_abi::event::EvtchnPort;

/// Bytes of text that may wait for the backend.
const QUEUE_BYTES: usize = 64 << 10;

/// Where text goes once it leaves the queue.
#[repr(u8)] // `None` is 0, so that all of `STATE` is: 64 KiB that need not be in the image.
enum Sink {
    /// Nowhere yet: it waits.
    None,
    /// The console ring, and its port.
    Ring(Ring, EvtchnPort),
    /// The early console of a machine without Xen.
    Early,
}

struct State {
    /// None until there is a heap; what is printed before is dropped.
    queue: Option<Queue>,
    sink: Sink,
    readers: Wakers,
    writers: Wakers,
}

static STATE: Mutex<State> = Mutex::new(State {
    queue: None,
    sink: Sink::None,
    readers: Wakers::new(),
    writers: Wakers::new(),
});

/// Begins to keep what is printed. Needs the heap.
pub(crate) fn start() {
    STATE.lock().queue = Some(Queue::new(QUEUE_BYTES));
}

/// Connects the console: to the ring if there is one, else to the early console.
pub(crate) fn attach(ring: Option<(Ring, EvtchnPort)>) {
    let mut state = STATE.lock();
    state.sink = ring.map_or(Sink::Early, |(ring, port)| Sink::Ring(ring, port));
    state.flush();
}

/// The console's port, for its events; nothing if it has none.
pub(crate) fn port() -> Option<EvtchnPort> {
    match STATE.lock().sink {
        Sink::Ring(_, port) => Some(port),
        _ => None,
    }
}

/// The backend has sent an event: it took text or gave some.
pub(crate) fn on_event() {
    let mut state = STATE.lock();
    state.flush();
    let wakers = state.readers.take().chain(state.writers.take());
    drop(state);
    wakers.for_each(Waker::wake);
}

/// Writes text. Never waits; drops and counts the oldest lines if the backend does not keep up.
pub fn print(text: fmt::Arguments<'_>) {
    // A lock that is held means that printing crashed: the crash report goes the other way.
    if let Some(mut state) = STATE.try_lock() {
        arch::text::format(text, &mut |piece| state.push(piece.as_bytes()));
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

    fn queue_is_empty(&self) -> bool {
        self.queue.as_ref().is_none_or(Queue::is_empty)
    }

    fn room(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::room)
    }

    /// Moves what fits from the queue to where it goes.
    fn flush(&mut self) {
        let Some(queue) = &mut self.queue else { return };
        match &mut self.sink {
            Sink::None => {}
            Sink::Ring(ring, port) => {
                if queue.flush(ring) {
                    notify(*port);
                }
            }
            Sink::Early => queue.drain(|text| {
                boot::early_console(|console| console.write_bytes(text));
            }),
        }
    }
}

/// Tells the backend. An error means that it is gone; the text stays in the ring.
fn notify(port: EvtchnPort) {
    let _ = Native.send(port);
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
        exec::engage();
        poll_fn(|context| {
            let mut state = STATE.lock();
            if let Sink::Ring(ring, port) = &mut state.sink {
                let count = ring.read(to);
                if count > 0 {
                    notify(*port);
                    return Poll::Ready(count);
                }
            }
            state.readers.add(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Writes as many bytes as there is room for; waits until that is at least one, unless `bytes`
    /// is empty.
    ///
    /// # Cancellation
    /// Safe: what was written was returned.
    pub async fn write(&self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        exec::engage();
        poll_fn(|context| {
            let mut state = STATE.lock();
            let count = state.room().min(bytes.len());
            if count == 0 {
                state.writers.add(context.waker());
                return Poll::Pending;
            }
            state.push(&bytes[..count]);
            state.flush();
            Poll::Ready(count)
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
            rest = &rest[self.write(rest).await..];
        }
    }

    /// Waits until all text is in the ring, where the backend finds it whatever becomes of this
    /// domain.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn flush(&self) {
        exec::engage();
        poll_fn(|context| {
            let mut state = STATE.lock();
            state.flush();
            if state.queue_is_empty() {
                return Poll::Ready(());
            }
            state.writers.add(context.waker());
            Poll::Pending
        })
        .await
    }
}

impl ErrorType for Console {
    type Error = Infallible;
}

impl Read for Console {
    async fn read(&mut self, to: &mut [u8]) -> Result<usize, Infallible> {
        Ok(Self::read(self, to).await)
    }
}

impl AsyncWrite for Console {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(Self::write(self, bytes).await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Self::flush(self).await;
        Ok(())
    }
}

/// Writes text for a crash: to the console if it can be had, and always to the early console on
/// Xen.
pub(crate) fn print_crash(text: fmt::Arguments<'_>) {
    arch::text::format(text, &mut |piece| {
        boot::early_console(|console| console.write_bytes(piece.as_bytes()));
        if let Some(mut state) = STATE.try_lock()
            && !matches!(state.sink, Sink::Early)
        {
            state.push(piece.as_bytes());
        }
    });
}

/// One step of flushing for a crash or the end; how many bytes the backend has not taken yet.
pub(crate) fn try_flush() -> usize {
    // A lock that is held is one that a crash interrupted: nothing more can be done.
    let Some(mut state) = STATE.try_lock() else { return 0 };
    state.flush();
    match &state.sink {
        Sink::Ring(ring, _) => state.queue.as_ref().map_or(0, Queue::waiting) + ring.waiting(),
        _ => 0,
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
