//! UDP: sockets by port, each with a queue of what has come in. What goes out is not queued: see
//! [`super::interface`].

use super::counters::InterfaceCounters;
use super::device::RxChecksum;
use super::env::Env;
use super::error::Error;
use super::hash::Secret;
use super::waiters::Waiters;
use super::wire::ip::Packet;
use super::wire::udp::Datagram;
use crate::exec::slab::Slab;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::task::{Context, Poll};
use smoltcp::storage::{PacketBuffer, PacketMetadata};

/// How a socket behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpOptions {
    /// Bytes that may wait to be received.
    pub queue_bytes: usize,
    /// Datagrams that may wait to be received.
    pub queue_datagrams: usize,
}

/// Who sent a datagram, and to which address of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The sender.
    pub from: SocketAddr,
    /// The address that it was sent to; answers should come from there.
    pub to: IpAddr,
}

struct Socket {
    /// The one address that it is for, or all.
    address: Option<IpAddr>,
    port: u16,
    /// The one peer that it hears, or all.
    peer: Option<SocketAddr>,
    queue: PacketBuffer<'static, Origin>,
    readers: Waiters,
}

impl Socket {
    /// How well a datagram fits; [`None`] if it is not for this socket.
    fn fitness(&self, to: IpAddr, from: SocketAddr) -> Option<u8> {
        let address = match self.address {
            Some(address) if address != to => return None,
            address => u8::from(address.is_some()),
        };
        match self.peer {
            Some(peer) if !is_same(peer, from) => None,
            peer => Some(address + 2 * u8::from(peer.is_some())),
        }
    }
}

/// Whether two endpoints are the same, whatever their scopes are called.
fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip(), a.port()) == (b.ip(), b.port())
}

/// An endpoint as apps see it: link-local addresses say which link.
pub fn endpoint(address: IpAddr, port: u16, interface: u8) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, u32::from(interface) + 1).into()
        }
        _ => SocketAddr::new(address, port),
    }
}

/// The interface that an endpoint names, by [`endpoint`].
pub fn interface_of(endpoint: SocketAddr) -> Option<u8> {
    match endpoint {
        SocketAddr::V6(v6) => u8::try_from(v6.scope_id().checked_sub(1)?).ok(),
        SocketAddr::V4(_) => None,
    }
}

/// All sockets.
pub struct Udp {
    sockets: Slab<Socket>,
    /// Ports and whose they are, in the order of ports.
    ports: Vec<(u16, u32)>,
    /// Makes each search for a port begin elsewhere.
    searches: u64,
}

impl Udp {
    /// No sockets yet.
    pub fn new() -> Self {
        Self { sockets: Slab::new(), ports: Vec::new(), searches: 0 }
    }

    /// Opens a socket. Port 0 stands for any that is free.
    pub fn bind(
        &mut self,
        address: Option<IpAddr>,
        port: u16,
        peer: Option<SocketAddr>,
        options: UdpOptions,
        secret: &Secret,
    ) -> Result<u32, Error> {
        let port = match port {
            0 => self.free_port(secret).ok_or(Error::InUse)?,
            port if self.is_used(address, port, peer) => return Err(Error::InUse),
            port => port,
        };
        let metadata = vec![PacketMetadata::EMPTY; options.queue_datagrams.max(1)];
        let queue = PacketBuffer::new(metadata, vec![0; options.queue_bytes.max(1)]);
        let socket = Socket { address, port, peer, queue, readers: Waiters::default() };
        let number = self.sockets.insert(socket);
        let place = self.ports.partition_point(|&(known, _)| known < port);
        self.ports.insert(place, (port, number));
        Ok(number)
    }

    /// Closes a socket.
    pub fn close(&mut self, number: u32) {
        self.ports.retain(|&(_, known)| known != number);
        self.sockets.remove(number);
    }

    /// A socket's port.
    pub fn port(&mut self, number: u32) -> u16 {
        self.sockets.get_mut(number).map_or(0, |socket| socket.port)
    }

    /// The address that a socket is for, unless that is all.
    pub fn address(&mut self, number: u32) -> Option<IpAddr> {
        self.sockets.get_mut(number)?.address
    }

    /// Takes a datagram; whether somebody waits for such.
    pub fn receive(
        &mut self,
        packet: &Packet<'_>,
        checksum: RxChecksum,
        interface: u8,
        counters: &mut InterfaceCounters,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(datagram) = Datagram::parse(packet.payload()) else {
            counters.malformed += 1;
            return true;
        };
        let from = endpoint(packet.source, datagram.source_port, interface);
        let Some(number) = self.find(packet.dest, datagram.dest_port, from) else { return false };
        let Some(socket) = self.sockets.get_mut(number) else { return false };
        let unverified = checksum == RxChecksum::Unverified;
        if unverified && !datagram.is_valid(packet.source, packet.dest) {
            counters.bad_checksum += 1;
            return true;
        }
        let origin = Origin { from, to: packet.dest };
        let payload = datagram.payload();
        match socket.queue.enqueue(payload.len(), origin) {
            Ok(bytes) => bytes.copy_from_slice(payload),
            Err(_) => counters.queue_full += 1,
        }
        socket.readers.wake(env.wakes);
        true
    }

    /// Receives a datagram, the one that has waited for the longest. What does not fit is lost.
    pub fn poll_receive(
        &mut self,
        number: u32,
        to: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<Result<(usize, Origin), Error>> {
        let Some(socket) = self.sockets.get_mut(number) else {
            return Poll::Ready(Err(Error::Closed));
        };
        match socket.queue.dequeue() {
            Ok((origin, payload)) => match to.get_mut(..payload.len()) {
                Some(to) => {
                    to.copy_from_slice(payload);
                    Poll::Ready(Ok((payload.len(), origin)))
                }
                None => Poll::Ready(Err(Error::TooLong)),
            },
            Err(_) => {
                socket.readers.add(context);
                Poll::Pending
            }
        }
    }

    fn find(&mut self, to: IpAddr, port: u16, from: SocketAddr) -> Option<u32> {
        let place = self.ports.partition_point(|&(known, _)| known < port);
        let candidates = self.ports[place..].iter().take_while(|&&(known, _)| known == port);
        let fitting = candidates.filter_map(|&(_, number)| {
            Some((self.sockets.get_mut(number)?.fitness(to, from)?, number))
        });
        fitting.max_by_key(|&(fitness, _)| fitness).map(|(_, number)| number)
    }

    fn is_used(&mut self, address: Option<IpAddr>, port: u16, peer: Option<SocketAddr>) -> bool {
        let place = self.ports.partition_point(|&(known, _)| known < port);
        let rivals = self.ports[place..].iter().take_while(|&&(known, _)| known == port);
        rivals.map(|&(_, number)| number).any(|number| {
            self.sockets
                .get_mut(number)
                .is_some_and(|socket| socket.address == address && socket.peer == peer)
        })
    }

    /// A port that nobody has, which cannot be guessed (RFC 6056).
    fn free_port(&mut self, secret: &Secret) -> Option<u16> {
        const PORTS: u64 = 16_384;
        self.searches += 1;
        let start = secret.number(0x7564_7000, [self.searches, 0, 0, 0]);
        let port = |n: u64| 49_152 + (start.wrapping_add(n) % PORTS) as u16;
        (0..PORTS).map(port).find(|port| self.ports.binary_search_by_key(port, |p| p.0).is_err())
    }
}
