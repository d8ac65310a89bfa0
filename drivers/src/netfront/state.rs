//! What the stack's end and the driver's task share: one lock, taken for moments.
//!
//! ```text
//!   stack:   NetDevice ──▶ State { connection, parked packets, link, counters } ◀── Driver: task
//!                             │ fault: a lie, or the event channel is gone
//!                             ╰──▶ wakes the driver, which takes the connection out
//! ```
//!
//! The stack works on the rings itself, in its own turn: no packet passes through a second task.
//! The driver only makes and takes away connections. A connection with a fault is not touched any
//! more.

use super::TxOffload;
use super::backlog::{Backlog, Frame};
use super::connection::Connection;
use super::device::{Link, Offload};
use super::features::{Features, Settings};
use super::proto::{Counters, Lie, RxPacket};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use spin::{Mutex, MutexGuard};
use xen::Hypervisor;
use xen::evtchn::Closed;
use xen::page::PAGE_BYTES;
use xen_abi::netif::{ETHERNET_HEADER_BYTES, Mac, TX_PACKET_BYTES_MAX};

/// Events in a row that come for nothing, before they are held back.
const SPURIOUS_MAX: u32 = 64;

/// Packets received between two tidyings that count as none.
const IDLE_PACKETS: u64 = 256;

/// Why a connection cannot be used any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The backend says what cannot be.
    Lie(Lie),
    /// The event channel is gone: the domain was resumed as another one.
    Closed,
}

impl From<Lie> for Fault {
    fn from(lie: Lie) -> Self {
        Self::Lie(lie)
    }
}

impl From<Closed> for Fault {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// What the driver is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    /// The connection is to be taken away.
    Fault(Fault),
    /// Events are held back, and are to be let through again after a moment.
    Throttled,
}

/// Handle to the state.
pub(super) struct Shared<X: Hypervisor>(Arc<Mutex<State<X>>>);

impl<X: Hypervisor> Clone for Shared<X> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<X: Hypervisor> Shared<X> {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            connection: None,
            fault: None,
            parked: Backlog::default(),
            groups: Vec::new(),
            link: Link::default(),
            told: 0,
            wants_room: false,
            spurious: 0,
            throttled: false,
            stack: None,
            driver: None,
            counters: Counters::default(),
            tidied_at: 0,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, State<X>> {
        self.0.lock()
    }
}

pub(super) struct State<X: Hypervisor> {
    connection: Option<Connection<X>>,
    fault: Option<Fault>,
    /// Packets for the next connection.
    parked: Backlog,
    groups: Vec<Mac>,
    link: Link,
    /// Generation of the link that the stack was told of.
    told: u32,
    /// Whether the stack was told that there is no room.
    wants_room: bool,
    /// Events in a row that came for nothing.
    spurious: u32,
    throttled: bool,
    stack: Option<Waker>,
    driver: Option<Waker>,
    pub counters: Counters,
    /// Packets that had been received at the last tidying.
    tidied_at: u64,
}

/// The stack's side.
impl<X: Hypervisor> State<X> {
    pub fn link(&self) -> Link {
        self.link
    }

    /// Does something with the connection, if there is a good one.
    fn with_connection<R>(
        &mut self,
        act: impl FnOnce(&mut Connection<X>, &[Mac], &mut Counters) -> Result<R, Fault>,
    ) -> Option<R> {
        let Self { connection, fault, groups, counters, .. } = self;
        let connection = connection.as_mut().filter(|_| fault.is_none())?;
        match act(connection, groups, counters) {
            Ok(result) => Some(result),
            Err(fault) => {
                self.fail(fault);
                None
            }
        }
    }

    /// The connection is not to be used any more.
    fn fail(&mut self, fault: Fault) {
        self.counters.lies += u64::from(matches!(fault, Fault::Lie(_)));
        self.fault = Some(fault);
        self.set_link(Link { up: false, ..self.link });
        self.driver.take().into_iter().for_each(Waker::wake);
    }

    pub fn receive(&mut self, to: &mut [u8]) -> Option<RxPacket> {
        self.with_connection(|connection, _, counters| Ok(connection.receive(to, counters)?))
            .flatten()
    }

    pub fn can_transmit(&mut self) -> bool {
        let free =
            self.with_connection(|connection, _, counters| Ok(connection.is_free(counters)?));
        let free = free.unwrap_or_else(|| self.parked.is_roomy());
        self.wants_room |= !free;
        free
    }

    pub fn transmit(
        &mut self,
        len_bytes: usize,
        offload: TxOffload,
        fill: &mut dyn FnMut(&mut [u8]),
    ) {
        let fits = (ETHERNET_HEADER_BYTES..=TX_PACKET_BYTES_MAX).contains(&len_bytes);
        let mut is_filled = false;
        if fits {
            let mut once = |bytes: &mut [u8]| {
                is_filled = true;
                fill(bytes);
            };
            self.with_connection(|connection, _, counters| {
                Ok(connection.transmit(len_bytes, offload, &mut once, counters)?)
            });
        }
        if is_filled {
            return;
        }
        let mut bytes = vec![0; len_bytes];
        fill(&mut bytes);
        if !fits {
            self.counters.tx.bad_length += 1;
        } else if !self.parked.push(Frame { bytes, offload }) {
            self.counters.tx.full += 1;
        }
    }

    pub fn flush(&mut self) {
        self.with_connection(Connection::flush);
    }

    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stack {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.stack = Some(context.waker().clone()),
        }
        let events = self.with_connection(|connection, _, _| Ok(connection.poll_events(context)?));
        let mut ready =
            self.with_connection(|connection, _, _| Ok(connection.arm_receive()?)).unwrap_or(false);
        ready |= self.poll_room();
        // Last: what was found on the way may have taken the link down.
        ready |= core::mem::replace(&mut self.told, self.link.generation) != self.link.generation;
        if ready {
            self.spurious = 0;
            return Poll::Ready(());
        }
        if events == Some(true) {
            self.count_spurious();
        }
        Poll::Pending
    }

    /// Sends what waits; whether there is room that the stack waits for.
    fn poll_room(&mut self) -> bool {
        let wanted = self.wants_room;
        let settle = |connection: &mut Connection<X>, groups: &[Mac], counters: &mut Counters| {
            let due = wanted || connection.has_backlog();
            if due { connection.settle_transmit(groups, counters) } else { Ok(false) }
        };
        let room = match self.with_connection(settle) {
            Some(room) => room,
            None => self.parked.is_roomy(),
        };
        wanted && core::mem::replace(&mut self.wants_room, !room) && room
    }

    fn count_spurious(&mut self) {
        self.counters.spurious_events += 1;
        self.spurious += 1;
        if self.spurious < SPURIOUS_MAX {
            return;
        }
        self.spurious = 0;
        self.throttled = true;
        self.counters.throttled += 1;
        if let Some(connection) = &self.connection {
            connection.queues.iter().for_each(|queue| queue.channels.mask());
        }
        self.driver.take().into_iter().for_each(Waker::wake);
    }

    pub fn set_groups(&mut self, groups: &[Mac]) {
        self.groups.clear();
        for mac in groups {
            if !self.groups.contains(mac) {
                self.groups.push(*mac);
            }
        }
        if let Some(connection) = &mut self.connection {
            connection.groups_told = false;
        }
    }
}

/// The driver's side.
impl<X: Hypervisor> State<X> {
    /// Takes a signal, or has the waker woken when there is one.
    pub fn poll_signal(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Signal::Fault(fault));
        }
        if self.throttled {
            return Poll::Ready(Signal::Throttled);
        }
        self.driver = Some(context.waker().clone());
        Poll::Pending
    }

    /// Lets events through again.
    pub fn unthrottle(&mut self) {
        self.throttled = false;
        self.with_connection(|connection, _, _| {
            Ok(connection.queues.iter().try_for_each(|queue| queue.channels.unmask())?)
        });
    }

    /// Changes the link if it is another one, and tells the stack.
    pub fn set_link(&mut self, link: Link) {
        let generation = self.link.generation;
        if (Link { generation, ..link }) != self.link {
            self.link = Link { generation: generation.wrapping_add(1), ..link };
            self.stack.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Gives the stack a connection, and the packets to it that wait for one.
    pub fn connect(&mut self, mut connection: Connection<X>) {
        while let Some(frame) = self.parked.pop() {
            let queue = connection.queue_of(&frame.bytes);
            connection.keep(queue, frame, &mut self.counters);
        }
        self.fault = None;
        self.throttled = false;
        connection.groups_told = false;
        self.connection = Some(connection);
        self.counters.connections += 1;
        self.with_connection(Connection::flush);
    }

    /// Takes the connection away, and keeps its packets for the next one. Those that waited last
    /// are lost if there are too many.
    pub fn disconnect(&mut self) -> Option<Connection<X>> {
        // What the backend has answered need not be sent again.
        self.with_connection(|connection, _, counters| Ok(connection.collect(counters)?));
        let mut connection = self.connection.take()?;
        self.fault = None;
        let waiting = core::iter::from_fn(|| self.parked.pop());
        let waiting: Vec<Frame> = waiting.collect();
        let unsent = connection.unsent(&mut self.counters);
        for frame in unsent.into_iter().chain(waiting) {
            if !self.parked.push(frame) {
                self.counters.tx.full += 1;
            }
        }
        self.set_link(Link { up: false, ..self.link });
        Some(connection)
    }

    /// Gives memory back that was not needed since the last call.
    pub fn tidy(&mut self) {
        let packets = self.counters.rx.packets;
        let received = packets.wrapping_sub(core::mem::replace(&mut self.tidied_at, packets));
        if let Some(connection) = &mut self.connection {
            connection.pool.tidy();
            if received < IDLE_PACKETS {
                connection.queues.iter_mut().for_each(|queue| drop(queue.rx.trim()));
            }
        }
    }
}

impl Link {
    /// The link through a connection.
    pub(super) fn through(settings: &Settings, features: &Features) -> Self {
        // Without several slots, the longest frame is a page.
        let most = if features.scatter_gather { TX_PACKET_BYTES_MAX } else { PAGE_BYTES };
        let most = u16::try_from(most - ETHERNET_HEADER_BYTES).unwrap_or(u16::MAX);
        let offload = Offload {
            checksum_v4: features.checksum_v4,
            checksum_v6: features.checksum_v6,
            segments_v4: features.gso_v4,
            segments_v6: features.gso_v6,
        };
        let mtu_bytes = settings.mtu_bytes.min(most);
        Self { up: false, mac: settings.mac, mtu_bytes, offload, generation: 0 }
    }
}
