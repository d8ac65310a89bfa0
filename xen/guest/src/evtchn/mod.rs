//! Event channels: who waits for which port, and how a pending event finds its waiter.
//!
//! ```text
//!            bind, alloc_unbound, adopt                    Xen raises the port
//!   (none) ────────────────────────────▶ open ─── idle ◀──────────────┐
//!                                          │        │  pending in Xen │
//!                                          │        ▼                 │
//!                                  drop ───┤     dispatch: Xen's bit is cleared FIRST,
//!                                          │     then the port is marked, then its waiter woken
//!                                          ▼        │
//!                                        closed     ▼
//!                                          ▲     marked ── wait() takes the mark ──▶ idle
//!                     resume: a new domain ┘
//! ```
//!
//! Nothing runs in interrupt context: the run loop calls [`Events::dispatch`] between tasks. As the
//! bit is cleared before the waiter looks at its ring, an event that comes meanwhile sets it again
//! and is seen by the next pass. There are two interfaces to the bits ([`two_level`], [`fifo`]);
//! FIFO is taken where Xen has it: it scales with events that happened, not with ports that exist,
//! and knows priorities.

mod fifo;
mod two_level;

use crate::Hypervisor;
use crate::page::SharedPage;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use fifo::Fifo;
use spin::Mutex;
use two_level::TwoLevel;
use xen_abi::event::{EvtchnPort, Priority, Virq};
use xen_abi::{DomId, Errno};

/// The port is gone: closed, or left behind in another domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl core::fmt::Display for Closed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the event channel is closed")
    }
}

impl core::error::Error for Closed {}

/// Which interface to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interface {
    /// FIFO where Xen has it.
    PreferFifo,
    /// Two-level, which every Xen has.
    TwoLevel,
}

/// All event channels of the domain. Copies name the same ones.
pub struct Events<X>(Arc<Inner<X>>);

struct Inner<X> {
    xen: X,
    shared_info: Arc<SharedPage>,
    /// Grows with every resume in a new domain; channels of an older one are closed.
    generation: AtomicU32,
    state: Mutex<State>,
}

struct State {
    bits: Bits,
    /// By port number.
    slots: Vec<Slot>,
    /// Open slots.
    open: usize,
}

/// The pending bits, by the interface in use.
enum Bits {
    TwoLevel(TwoLevel),
    Fifo(Fifo),
}

#[derive(Default)]
struct Slot {
    open: bool,
    marked: bool,
    waker: Option<Waker>,
}

/// What can be told about the event channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Ports in use.
    pub open: usize,
    /// Whether the FIFO interface is in use.
    pub fifo: bool,
}

impl<X> Clone for Events<X> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<X: Hypervisor> Events<X> {
    /// Takes over the event channels of a domain in which no port of ours is open yet: masks
    /// everything and chooses the interface.
    pub fn new(xen: X, shared_info: Arc<SharedPage>, interface: Interface) -> Self {
        let bits = Bits::start(&xen, &shared_info, interface);
        let state = Mutex::new(State { bits, slots: Vec::new(), open: 0 });
        Self(Arc::new(Inner { xen, shared_info, generation: AtomicU32::new(0), state }))
    }

    /// Binds a virtual interrupt.
    pub fn bind_virq(&self, virq: Virq, priority: Priority) -> Result<Channel<X>, Errno> {
        let port = self.0.xen.bind_virq(virq)?;
        self.adopt(port, priority)
    }

    /// Opens a port that `remote` may connect to.
    pub fn alloc_unbound(&self, remote: DomId, priority: Priority) -> Result<Channel<X>, Errno> {
        let port = self.0.xen.alloc_unbound(remote)?;
        self.adopt(port, priority)
    }

    /// Connects to the port that `remote` has opened for us.
    pub fn bind_interdomain(
        &self,
        remote: DomId,
        port: EvtchnPort,
        priority: Priority,
    ) -> Result<Channel<X>, Errno> {
        let port = self.0.xen.bind_interdomain(remote, port)?;
        self.adopt(port, priority)
    }

    /// Takes over a port that is bound already: those of console and xenstore are when a domain
    /// starts. The channel closes the port when it is dropped.
    pub fn adopt(&self, port: EvtchnPort, priority: Priority) -> Result<Channel<X>, Errno> {
        let mut state = self.0.state.lock();
        if let Err(errno) = state.open_slot(&self.0.xen, port, priority) {
            drop(state);
            // The first error is the one to tell.
            let _ = self.0.xen.close(port);
            return Err(errno);
        }
        drop(state);
        let generation = self.0.generation.load(Ordering::Relaxed);
        // By hypercall: it raises an event that came while the port was masked.
        self.0.xen.unmask(port)?;
        Ok(Channel { events: self.clone(), port, generation })
    }

    /// Wakes whoever waits for an event that has happened: one pass over what is pending now. An
    /// event that comes during the pass is left to the next one, so that a peer cannot keep us
    /// here.
    pub fn dispatch(&self) {
        let Inner { shared_info, state, .. } = &*self.0;
        let mut state_now = state.lock();
        let mut left = state_now.begin_pass(shared_info);
        while left > 0 {
            left -= 1;
            let Some(port) = state_now.bits.next(shared_info) else { return };
            let Some(slot) = state_now.slots.get_mut(port.0 as usize) else { continue };
            slot.marked |= slot.open;
            if let Some(waker) = slot.waker.take() {
                drop(state_now);
                waker.wake();
                state_now = state.lock();
            }
        }
    }

    /// Whether a pass of [`Self::dispatch`] would find something.
    pub fn is_pending(&self) -> bool {
        let state = self.0.state.lock();
        two_level::upcall_is_pending(&self.0.shared_info) || state.bits.has_leftovers()
    }

    /// What can be told.
    pub fn counters(&self) -> Counters {
        let state = self.0.state.lock();
        Counters { open: state.open, fifo: matches!(state.bits, Bits::Fifo(_)) }
    }

    /// In a new domain no port is open and no interface chosen: closes all channels, wakes their
    /// waiters and starts again.
    pub fn resume(&self) {
        let Inner { xen, shared_info, generation, state } = &*self.0;
        let mut state = state.lock();
        let interface = match state.bits {
            Bits::TwoLevel(_) => Interface::TwoLevel,
            Bits::Fifo(_) => Interface::PreferFifo,
        };
        // The old pages are free before new ones are taken.
        state.bits = Bits::TwoLevel(TwoLevel::default());
        state.bits = Bits::start(xen, shared_info, interface);
        generation.fetch_add(1, Ordering::Relaxed);
        state.open = 0;
        let slots = core::mem::take(&mut state.slots);
        drop(state);
        slots.into_iter().filter_map(|slot| slot.waker).for_each(Waker::wake);
    }
}

impl State {
    fn open_slot<X: Hypervisor>(
        &mut self,
        xen: &X,
        port: EvtchnPort,
        priority: Priority,
    ) -> Result<(), Errno> {
        match &mut self.bits {
            Bits::TwoLevel(_) if port.0 >= two_level::PORTS => return Err(Errno::NOSPC),
            Bits::TwoLevel(_) => {}
            Bits::Fifo(fifo) => {
                fifo.cover(xen, port)?;
                xen.set_priority(port, priority)?;
            }
        }
        let index = port.0 as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.slots[index];
        self.open += usize::from(!slot.open);
        *slot = Slot { open: true, ..Slot::default() };
        Ok(())
    }

    /// Starts a pass; how many events it takes at the most.
    fn begin_pass(&mut self, shared_info: &SharedPage) -> usize {
        self.bits.begin_pass(shared_info);
        // Every open port may be pending once; others only by a fault of Xen's.
        2 * self.slots.len().max(64)
    }
}

impl Bits {
    fn start<X: Hypervisor>(xen: &X, shared_info: &SharedPage, interface: Interface) -> Self {
        two_level::mask_all(shared_info);
        let fifo = match interface {
            Interface::PreferFifo => Fifo::start(xen),
            Interface::TwoLevel => None,
        };
        fifo.map_or_else(|| Self::TwoLevel(TwoLevel::default()), Self::Fifo)
    }

    fn begin_pass(&mut self, shared_info: &SharedPage) {
        match self {
            Self::TwoLevel(bits) => bits.begin_pass(shared_info),
            Self::Fifo(fifo) => {
                two_level::clear_upcall(shared_info);
                fifo.begin_pass();
            }
        }
    }

    /// The next pending port of this pass, its bit cleared.
    fn next(&mut self, shared_info: &SharedPage) -> Option<EvtchnPort> {
        match self {
            Self::TwoLevel(bits) => bits.next(shared_info),
            Self::Fifo(fifo) => fifo.next(),
        }
    }

    /// Whether the last pass was cut short.
    fn has_leftovers(&self) -> bool {
        match self {
            Self::TwoLevel(bits) => bits.has_leftovers(),
            Self::Fifo(fifo) => fifo.has_leftovers(),
        }
    }

    fn mask(&self, shared_info: &SharedPage, port: EvtchnPort) {
        match self {
            Self::TwoLevel(_) => two_level::mask(shared_info, port),
            Self::Fifo(fifo) => fifo.mask(port),
        }
    }
}

/// One open port. Closed when it is dropped.
pub struct Channel<X: Hypervisor> {
    events: Events<X>,
    port: EvtchnPort,
    generation: u32,
}

impl<X: Hypervisor> Channel<X> {
    /// The port's number, to be told to the peer.
    pub fn port(&self) -> EvtchnPort {
        self.port
    }

    /// Sends an event to the peer.
    ///
    /// # Errors
    /// When the channel is closed, or its other end is.
    pub fn notify(&self) -> Result<(), Closed> {
        // Without the lock: a crash report is sent too, whatever it interrupted.
        if !self.is_current() {
            return Err(Closed);
        }
        self.events.0.xen.send(self.port).map_err(|_| Closed)
    }

    /// Waits for an event. Events that came since the last wait count once.
    ///
    /// One task waits at a time; of several the last to ask is woken.
    ///
    /// # Errors
    /// When the channel is closed, now or while waiting.
    ///
    /// # Cancellation
    /// Safe: an event is taken only when it is returned.
    pub async fn wait(&self) -> Result<(), Closed> {
        poll_fn(|context| self.poll_wait(context)).await
    }

    /// [`Self::wait`] as a poll.
    pub fn poll_wait(&self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.events.0.state.lock();
        let Some(slot) = self.slot(&mut state) else {
            return Poll::Ready(Err(Closed));
        };
        if core::mem::take(&mut slot.marked) {
            return Poll::Ready(Ok(()));
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            slot.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Whether an event has come since the last wait, as far as a dispatch has seen. Takes it.
    pub fn take(&self) -> bool {
        let mut state = self.events.0.state.lock();
        self.slot(&mut state).is_some_and(|slot| core::mem::take(&mut slot.marked))
    }

    /// Holds events back until [`Self::unmask`].
    pub fn mask(&self) {
        let Inner { shared_info, state, .. } = &*self.events.0;
        let state = state.lock();
        if self.is_current() {
            state.bits.mask(shared_info, self.port);
        }
    }

    /// Whether the domain is still the one that the channel was opened in.
    fn is_current(&self) -> bool {
        self.events.0.generation.load(Ordering::Relaxed) == self.generation
    }

    /// The port's slot, unless the domain is another one by now.
    fn slot<'a>(&self, state: &'a mut State) -> Option<&'a mut Slot> {
        if self.is_current() { state.slots.get_mut(self.port.0 as usize) } else { None }
    }

    /// Lets events through again, and raises one that came meanwhile.
    ///
    /// # Errors
    /// When the channel is closed.
    pub fn unmask(&self) -> Result<(), Closed> {
        if !self.is_current() {
            return Err(Closed);
        }
        self.events.0.xen.unmask(self.port).map_err(|_| Closed)
    }
}

impl<X: Hypervisor> Drop for Channel<X> {
    fn drop(&mut self) {
        let Inner { xen, shared_info, state, .. } = &*self.events.0;
        let mut state = state.lock();
        // In a new domain the number may be someone else's.
        if !self.is_current() {
            return;
        }
        state.bits.mask(shared_info, self.port);
        state.open -= 1;
        state.slots[self.port.0 as usize] = Slot::default();
        drop(state);
        // An error says that it is closed already.
        let _ = xen.close(self.port);
    }
}

#[cfg(test)]
mod tests;
