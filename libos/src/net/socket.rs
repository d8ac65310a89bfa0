//! UDP as apps see it.

use super::Net;
use super::egress::Sent;
use super::error::Error;
use super::stack::Stack;
use super::udp::{Origin, interface_of};
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll};

/// A UDP socket. Several tasks may use it at once.
pub struct UdpSocket {
    net: Net,
    number: u32,
    /// The one peer that it speaks with, or any.
    peer: Option<SocketAddr>,
}

impl UdpSocket {
    pub(super) fn new(net: Net, number: u32, peer: Option<SocketAddr>) -> Self {
        Self { net, number, peer }
    }

    /// Our port.
    pub fn port(&self) -> u16 {
        self.net.with(|stack| stack.udp.port(self.number))
    }

    /// The one peer that it speaks with.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The next datagram: its length, and whose it is.
    ///
    /// # Errors
    /// [`Error::TooLong`] if it does not fit; it is lost then.
    ///
    /// # Cancellation
    /// Safe: nothing is taken before it is given.
    pub fn receive(&self, to: &mut [u8]) -> impl Future<Output = Result<(usize, Origin), Error>> {
        poll_fn(move |context| {
            self.net.with(|stack| stack.udp.poll_receive(self.number, to, context))
        })
    }

    /// Sends a datagram, once the device has room for it.
    ///
    /// # Errors
    /// When there is no way to the destination, no address to send from, or it is too long.
    ///
    /// # Cancellation
    /// Safe: it is sent whole or not at all.
    pub fn send_to(
        &self,
        bytes: &[u8],
        dest: SocketAddr,
    ) -> impl Future<Output = Result<(), Error>> {
        self.send(bytes, dest, None)
    }

    /// Answers a datagram: from the address that it was sent to.
    ///
    /// # Errors
    /// As [`Self::send_to`].
    ///
    /// # Cancellation
    /// Safe.
    pub fn answer(&self, bytes: &[u8], origin: &Origin) -> impl Future<Output = Result<(), Error>> {
        self.send(bytes, origin.from, Some(origin.to))
    }

    fn send(
        &self,
        bytes: &[u8],
        dest: SocketAddr,
        source: Option<IpAddr>,
    ) -> impl Future<Output = Result<(), Error>> {
        poll_fn(move |context| {
            self.net.with(|stack| self.poll_send(stack, bytes, dest, source, context))
        })
    }

    fn poll_send(
        &self,
        stack: &mut Stack,
        bytes: &[u8],
        dest: SocketAddr,
        source: Option<IpAddr>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if dest.port() == 0 || dest.ip().is_unspecified() {
            return Poll::Ready(Err(Error::Invalid));
        }
        let (id, chosen) = stack.route(dest)?;
        let own = source.or(stack.udp.address(self.number));
        // To a group's datagram one answers from an address of one's own.
        let own = own.and_then(|address| Some((stack.interface_with(address)?, address)));
        let (id, source) = match own {
            Some((own_id, source)) if source.is_ipv4() == dest.is_ipv4() => {
                (if interface_of(dest).is_some() { id } else { own_id }, source)
            }
            _ => (id, chosen),
        };
        let port = stack.udp.port(self.number);
        let (interface, mut env) = stack.interface_parts(id);
        let Some(interface) = interface else { return Poll::Ready(Err(Error::NoRoute)) };
        let sent = interface.send_udp((source, port), (dest.ip(), dest.port()), bytes, &mut env)?;
        if sent == Sent::NoRoom {
            interface.inner.senders.add(context);
            return Poll::Pending;
        }
        stack.ask_for_turn();
        Poll::Ready(Ok(()))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.net.with(|stack| stack.udp.close(self.number));
    }
}
