//! After something has happened to a connection: what follows from the state that it is in now. And
//! what a connection does when its turn or its time has come.

use super::connection::NextHop;
use super::engine::Outlet;
use super::flow::{Flow, Waiting};
use super::{Key, Side, Tcp};
use crate::net::addresses::Addresses;
use crate::net::env::Env;
use crate::net::error::Error;
use crate::net::neighbor::{Answer, Neighbors};
use crate::net::port::Port;
use crate::time::{Duration, Instant};
use smoltcp::socket::tcp::State;

/// When a connection is looked at again that says it wants to send, but does not.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// When a connection is looked at again whose packets have nowhere to go.
const NO_WAY: Duration = Duration::from_secs(1);

/// A connection without its app goes on for [`crate::net::Limits::orphan_time`] after the peer has
/// taken something, and for so many times that in all.
const ORPHAN_TIMES: u32 = 10;

/// What a connection sends through.
pub struct Way<'a> {
    pub port: &'a mut Port,
    pub neighbors: &'a mut Neighbors,
    pub addresses: &'a Addresses,
}

impl Tcp {
    /// Does what follows from a connection's state. `idle` says that it could have sent and did
    /// not.
    pub(super) fn settle(&mut self, number: u32, side: &mut Side, env: &mut Env<'_>, idle: bool) {
        let Some((key, connection)) = self.connection(number) else { return };
        let before = connection.state;
        let state = connection.socket().state();
        connection.state = state;
        if state != before {
            log_change(&key, before, state);
        }
        connection.take_wakers(state != before, env.wakes);
        let (orphaned, queued) = (connection.orphaned, connection.queued || connection.parked);
        if orphaned && state != State::Closed && connection.socket().recv_queue() > 0 {
            // Nobody will read it, and the peer should know (RFC 2525, section 2.17).
            connection.socket().abort();
            return self.settle(number, side, env, false);
        }
        let engine = side.engine(key.is_ipv6(), connection.mtu_bytes);
        let send_at = engine.poll_at(env.smol, &connection.set);
        let sends = send_at.is_some_and(|at| at <= env.now);
        let mut deadline = connection.deadline();
        match state {
            State::Closed if !sends => return self.end(number),
            State::TimeWait if !sends => {
                if orphaned {
                    self.wait(number, env);
                }
                // Else the app still reads; smoltcp would throw away what it has not read.
                return;
            }
            _ => {}
        }
        if sends && !idle && !queued {
            if let Some((_, connection)) = self.connection(number) {
                connection.queued = true;
            }
            side.ready.push_back(number);
        } else if sends && idle {
            deadline =
                Some(deadline.map_or(env.now + LOOK_AGAIN, |at| at.min(env.now + LOOK_AGAIN)));
        } else if let Some(at) = send_at.filter(|_| !sends) {
            deadline = Some(deadline.map_or(at, |deadline| deadline.min(at)));
        }
        if let Some(deadline) = deadline {
            self.timers.arm(number, deadline);
        }
    }

    /// A connection has ended.
    fn end(&mut self, number: u32) {
        let Some((_, connection)) = self.connection(number) else { return };
        if connection.orphaned {
            self.remove(number);
        } else {
            self.hide(number);
        }
    }

    /// A connection is over on both sides.
    fn wait(&mut self, number: u32, env: &Env<'_>) {
        let room = self.counts.time_wait < env.limits.time_wait;
        let numbers = self.connection(number).and_then(|(_, connection)| connection.sent);
        match numbers.filter(|_| room) {
            Some((own, peer_number)) => {
                let until = env.now + env.limits.time_wait_time;
                self.replace(number, Flow::Waiting(Waiting { number: own, peer_number, until }));
                self.timers.arm(number, until);
            }
            None => self.remove(number),
        }
    }

    /// Has a flow sent whose turn it is; whether a segment left. The device must have room.
    pub fn transmit(
        &mut self,
        number: u32,
        side: &mut Side,
        way: &mut Way<'_>,
        env: &mut Env<'_>,
    ) -> bool {
        self.counters.polls += 1;
        let Some((key, connection)) = self.connection(number) else { return false };
        connection.queued = false;
        connection.heard.get_or_insert(env.now);
        if connection.orphaned {
            let (now, time) = (env.now, env.limits.orphan_time);
            connection.orphan_until.get_or_insert((now + time, now + time * ORPHAN_TIMES));
        }
        match way.next_hop(connection.remote, &mut connection.next_hop, env.now) {
            Found::Yes => {}
            Found::Sought(neighbor) => {
                connection.parked = true;
                way.neighbors.wait(neighbor, number);
                return false;
            }
            Found::No if connection.state == State::Closed => {
                self.end(number);
                return false;
            }
            Found::No => {
                self.timers.arm(number, env.now + NO_WAY);
                return false;
            }
        }
        let outlet = Outlet {
            port: &mut *way.port,
            to: connection.next_hop.mac,
            segment_bytes: connection.segment_bytes,
            next_number: connection.sent.map(|(next, _)| next),
            sent: None,
        };
        let engine = side.engine(key.is_ipv6(), connection.mtu_bytes);
        let sent = engine.transmit(env.smol, &mut connection.set, outlet);
        if let Some(sent) = sent {
            let header = &sent.header;
            let again = connection.note_sent(header.seq, sent.sequence_len, header.ack);
            self.counters.retransmitted += u64::from(again);
        }
        self.settle(number, side, env, sent.is_none());
        sent.is_some()
    }

    /// Takes a flow whose time has come.
    pub fn take_due(&mut self, now: Instant) -> Option<(u32, u8)> {
        let number = self.timers.take_due(now)?;
        let interface = self.flows.get_mut(number).map_or(0, |entry| entry.key.interface());
        Some((number, interface))
    }

    /// A flow's time has come.
    pub fn expire(&mut self, number: u32, side: &mut Side, port: &mut Port, env: &mut Env<'_>) {
        self.counters.polls += 1;
        let Some(entry) = self.flows.get_mut(number) else { return };
        match &mut entry.flow {
            Flow::HalfOpen(_) => self.ask_again(number, side, port, env),
            Flow::Waiting(waiting) if waiting.until <= env.now => self.remove(number),
            Flow::Waiting(waiting) => self.timers.arm(number, waiting.until),
            Flow::Open(connection) => {
                if connection.deadline().is_some_and(|deadline| deadline <= env.now) {
                    self.counters.timed_out += u64::from(connection.orphan_until.is_none());
                    self.abort(number, Error::TimedOut, side, env);
                } else if !connection.queued && !connection.parked {
                    connection.queued = true;
                    side.ready.push_back(number);
                }
            }
        }
    }

    /// Ends a connection at once; the peer is told if it knows of it.
    pub(super) fn abort(&mut self, number: u32, reason: Error, side: &mut Side, env: &mut Env<'_>) {
        let Some((key, connection)) = self.connection(number) else { return };
        connection.end.get_or_insert(reason);
        let tells = !matches!(connection.state, State::SynSent | State::Closed);
        connection.socket().abort();
        if tells {
            // An aborted connection owes and is owed nothing.
            connection.orphan_until = None;
            return self.settle(number, side, env, false);
        }
        log_change(&key, connection.state, State::Closed);
        connection.state = State::Closed;
        connection.take_wakers(true, env.wakes);
        self.end(number);
    }

    /// A neighbour that a connection waited for was found, or is lost.
    pub fn unpark(&mut self, number: u32, found: bool, side: &mut Side, env: &mut Env<'_>) {
        let Some((_, connection)) = self.connection(number) else { return };
        if !core::mem::take(&mut connection.parked) {
            return;
        }
        if found {
            connection.queued = true;
            side.ready.push_back(number);
        } else if matches!(connection.state, State::SynSent | State::Closed) {
            self.abort(number, Error::Unreachable, side, env);
        } else {
            self.timers.arm(number, env.now + NO_WAY);
        }
    }

    /// Ends all connections for which `goes` is true: an address or an interface is gone.
    pub fn abort_where(
        &mut self,
        mut goes: impl FnMut(&Key) -> bool,
        reason: Error,
        side: &mut Side,
        env: &mut Env<'_>,
    ) {
        let numbers: alloc::vec::Vec<u32> = self.index.numbers().collect();
        for number in numbers {
            let Some(entry) = self.flows.get_mut(number) else { continue };
            if !goes(&entry.key) {
                continue;
            }
            match &mut entry.flow {
                Flow::Open(connection) => {
                    // From an address that is not ours nothing is sent, no farewell either.
                    connection.socket().abort();
                    connection.end.get_or_insert(reason);
                    connection.state = State::Closed;
                    connection.take_wakers(true, env.wakes);
                    self.end(number);
                }
                _ => self.remove(number),
            }
        }
        side.ready.retain(|number| self.flows.get_mut(*number).is_some_and(|entry| entry.indexed));
    }
}

/// Whether it is known where packets go.
enum Found {
    Yes,
    Sought(u32),
    No,
}

impl Way<'_> {
    fn next_hop(&mut self, remote: core::net::IpAddr, hop: &mut NextHop, now: Instant) -> Found {
        let generation =
            u64::from(self.addresses.generation) << 32 | u64::from(self.neighbors.generation);
        if hop.generation == generation && now < hop.until {
            return Found::Yes;
        }
        let Some(next) = self.addresses.next_hop(remote) else { return Found::No };
        match self.neighbors.lookup(next, now) {
            Answer::Known(mac, until) => {
                let generation = u64::from(self.addresses.generation) << 32
                    | u64::from(self.neighbors.generation);
                *hop = NextHop { mac, until, generation };
                Found::Yes
            }
            Answer::Sought(number) => Found::Sought(number),
            Answer::Full => Found::No,
        }
    }
}

fn log_change(key: &Key, from: State, to: State) {
    log::debug!("tcp {key}: {from} to {to}");
}
