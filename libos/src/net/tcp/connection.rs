//! A connection: smoltcp's socket in a set of its own, and what smoltcp does not keep.

use crate::net::counters::ConnectionCounters;
use crate::net::device::MacAddr;
use crate::net::error::Error;
use crate::time::{Duration, Instant};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::task::{Context, Poll, Waker};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};

/// How a connection behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOptions {
    /// Bytes that the peer may send ahead of what was read: 1 KiB to 1 GiB.
    pub rx_buffer_bytes: usize,
    /// Bytes that can be written ahead of what the peer has acknowledged: 1 KiB to 1 GiB.
    pub tx_buffer_bytes: usize,
    /// Sends small pieces at once, also while others are under way: no Nagle's algorithm (RFC 896).
    pub nodelay: bool,
    /// After how much silence the peer is asked whether it is still there. It is given up after
    /// four questions without an answer.
    pub keep_alive: Option<Duration>,
    /// How long a peer may be silent while it owes an answer.
    pub answer_time: Duration,
    /// How long a peer may take to accept.
    pub connect_time: Duration,
    /// Slows down when segments are lost: Reno (RFC 5681). A link to the next domain may do
    /// without.
    pub congestion_control: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            rx_buffer_bytes: 64 << 10,
            tx_buffer_bytes: 64 << 10,
            nodelay: false,
            keep_alive: None,
            answer_time: Duration::from_secs(300),
            connect_time: Duration::from_secs(60),
            congestion_control: true,
        }
    }
}

impl TcpOptions {
    /// The options with buffers of a size that smoltcp takes.
    fn checked(mut self) -> Self {
        for bytes in [&mut self.rx_buffer_bytes, &mut self.tx_buffer_bytes] {
            *bytes = (*bytes).clamp(1 << 10, 1 << 30);
        }
        self
    }

    /// Bytes of both buffers.
    pub fn buffer_bytes(self) -> usize {
        let checked = self.checked();
        checked.rx_buffer_bytes + checked.tx_buffer_bytes
    }

    /// By how many bits a window of this size is scaled: what smoltcp announces for it.
    pub fn window_scale(self) -> u8 {
        let bits = usize::BITS - self.checked().rx_buffer_bytes.leading_zeros();
        bits.saturating_sub(16) as u8
    }

    /// The window that a first segment announces, which is never scaled.
    pub fn first_window(self) -> u16 {
        u16::try_from(self.checked().rx_buffer_bytes).unwrap_or(u16::MAX)
    }
}

/// Where a connection's packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The station, once it is known.
    pub mac: MacAddr,
    /// Until when that need not be asked again.
    pub until: Instant,
    /// What the neighbours and addresses were when it was asked.
    pub generation: u64,
}

impl NextHop {
    /// Not asked yet.
    pub const UNKNOWN: Self =
        Self { mac: MacAddr([0; 6]), until: Instant::BOOT, generation: u64::MAX };
}

/// A connection.
pub struct Connection {
    pub set: SocketSet<'static>,
    handle: SocketHandle,
    /// Its state when it was last looked at.
    pub state: State,
    options: TcpOptions,
    /// The peer's address.
    pub remote: IpAddr,
    pub next_hop: NextHop,
    /// Bytes of the longest packet on its path, if that is narrower than the link.
    pub mtu_bytes: Option<u16>,
    /// Payload of the segments that a longer one is cut into.
    pub segment_bytes: u16,
    /// When the peer was last heard, or began to owe us an answer; from the next turn on if
    /// unknown.
    pub heard: Option<Instant>,
    /// Whether the app has let go of it.
    pub orphaned: bool,
    /// Until when it goes on without the app, and at the very most.
    pub orphan_until: Option<(Instant, Instant)>,
    /// Why it has ended, unless both sides wanted it to.
    pub end: Option<Error>,
    /// Whether it waits for its turn to send.
    pub queued: bool,
    /// Whether it waits for a neighbour's address.
    pub parked: bool,
    /// The highest number that was sent, and the last acknowledgment.
    pub sent: Option<(u32, u32)>,
    pub counters: ConnectionCounters,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Connection {
    /// A connection that is not open yet.
    pub fn new(options: TcpOptions, remote: IpAddr) -> Self {
        let options = options.checked();
        let buffer = |bytes: usize| SocketBuffer::new(vec![0; bytes]);
        let mut socket =
            Socket::new(buffer(options.rx_buffer_bytes), buffer(options.tx_buffer_bytes));
        socket.set_congestion_control(match options.congestion_control {
            true => CongestionControl::Reno,
            false => CongestionControl::None,
        });
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        let mut connection = Self {
            set,
            handle,
            state: State::Closed,
            options,
            remote,
            next_hop: NextHop::UNKNOWN,
            mtu_bytes: None,
            segment_bytes: 536,
            heard: None,
            orphaned: false,
            orphan_until: None,
            end: None,
            queued: false,
            parked: false,
            sent: None,
            counters: ConnectionCounters::default(),
            reader: None,
            writer: None,
        };
        connection.set_nodelay(options.nodelay);
        connection.set_keep_alive(options.keep_alive);
        connection
    }

    /// smoltcp's socket.
    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// How it behaves.
    pub fn options(&self) -> TcpOptions {
        self.options
    }

    /// Sends small pieces at once, or not.
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.options.nodelay = nodelay;
        self.socket().set_nagle_enabled(!nodelay);
    }

    /// Asks a silent peer whether it is there, or not.
    pub fn set_keep_alive(&mut self, interval: Option<Duration>) {
        self.options.keep_alive = interval;
        let micros =
            interval.map(|interval| u64::try_from(interval.as_micros()).unwrap_or(u64::MAX));
        // More than smoltcp's clock can say is as good as for ever.
        let micros = micros.map(|micros| micros.clamp(1, i64::MAX as u64 / 4));
        self.socket().set_keep_alive(micros.map(smoltcp::time::Duration::from_micros));
    }

    /// How long a silent peer is waited for, as things stand; for ever if it owes nothing.
    fn patience(&mut self) -> Option<Duration> {
        let owes = self.socket().send_queue() > 0;
        match self.socket().state() {
            State::SynSent | State::SynReceived => Some(self.options.connect_time),
            State::FinWait1 | State::Closing | State::LastAck => Some(self.options.answer_time),
            State::Established | State::CloseWait if owes => Some(self.options.answer_time),
            State::Established | State::CloseWait => {
                self.options.keep_alive.map(|interval| interval.saturating_mul(4))
            }
            _ => None,
        }
    }

    /// When to give up, if nothing comes.
    pub fn deadline(&mut self) -> Option<Instant> {
        let patience = self.patience();
        let silence = self.heard.zip(patience).map(|(heard, patience)| heard + patience);
        silence.into_iter().chain(self.orphan_until.map(|(until, _)| until)).min()
    }

    /// The peer has taken something: a connection without its app goes on for longer.
    pub fn extend_orphan(&mut self, until: Instant) {
        if let Some((end, limit)) = self.orphan_until {
            self.orphan_until = Some((until.min(limit).max(end), limit));
        }
    }

    /// Says which bytes a segment of ours took; whether it was sent again.
    pub fn note_sent(&mut self, number: u32, sequence_len: u32, ack: u32) -> bool {
        self.counters.segments_out += 1;
        let end = number.wrapping_add(sequence_len);
        let Some((highest, _)) = self.sent else {
            self.sent = Some((end, ack));
            return false;
        };
        let is_new = end.wrapping_sub(highest) as i32 > 0;
        self.sent = Some((if is_new { end } else { highest }, ack));
        // A question whether the peer is there takes no number that is not taken yet.
        let again = sequence_len > 1 && (number.wrapping_sub(highest) as i32) < 0;
        self.counters.retransmitted += u64::from(again);
        again
    }

    /// Whether a segment of ours may have begun with this number.
    pub fn has_sent(&self, number: u32) -> bool {
        // No window is larger than 1 GiB (RFC 7323, section 2.3).
        self.sent.is_some_and(|(highest, _)| (1..=1 << 30).contains(&highest.wrapping_sub(number)))
    }

    /// Takes the wakers of who can go on.
    pub fn take_wakers(&mut self, changed: bool, wakes: &mut Vec<Waker>) {
        if self.reader.is_some() && (changed || self.socket().can_recv()) {
            wakes.extend(self.reader.take());
        }
        if self.writer.is_some() {
            let socket = self.socket();
            let free = socket.send_capacity() - socket.send_queue();
            // Not for every acknowledgment: a writer that is woken should have something to do.
            if changed || free >= socket.send_capacity() / 3 {
                wakes.extend(self.writer.take());
            }
        }
    }

    /// Has `take` read; it gives how many bytes it has taken, and what it makes of them. [`None`]
    /// at the end of what the peer sends. Also says whether the peer may have to be told of the
    /// room.
    pub fn poll_read<R>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut Socket<'static>) -> Result<(usize, R), RecvError>,
    ) -> Poll<Result<Option<(R, bool)>, Error>> {
        let socket = self.socket();
        if socket.recv_queue() == 0 && socket.may_recv() {
            register(&mut self.reader, context);
            return Poll::Pending;
        }
        // Above half of the window smoltcp has no reason to announce more.
        let announce = socket.recv_queue() > socket.recv_capacity() / 2;
        Poll::Ready(match take(socket) {
            Ok((len, result)) => {
                self.counters.bytes_in += len as u64;
                Ok(Some((result, announce)))
            }
            Err(RecvError::Finished) => Ok(None),
            Err(RecvError::InvalidState) => Err(self.end.unwrap_or(Error::Closed)),
        })
    }

    /// Writes from several pieces, as much as there is room for.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[&[u8]],
    ) -> Poll<Result<usize, Error>> {
        let socket = self.socket();
        if !socket.may_send() {
            return Poll::Ready(Err(self.end.unwrap_or(Error::Closed)));
        }
        let was_empty = socket.send_queue() == 0;
        let mut written = 0;
        for piece in pieces {
            // Only the state can forbid it, which was asked.
            let len = socket.send_slice(piece).unwrap_or(0);
            written += len;
            if len < piece.len() {
                break;
            }
        }
        if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
            register(&mut self.writer, context);
            return Poll::Pending;
        }
        if was_empty {
            self.heard = None;
        }
        self.counters.bytes_out += written as u64;
        Poll::Ready(Ok(written))
    }

    /// Waits until the peer has acknowledged all that was written.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let socket = self.socket();
        if socket.send_queue() == 0 {
            return Poll::Ready(Ok(()));
        }
        if socket.state() == State::Closed {
            return Poll::Ready(Err(self.end.unwrap_or(Error::Closed)));
        }
        register(&mut self.writer, context);
        Poll::Pending
    }

    /// Waits until the peer has accepted, or has not.
    pub fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.socket().state() {
            State::SynSent | State::SynReceived => {
                register(&mut self.writer, context);
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(self.end.unwrap_or(Error::Closed))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Says that no more will be written.
    pub fn close(&mut self) {
        if self.socket().send_queue() == 0 {
            self.heard = None;
        }
        self.socket().close();
    }
}

/// Notes who is to be woken.
fn register(waker: &mut Option<Waker>, context: &mut Context<'_>) {
    if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
        *waker = Some(context.waker().clone());
    }
}
