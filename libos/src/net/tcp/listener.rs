//! Who listens on which port, and the connections that wait to be accepted.

use super::connection::TcpOptions;
use super::{Side, Tcp};
use crate::net::env::Env;
use crate::net::error::Error;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll, Waker};

/// A port that is listened on.
pub struct Listener {
    /// The one address that it is for, or all.
    address: Option<IpAddr>,
    port: u16,
    pub options: TcpOptions,
    backlog: usize,
    /// Connections that wait to be accepted.
    queue: VecDeque<u32>,
    waker: Option<Waker>,
}

impl Listener {
    /// Whether one more connection may wait.
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.backlog
    }

    /// Adds a connection that waits to be accepted.
    pub fn offer(&mut self, number: u32, wakes: &mut Vec<Waker>) {
        self.queue.push_back(number);
        wakes.extend(self.waker.take());
    }
}

impl Tcp {
    /// Listens on a port. `backlog` connections may wait to be accepted.
    pub fn listen(
        &mut self,
        address: Option<IpAddr>,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<u32, Error> {
        if port == 0 {
            return Err(Error::Invalid);
        }
        let same = |number: u32, listeners: &mut crate::exec::slab::Slab<Listener>| {
            listeners.get_mut(number).is_some_and(|known| known.address == address)
        };
        let place = self.ports.partition_point(|&(known, _)| known < port);
        let rivals = self.ports[place..].iter().take_while(|&&(known, _)| known == port);
        if rivals.map(|&(_, number)| number).any(|number| same(number, &mut self.listeners)) {
            return Err(Error::InUse);
        }
        let (queue, backlog) = (VecDeque::new(), backlog.max(1));
        let listener = Listener { address, port, options, backlog, queue, waker: None };
        let number = self.listeners.insert(listener);
        self.ports.insert(place, (port, number));
        Ok(number)
    }

    /// Who listens on an endpoint: who listens on its address before who listens on all.
    pub(super) fn listener_for(&mut self, local: SocketAddr) -> Option<&mut Listener> {
        let place = self.ports.partition_point(|&(port, _)| port < local.port());
        let mut best = None;
        for &(port, number) in &self.ports[place..] {
            if port != local.port() {
                break;
            }
            match self.listeners.get_mut(number)?.address {
                Some(address) if address == local.ip() => {
                    best = Some(number);
                    break;
                }
                Some(_) => {}
                None => best = Some(number),
            }
        }
        self.listeners.get_mut(best?)
    }

    /// Waits for a connection.
    pub fn poll_accept(&mut self, listener: u32, context: &mut Context<'_>) -> Poll<Option<u32>> {
        let Some(listener) = self.listeners.get_mut(listener) else { return Poll::Ready(None) };
        if let Some(number) = listener.queue.pop_front() {
            return Poll::Ready(Some(number));
        }
        if !listener.waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            listener.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// The port that is listened on.
    pub fn listener_port(&mut self, listener: u32) -> u16 {
        self.listeners.get_mut(listener).map_or(0, |listener| listener.port)
    }

    /// Listens no more; gives the connections that nobody will accept.
    pub fn unlisten(&mut self, listener: u32) -> VecDeque<u32> {
        self.ports.retain(|&(_, number)| number != listener);
        self.listeners.remove(listener).map(|listener| listener.queue).unwrap_or_default()
    }

    /// The app lets go of a connection. What was written is still sent.
    pub fn drop_connection(&mut self, number: u32, side: Option<&mut Side>, env: &mut Env<'_>) {
        let Some((_, connection)) = self.connection(number) else { return };
        connection.orphaned = true;
        let unread = connection.socket().recv_queue() > 0;
        let Some(side) = side else {
            return self.remove(number);
        };
        if unread {
            // What the peer has sent is lost, and it should know (RFC 2525, section 2.17).
            return self.abort(number, Error::Closed, side, env);
        }
        connection.close();
        match self.flows.get_mut(number) {
            Some(entry) if !entry.indexed => self.remove(number),
            Some(_) => self.settle(number, side, env, false),
            None => {}
        }
        self.want_turn(number, side);
    }

    /// Queues a connection that may have something to send.
    pub fn want_turn(&mut self, number: u32, side: &mut Side) {
        let Some((_, connection)) = self.connection(number) else { return };
        if !connection.queued && !connection.parked {
            connection.queued = true;
            side.ready.push_back(number);
        }
    }
}
