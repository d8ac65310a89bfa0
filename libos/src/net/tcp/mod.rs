//! TCP: the table of flows, and what happens to a flow when something happens.
//!
//! ```text
//!   packet ──▶ receive ──▶ one flow ──╮
//!   deadline ▶ expire ───▶ one flow ──┼─▶ settle: state changed? wake, log, arm timer, queue it
//!   turn ────▶ transmit ─▶ one flow ──╯
//!   app ─────▶ read, write, close: one flow ──▶ queue it
//! ```
//!
//! Whatever happens touches one flow; none of it depends on how many there are. The table is a hash
//! table of endpoints, the deadlines are a heap, what wants to send is a queue.

mod api;
mod connection;
mod engine;
mod flow;
mod handshake;
mod listener;
mod path;
mod receive;
mod settle;

pub use connection::TcpOptions;
pub use engine::{Reply, smol};
pub use flow::Key;
pub use listener::Listener;
pub use settle::Way;

use super::counters::{TcpCounters, TcpCounts};
use super::hash::Secret;
use super::index::Index;
use super::timers::Timers;
use crate::exec::slab::Slab;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use connection::Connection;
use engine::{Engine, Path};
use flow::{Entry, Flow};
use path::NarrowPaths;

/// All flows.
pub struct Tcp {
    flows: Slab<Entry>,
    index: Index,
    timers: Timers,
    listeners: Slab<Listener>,
    /// Ports and who listens on them, in the order of ports.
    ports: Vec<(u16, u32)>,
    pub counters: TcpCounters,
    pub counts: TcpCounts,
    secret: Secret,
    /// Makes every handshake's numbers different from all others'.
    handshakes: u64,
    /// Until when answers may come to what was sent without keeping anything.
    cookies_until: Instant,
}

/// What TCP has of each interface.
pub struct Side {
    /// The interface's number.
    pub id: u8,
    ipv4: Engine,
    ipv6: Engine,
    narrow: NarrowPaths,
    /// Flows that want to send.
    pub ready: VecDeque<u32>,
}

impl Side {
    /// An interface over which packets of this many bytes go.
    pub fn new(id: u8, mtu_bytes: u16, large: [bool; 2], now: Instant) -> Self {
        let [ipv4, ipv6] = Self::paths(mtu_bytes, large).map(|path| Engine::new(path, 0, now));
        Self { id, ipv4, ipv6, narrow: NarrowPaths::default(), ready: VecDeque::new() }
    }

    /// The link has changed.
    pub fn set_link(&mut self, mtu_bytes: u16, large: [bool; 2], now: Instant) {
        let paths = Self::paths(mtu_bytes, large);
        if paths != [self.ipv4.path(), self.ipv6.path()] {
            [self.ipv4, self.ipv6] = paths.map(|path| Engine::new(path, 0, now));
        }
    }

    fn paths(mtu_bytes: u16, large: [bool; 2]) -> [Path; 2] {
        [false, true].map(|ipv6| Path { ipv6, mtu_bytes, large: large[usize::from(ipv6)] })
    }

    /// The engine of connections over the link, or over a path that takes `mtu_bytes` only.
    fn engine(&mut self, ipv6: bool, mtu_bytes: Option<u16>) -> &mut Engine {
        let narrow = mtu_bytes.and_then(|mtu_bytes| self.narrow.engine(ipv6, mtu_bytes));
        match narrow {
            Some(engine) => engine,
            None if ipv6 => &mut self.ipv6,
            None => &mut self.ipv4,
        }
    }
}

impl Tcp {
    /// No flows yet.
    pub fn new(secret: Secret) -> Self {
        Self {
            flows: Slab::new(),
            index: Index::default(),
            timers: Timers::default(),
            listeners: Slab::new(),
            ports: Vec::new(),
            counters: TcpCounters::default(),
            counts: TcpCounts::default(),
            secret,
            handshakes: 0,
            cookies_until: Instant::BOOT,
        }
    }

    /// The first deadline of a flow.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first()
    }

    fn find(&mut self, key: &Key) -> Option<u32> {
        let Self { flows, index, secret, .. } = self;
        let is_it = |number| flows.get_mut(number).is_some_and(|entry| entry.key == *key);
        index.find(key.hash(secret), is_it)
    }

    /// Adds a flow, and counts it.
    fn insert(&mut self, key: Key, flow: Flow) -> u32 {
        self.count(&flow, 1);
        let hash = key.hash(&self.secret);
        let number = self.flows.insert(Entry { key, hash, indexed: true, flow });
        self.index.insert(hash, number);
        number
    }

    /// Makes a flow another kind of flow.
    fn replace(&mut self, number: u32, flow: Flow) {
        self.count(&flow, 1);
        self.timers.disarm(number);
        if let Some(entry) = self.flows.get_mut(number) {
            let before = core::mem::replace(&mut entry.flow, flow);
            self.count(&before, -1);
        }
    }

    /// Has no packet find a flow any more.
    fn hide(&mut self, number: u32) {
        self.timers.disarm(number);
        if let Some(entry) = self.flows.get_mut(number)
            && core::mem::take(&mut entry.indexed)
        {
            self.index.remove(entry.hash, number);
        }
    }

    /// Forgets a flow.
    fn remove(&mut self, number: u32) {
        self.hide(number);
        if let Some(entry) = self.flows.remove(number) {
            self.count(&entry.flow, -1);
        }
    }

    fn count(&mut self, flow: &Flow, by: i32) {
        let counts = &mut self.counts;
        let count = match flow {
            Flow::HalfOpen(_) => &mut counts.half_open,
            Flow::Open(connection) => {
                let bytes = connection.options().buffer_bytes() as isize;
                counts.buffer_bytes =
                    counts.buffer_bytes.saturating_add_signed(bytes * by as isize);
                &mut counts.open
            }
            Flow::Waiting(_) => &mut counts.time_wait,
        };
        *count = count.saturating_add_signed(by);
    }

    /// The connection that a flow is.
    fn connection(&mut self, number: u32) -> Option<(Key, &mut Box<Connection>)> {
        match self.flows.get_mut(number)? {
            Entry { key, flow: Flow::Open(connection), .. } => Some((*key, connection)),
            _ => None,
        }
    }
}
