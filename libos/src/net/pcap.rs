//! Packet capture: copies of all frames of an interface, as a pcap file that any sink can take.
//!
//! ```text
//!   port ── note(frame) ──▶ [ record | record | … ]  bounded ──▶ Capture::write_to(console, …)
//!                             no room: counted as lost, never waited for
//! ```
//!
//! The file format is that of libpcap (draft-ietf-opsawg-pcap), with nanoseconds since boot.

use super::wire::{ip, tcp};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use embedded_io_async::Write;
use spin::Mutex;

/// What is captured, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureOptions {
    /// Bytes of each frame that are kept.
    pub snap_bytes: usize,
    /// Bytes that wait for the sink at most.
    pub ring_bytes: usize,
    /// A TCP port whose segments are left out: the one that the capture itself is sent over.
    pub except_port: Option<u16>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self { snap_bytes: 65_549, ring_bytes: 256 << 10, except_port: None }
    }
}

/// What has been captured and not been read yet.
struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    lost: u64,
    reader: Option<Waker>,
    /// Whether the interface is gone.
    ended: bool,
}

/// Where an interface puts copies of its frames.
pub struct Tap {
    ring: Arc<Mutex<Ring>>,
    options: CaptureOptions,
    /// What all frames until the next turn are stamped with.
    pub now: Instant,
}

impl Tap {
    /// Puts a copy of a frame in the ring, unless that is full.
    pub fn note(&mut self, header: &[u8], packet: &[u8]) {
        if self.options.except_port.is_some_and(|port| uses_port(packet, port)) {
            return;
        }
        let len = header.len() + packet.len();
        let kept = len.min(self.options.snap_bytes);
        let mut ring = self.ring.lock();
        if ring.capacity - ring.bytes.len().min(ring.capacity) < RECORD_HEADER_BYTES + kept {
            ring.lost += 1;
            return;
        }
        let ns = self.now.as_nanos();
        let fields = [ns / 1_000_000_000, ns % 1_000_000_000, kept as u64, len as u64];
        for field in fields {
            ring.bytes.extend((field as u32).to_le_bytes());
        }
        let kept_of_packet = &packet[..kept.saturating_sub(header.len()).min(packet.len())];
        ring.bytes.extend(&header[..kept.min(header.len())]);
        ring.bytes.extend(kept_of_packet);
    }

    /// Wakes who reads, at the end of a turn.
    pub fn wake(&mut self, wakes: &mut alloc::vec::Vec<Waker>) {
        let mut ring = self.ring.lock();
        if !ring.bytes.is_empty() {
            wakes.extend(ring.reader.take());
        }
    }

    /// Whether anybody still reads.
    pub fn is_read(&self) -> bool {
        Arc::strong_count(&self.ring) > 1
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut ring = self.ring.lock();
        ring.ended = true;
        let reader = ring.reader.take();
        drop(ring);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Bytes before each frame.
const RECORD_HEADER_BYTES: usize = 16;

/// Whether a packet is a TCP segment from or to a port.
fn uses_port(packet: &[u8], port: u16) -> bool {
    let parsed = match packet.first().map(|byte| byte >> 4) {
        Some(4) => ip::Packet::parse_ipv4(packet),
        Some(6) => ip::Packet::parse_ipv6(packet),
        _ => None,
    };
    let header = parsed
        .filter(|packet| packet.protocol == super::wire::protocol::TCP)
        .and_then(|packet| tcp::Header::parse(packet.payload()));
    header.is_some_and(|header| header.source_port == port || header.dest_port == port)
}

/// A capture: the bytes of a pcap file that grows. It ends when it is dropped.
pub struct Capture {
    ring: Arc<Mutex<Ring>>,
}

impl Capture {
    /// A capture and what feeds it.
    pub(super) fn new(options: CaptureOptions) -> (Self, Tap) {
        // Magic for nanoseconds, version 2.4, time zone, accuracy, length, link type Ethernet.
        let words = [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, options.snap_bytes as u32, 1];
        let bytes: VecDeque<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        let capacity = options.ring_bytes.max(bytes.len());
        let ring = Ring { bytes, capacity, lost: 0, reader: None, ended: false };
        let ring = Arc::new(Mutex::new(ring));
        (Self { ring: ring.clone() }, Tap { ring, options, now: Instant::BOOT })
    }

    /// Frames that found no room.
    pub fn lost(&self) -> u64 {
        self.ring.lock().lost
    }

    /// Reads on in the file, as many bytes as there are; 0 once the interface is gone.
    ///
    /// # Cancellation
    /// Safe: nothing is taken before it is ready.
    pub async fn read(&mut self, to: &mut [u8]) -> usize {
        poll_fn(|context| {
            let mut ring = self.ring.lock();
            let mut len = 0;
            for (to, from) in to.iter_mut().zip(ring.bytes.iter()) {
                *to = *from;
                len += 1;
            }
            ring.bytes.drain(..len);
            if len > 0 || ring.ended || to.is_empty() {
                return Poll::Ready(len);
            }
            if !ring.reader.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                ring.reader = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Writes all that is captured to a sink, until the interface is gone.
    ///
    /// # Errors
    /// Those of the sink; what was read before is lost.
    ///
    /// # Cancellation
    /// What was read and not written yet is lost.
    pub async fn write_to<W: Write>(&mut self, sink: &mut W) -> Result<(), W::Error> {
        let mut buffer = [0; 512];
        loop {
            let len = self.read(&mut buffer).await;
            if len == 0 {
                return sink.flush().await;
            }
            sink.write_all(&buffer[..len]).await?;
        }
    }
}
