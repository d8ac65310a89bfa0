//! What apps do with connections.

use super::connection::Connection;
use super::{Side, Tcp};
use crate::net::counters::ConnectionCounters;
use crate::net::env::Env;
use crate::net::error::Error;
use crate::time::Duration;
use alloc::boxed::Box;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use smoltcp::socket::tcp::{RecvError, Socket};

/// A connection that somebody holds is in the table; if it were not, this is what is said of it.
const GONE: Error = Error::Closed;

impl Tcp {
    fn held(&mut self, number: u32) -> Result<&mut Box<Connection>, Error> {
        self.connection(number).map(|(_, connection)| connection).ok_or(GONE)
    }

    /// The interface that a connection goes over.
    pub fn interface_of(&mut self, number: u32) -> u8 {
        self.connection(number).map_or(0, |(key, _)| key.interface())
    }

    /// Both endpoints: ours, and the peer's.
    pub fn endpoints(&mut self, number: u32) -> Option<(SocketAddr, SocketAddr)> {
        self.connection(number).map(|(key, _)| (key.local(), key.remote()))
    }

    /// Reads; 0 at the end of what the peer sends.
    pub fn poll_read(
        &mut self,
        number: u32,
        side: Option<&mut Side>,
        to: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        if to.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let take = |socket: &mut Socket<'static>| socket.recv_slice(to).map(|len| (len, len));
        self.poll_read_with(number, side, context, take).map_ok(|len| len.unwrap_or(0))
    }

    /// Has `take` read where the bytes lie.
    pub fn poll_read_with<R>(
        &mut self,
        number: u32,
        side: Option<&mut Side>,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut Socket<'static>) -> Result<(usize, R), RecvError>,
    ) -> Poll<Result<Option<R>, Error>> {
        let read = match self.held(number)?.poll_read(context, take) {
            Poll::Ready(read) => read?,
            Poll::Pending => return Poll::Pending,
        };
        let Some((result, announce)) = read else { return Poll::Ready(Ok(None)) };
        if announce && let Some(side) = side {
            self.want_turn(number, side);
        }
        Poll::Ready(Ok(Some(result)))
    }

    /// Writes from several pieces, as much as there is room for.
    pub fn poll_write(
        &mut self,
        number: u32,
        side: Option<&mut Side>,
        pieces: &[&[u8]],
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        let written = match self.held(number)?.poll_write(context, pieces) {
            Poll::Ready(written) => written?,
            Poll::Pending => return Poll::Pending,
        };
        if let Some(side) = side {
            self.want_turn(number, side);
        }
        Poll::Ready(Ok(written))
    }

    /// Waits until the peer has acknowledged all that was written.
    pub fn poll_flush(
        &mut self,
        number: u32,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.held(number)?.poll_flush(context)
    }

    /// Waits until the peer has accepted.
    pub fn poll_connected(
        &mut self,
        number: u32,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.held(number)?.poll_connected(context)
    }

    /// Says that no more will be written.
    pub fn shutdown(&mut self, number: u32, side: Option<&mut Side>) {
        if let Ok(connection) = self.held(number) {
            connection.close();
        }
        if let Some(side) = side {
            self.want_turn(number, side);
        }
    }

    /// Ends a connection at once.
    pub fn reset(&mut self, number: u32, side: Option<&mut Side>, env: &mut Env<'_>) {
        if let Some(side) = side {
            self.abort(number, Error::Closed, side, env);
        }
    }

    /// Sends small pieces at once, or not.
    pub fn set_nodelay(&mut self, number: u32, nodelay: bool) {
        if let Ok(connection) = self.held(number) {
            connection.set_nodelay(nodelay);
        }
    }

    /// Asks a silent peer whether it is there, or not.
    pub fn set_keep_alive(
        &mut self,
        number: u32,
        side: Option<&mut Side>,
        interval: Option<Duration>,
    ) {
        if let Ok(connection) = self.held(number) {
            connection.set_keep_alive(interval);
        }
        if let Some(side) = side {
            self.want_turn(number, side);
        }
    }

    /// What a connection has seen.
    pub fn connection_counters(&mut self, number: u32) -> ConnectionCounters {
        self.held(number).map(|connection| connection.counters).unwrap_or_default()
    }
}
