//! TCP as apps see it: listeners, streams, and their halves.

use super::Net;
use super::counters::ConnectionCounters;
use super::env::Env;
use super::error::Error;
use super::tcp::{Side, Tcp};
use crate::time::Duration;
use alloc::sync::Arc;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A port that is listened on. Dropping it ends the connections that nobody has accepted.
pub struct TcpListener {
    net: Net,
    number: u32,
}

impl TcpListener {
    pub(super) fn new(net: Net, number: u32) -> Self {
        Self { net, number }
    }

    /// The next connection, the one that has waited for the longest.
    ///
    /// # Errors
    /// None as of now: a stack has no end.
    ///
    /// # Cancellation
    /// Safe: a connection that is not given out waits for the next call.
    pub async fn accept(&mut self) -> Result<TcpStream, Error> {
        let number =
            poll_fn(|context| self.net.with(|stack| stack.tcp.poll_accept(self.number, context)));
        match number.await {
            Some(number) => Ok(TcpStream::new(self.net.clone(), number)),
            None => Err(Error::Closed),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.net.with(|stack| stack.tcp.listener_port(self.number))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let waiting = self.net.with(|stack| stack.tcp.unlisten(self.number));
        for number in waiting {
            // Nobody has promised them anything, so they end without ceremony.
            let connection = Held { net: self.net.clone(), number };
            connection.reset();
        }
    }
}

/// A connection that somebody holds; it goes on without its app if it is dropped.
struct Held {
    net: Net,
    number: u32,
}

impl Held {
    /// Does something with the connection, its interface and the rest.
    fn with<R>(&self, act: impl FnOnce(&mut Tcp, Option<&mut Side>, &mut Env<'_>) -> R) -> R {
        self.net.with(|stack| {
            let id = stack.tcp.interface_of(self.number);
            let (side, tcp, mut env) = stack.tcp_parts(id);
            let result = act(tcp, side, &mut env);
            stack.turn_if_ready(id);
            result
        })
    }

    fn endpoints(&self) -> (SocketAddr, SocketAddr) {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        self.net.with(|stack| stack.tcp.endpoints(self.number)).unwrap_or((nowhere, nowhere))
    }

    fn read(&self, to: &mut [u8]) -> impl Future<Output = Result<usize, Error>> {
        poll_fn(move |context| {
            self.with(|tcp, side, _| tcp.poll_read(self.number, side, to, context))
        })
    }

    fn write(&self, pieces: &[&[u8]]) -> impl Future<Output = Result<usize, Error>> {
        poll_fn(move |context| {
            self.with(|tcp, side, _| tcp.poll_write(self.number, side, pieces, context))
        })
    }

    async fn flush(&self) -> Result<(), Error> {
        poll_fn(|context| self.net.with(|stack| stack.tcp.poll_flush(self.number, context))).await
    }

    fn shutdown(&self) {
        self.with(|tcp, side, _| tcp.shutdown(self.number, side));
    }

    fn reset(&self) {
        self.with(|tcp, side, env| tcp.reset(self.number, side, env));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.with(|tcp, side, env| tcp.drop_connection(self.number, side, env));
    }
}

/// A TCP connection.
///
/// Dropping it (or both halves of it) closes it: what was written is still sent, for
/// [`super::Limits::orphan_time`] at most. If something that the peer has sent was not read, or
/// more comes, the peer is told that it is lost: a reset.
pub struct TcpStream {
    held: Arc<Held>,
}

impl TcpStream {
    pub(super) fn new(net: Net, number: u32) -> Self {
        Self { held: Arc::new(Held { net, number }) }
    }

    /// Waits until the peer has accepted.
    pub(super) async fn connected(self) -> Result<Self, Error> {
        let number = self.held.number;
        poll_fn(|context| self.held.net.with(|stack| stack.tcp.poll_connected(number, context)))
            .await?;
        Ok(self)
    }

    /// Our endpoint.
    pub fn local_addr(&self) -> SocketAddr {
        self.held.endpoints().0
    }

    /// The peer's endpoint.
    pub fn peer_addr(&self) -> SocketAddr {
        self.held.endpoints().1
    }

    /// Reads what has come, at least a byte; 0 at the end of what the peer sends.
    ///
    /// # Errors
    /// When the connection has ended in another way.
    ///
    /// # Cancellation
    /// Safe: nothing is taken before it is given.
    pub fn read(&mut self, to: &mut [u8]) -> impl Future<Output = Result<usize, Error>> {
        self.held.read(to)
    }

    /// Writes as much as there is room for, at least a byte; how much.
    ///
    /// # Errors
    /// When the connection has ended, or after [`Self::shutdown`].
    ///
    /// # Cancellation
    /// Safe: nothing is written before this is ready.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.held.write(&[bytes]).await
    }

    /// Writes from several pieces, one after the other, as much as there is room for; how much.
    ///
    /// # Errors
    /// As [`Self::write`].
    ///
    /// # Cancellation
    /// As [`Self::write`].
    pub fn write_vectored(
        &mut self,
        pieces: &[&[u8]],
    ) -> impl Future<Output = Result<usize, Error>> {
        self.held.write(pieces)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As [`Self::write`]; how much was written before is not known.
    ///
    /// # Cancellation
    /// Some of it may have been written.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        write_all(&self.held, bytes).await
    }

    /// Waits until the peer has acknowledged all that was written.
    ///
    /// # Errors
    /// When the connection ends before.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.held.flush().await
    }

    /// Says that no more will be written. The peer sees the end after all that was; reading goes
    /// on.
    pub fn shutdown(&mut self) {
        self.held.shutdown();
    }

    /// Ends the connection at once: what was not sent is lost, and the peer sees a reset.
    pub fn abort(self) {
        self.held.reset();
    }

    /// Sends small pieces at once, also while others are under way, or not (Nagle's algorithm).
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.held.net.with(|stack| stack.tcp.set_nodelay(self.held.number, nodelay));
    }

    /// After how much silence the peer is asked whether it is still there, if at all. After four
    /// questions without an answer the connection has [`Error::TimedOut`].
    pub fn set_keep_alive(&mut self, interval: Option<Duration>) {
        self.held.with(|tcp, side, _| tcp.set_keep_alive(self.held.number, side, interval));
    }

    /// What it has seen.
    pub fn counters(&self) -> ConnectionCounters {
        self.held.net.with(|stack| stack.tcp.connection_counters(self.held.number))
    }

    /// Sends back all that comes, until the peer has no more to send.
    ///
    /// # Errors
    /// When the connection ends before.
    ///
    /// # Cancellation
    /// Some bytes may have been taken and not sent back.
    pub async fn copy_to_self(&mut self) -> Result<u64, Error> {
        let mut buffer = [0; 2048];
        let mut total = 0;
        loop {
            let len = self.read(&mut buffer).await?;
            if len == 0 {
                return Ok(total);
            }
            self.write_all(&buffer[..len]).await?;
            total += len as u64;
        }
    }

    /// Both directions, for two tasks. The connection is closed once both are dropped, and nothing
    /// more is written once the writing half is.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        (ReadHalf { held: self.held.clone() }, WriteHalf { held: self.held })
    }
}

/// What a stream reads from.
pub struct ReadHalf {
    held: Arc<Held>,
}

impl ReadHalf {
    /// As [`TcpStream::read`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Safe.
    pub fn read(&mut self, to: &mut [u8]) -> impl Future<Output = Result<usize, Error>> {
        self.held.read(to)
    }
}

/// What a stream writes to.
pub struct WriteHalf {
    held: Arc<Held>,
}

impl WriteHalf {
    /// As [`TcpStream::write`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.held.write(&[bytes]).await
    }

    /// As [`TcpStream::write_vectored`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Safe.
    pub fn write_vectored(
        &mut self,
        pieces: &[&[u8]],
    ) -> impl Future<Output = Result<usize, Error>> {
        self.held.write(pieces)
    }

    /// As [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Some of it may have been written.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        write_all(&self.held, bytes).await
    }

    /// As [`TcpStream::flush`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.held.flush().await
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.held.shutdown();
    }
}

async fn write_all(held: &Held, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let len = held.write(&[bytes]).await?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}
