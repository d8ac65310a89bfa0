//! The stack's state, and its turns: all that is to be done now, for all interfaces.
//!
//! ```text
//!   turn ─▶ each interface: link, time, a batch of frames
//!        ─▶ connections whose time has come
//!        ─▶ each interface: connections that want to send, one segment each in turn; end of batch
//!        ─▶ is there more? else when?
//! ```
//!
//! Acknowledgments wait for the end of the batch, and so does what apps have written meanwhile:
//! many segments that came in are answered by one, and the device is notified once.

use super::addresses::Origin;
use super::config::InterfaceConfig;
use super::counters::InterfaceCounters;
use super::device::{Device, MAX_FRAME_BYTES};
use super::env::{Answer, Env};
use super::error::Error;
use super::hash::Secret;
use super::ingress::Above;
use super::interface::Interface;
use super::limits::{Allowance, Limits};
use super::port::Port;
use super::tcp::{Side, Tcp, Way, smol};
use super::udp::{self, Udp};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Waker};

/// What all parts of the stack use.
pub struct Common {
    pub now: Instant,
    pub limits: Limits,
    pub secret: Secret,
    pub wakes: Vec<Waker>,
    pub answer: Answer,
    pub allowance: Allowance,
}

impl Common {
    /// What is at hand now.
    pub fn env(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            smol: smol(self.now),
            limits: &self.limits,
            secret: &self.secret,
            wakes: &mut self.wakes,
            answer: &mut self.answer,
            allowance: &mut self.allowance,
        }
    }
}

/// The stack's state.
pub struct Stack {
    pub common: Common,
    /// Interfaces by number; those that are gone leave a gap.
    pub interfaces: Vec<Option<Interface>>,
    pub tcp: Tcp,
    pub udp: Udp,
    /// Where frames are put together that do not lie in one piece.
    scratch: Vec<u8>,
    /// The task that takes the turns.
    runner: Option<Waker>,
    /// Whether it was asked to.
    asked: bool,
}

/// What is left after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// There is more to do at once; others should have their turn first.
    Again,
    /// Nothing, until a device is ready, an app wants something, or this time has come.
    At(Instant),
}

impl Stack {
    /// A stack without interfaces.
    pub fn new(limits: Limits, secret: Secret) -> Self {
        let common = Common {
            now: Instant::BOOT,
            allowance: Allowance::new(limits.errors_per_s),
            limits,
            secret,
            wakes: Vec::new(),
            answer: Answer::default(),
        };
        Self {
            common,
            interfaces: Vec::new(),
            tcp: Tcp::new(secret),
            udp: Udp::new(),
            scratch: Vec::new(),
            runner: None,
            asked: false,
        }
    }

    /// Adds an interface; its number.
    pub fn add(
        &mut self,
        name: String,
        device: Box<dyn Device>,
        config: InterfaceConfig,
    ) -> Result<u8, Error> {
        let free = self.interfaces.iter().position(Option::is_none);
        let place = free.unwrap_or(self.interfaces.len());
        let id = u8::try_from(place).map_err(|_| Error::Limit)?;
        if self.scratch.is_empty() {
            self.scratch = vec![0; MAX_FRAME_BYTES];
        }
        let interface = Interface::new(id, name, Port::new(device), config, &self.common.env());
        if place == self.interfaces.len() {
            self.interfaces.push(None);
        }
        self.interfaces[place] = Some(interface);
        self.ask_for_turn();
        Ok(id)
    }

    /// Removes an interface, and ends what goes over it.
    pub fn remove(&mut self, id: u8) {
        let Some(mut interface) = self.interfaces.get_mut(usize::from(id)).and_then(Option::take)
        else {
            return;
        };
        let mut env = self.common.env();
        let inner = &mut interface.inner;
        let is_over = |key: &super::tcp::Key| key.interface() == id;
        self.tcp.abort_where(is_over, Error::InterfaceGone, &mut inner.side, &mut env);
        inner.senders.wake(env.wakes);
        inner.configured.wake(env.wakes);
        log::debug!("{}: gone", inner.name);
        self.ask_for_turn();
    }

    /// Does all that is to be done now.
    pub fn turn(&mut self, now: Instant) -> Next {
        self.asked = false;
        self.common.now = now;
        let mut again = false;
        for interface in self.interfaces.iter_mut().flatten() {
            let mut env = self.common.env();
            if let Some(tap) = &mut interface.port.tap {
                tap.now = now;
            }
            interface.check_link(&mut self.tcp, &mut env);
            interface.poll(&mut self.tcp, &mut env);
            let mut above = Above { tcp: &mut self.tcp, udp: &mut self.udp };
            let batch = env.limits.batch;
            let received = (0..batch)
                .take_while(|_| interface.receive(&mut above, &mut self.scratch, &mut env))
                .count();
            again |= received == batch;
            interface.settle_searches(&mut self.tcp, &mut env);
        }
        while let Some((number, id)) = self.tcp.take_due(now) {
            let interface = self.interfaces.get_mut(usize::from(id)).and_then(Option::as_mut);
            let Some(Interface { port, inner }) = interface else { continue };
            self.tcp.expire(number, &mut inner.side, port, &mut self.common.env());
        }
        for interface in self.interfaces.iter_mut().flatten() {
            again |= interface.send(&mut self.tcp, &mut self.common.env());
        }
        if again { Next::Again } else { Next::At(self.deadline()) }
    }

    /// When something is to be done, if nothing happens.
    fn deadline(&self) -> Instant {
        let interfaces = self.interfaces.iter().flatten().map(Interface::deadline);
        interfaces.chain(self.tcp.deadline()).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Has devices wake the runner; whether any is ready already.
    pub fn poll_devices(&mut self, context: &mut Context<'_>) -> bool {
        let waker = context.waker();
        if !self.runner.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.runner = Some(waker.clone());
        }
        let mut ready = self.asked;
        for interface in self.interfaces.iter_mut().flatten() {
            ready |= interface.port.device.poll_ready(context).is_ready();
        }
        ready
    }

    /// Has the runner take a turn.
    pub fn ask_for_turn(&mut self) {
        if !core::mem::replace(&mut self.asked, true)
            && let Some(runner) = &self.runner
        {
            runner.wake_by_ref();
        }
    }

    /// Has the runner take a turn if an interface has something to send.
    pub fn turn_if_ready(&mut self, id: u8) {
        if self.interface(id).is_some_and(|interface| !interface.inner.side.ready.is_empty()) {
            self.ask_for_turn();
        }
    }

    /// The interface with a number.
    pub fn interface(&mut self, id: u8) -> Option<&mut Interface> {
        self.interfaces.get_mut(usize::from(id))?.as_mut()
    }

    /// The interface with a number, TCP, and what is at hand.
    pub fn tcp_parts(&mut self, id: u8) -> (Option<&mut Side>, &mut Tcp, Env<'_>) {
        let interface = self.interfaces.get_mut(usize::from(id)).and_then(Option::as_mut);
        let side = interface.map(|interface| &mut interface.inner.side);
        (side, &mut self.tcp, self.common.env())
    }

    /// The interface with a number, and what is at hand.
    pub fn interface_parts(&mut self, id: u8) -> (Option<&mut Interface>, Env<'_>) {
        let interface = self.interfaces.get_mut(usize::from(id)).and_then(Option::as_mut);
        (interface, self.common.env())
    }

    /// Over which interface a destination is reached, and from which address: the interface that
    /// the destination names, or whose prefixes know most of it.
    pub fn route(&self, dest: SocketAddr) -> Result<(u8, IpAddr), Error> {
        let named = udp::interface_of(dest);
        let interfaces = self.interfaces.iter().flatten().map(|interface| &interface.inner);
        let candidates = interfaces.filter(|inner| named.is_none_or(|named| named == inner.id));
        let known = candidates.filter_map(|inner| {
            let bits = inner.addresses.known_bits(dest.ip());
            // Groups and the broadcast address are on every link.
            let is_group = super::addresses::is_group(dest.ip());
            Some((bits.or_else(|| is_group.then_some(0))?, inner))
        });
        // Of equals the first: `max_by_key` would take the last.
        let (_, inner) = known.min_by_key(|(bits, _)| u8::MAX - bits).ok_or(Error::NoRoute)?;
        let source = inner.addresses.source_for(dest.ip()).ok_or(Error::NoAddress)?;
        Ok((inner.id, source))
    }

    /// The interface that has an address.
    pub fn interface_with(&self, address: IpAddr) -> Option<u8> {
        let mut interfaces = self.interfaces.iter().flatten();
        let found = interfaces.find(|interface| interface.inner.addresses.has(address));
        found.map(|interface| interface.inner.id)
    }
}

impl Interface {
    /// Lets connections send, and ends the batch; whether more could be sent at once.
    fn send(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) -> bool {
        let Self { port, inner } = self;
        // Between two batches of frames, a few times as many segments.
        let mut budget = env.limits.batch.saturating_mul(4);
        let mut could = port.device.can_transmit();
        while could && budget > 0 {
            let Some(number) = inner.side.ready.pop_front() else { break };
            let (neighbors, addresses) = (&mut inner.neighbors, &inner.addresses);
            let mut way = Way { port, neighbors, addresses };
            tcp.transmit(number, &mut inner.side, &mut way, env);
            budget -= 1;
            could = port.device.can_transmit();
        }
        self.settle_searches(tcp, env);
        let Self { port, inner } = self;
        if could {
            inner.senders.wake(env.wakes);
        }
        if let Some(tap) = &mut port.tap {
            tap.wake(env.wakes);
            if !tap.is_read() {
                port.tap = None;
            }
        }
        port.flush();
        could && !inner.side.ready.is_empty()
    }

    /// Whether it has an address that others can reach it by.
    pub fn is_configured(&self) -> bool {
        self.inner.addresses.list().iter().any(|own| own.origin != Origin::LinkLocal)
    }

    /// What it has seen.
    pub fn counters(&self) -> InterfaceCounters {
        self.port.counters
    }
}
