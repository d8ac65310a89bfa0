//! The connection: ring, protocol and the state of the two.
//!
//! ```text
//!                 ring is fresh, or cannot be started afresh
//!          new ─────────────────────────────────────────────▶ Up ◀──────┐
//!           │ used by someone before us                        │ a bad   │ the store has
//!           └──────────────────▶ Reconnecting ◀────────────────┤ message │ started the ring
//!                                     │  └─────────────────────┼─────────┘ afresh
//!                                     │ too often in a row     │ no fresh start on offer
//!                                     └──────▶ Broken ◀────────┘
//! ```
//!
//! `resume` begins again from any state, with another page.

use super::Doorbell;
use super::error::{BadReply, StoreError};
use super::protocol::{Protocol, Wakers};
use super::ring::Ring;
use alloc::sync::Arc;
use core::task::Waker;
use xen_abi::xs_wire::Parser;

/// Fresh starts that are asked for without one good message in between.
const RECONNECTS_MAX: u32 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Messages go both ways.
    Up,
    /// The ring belongs to the store until it has started it afresh.
    Reconnecting,
    /// Nothing goes any more.
    Broken(StoreError),
}

pub(super) struct Link {
    ring: Ring,
    parser: Parser,
    phase: Phase,
    pub protocol: Protocol,
    doorbell: Arc<dyn Doorbell>,
    /// Fresh starts since the last good message.
    reconnects: u32,
    /// Whether the store is to be notified.
    ring_due: bool,
}

/// What is to be done when the lock is released.
pub(super) struct Aftermath {
    doorbell: Option<Arc<dyn Doorbell>>,
    wakers: Wakers,
}

impl Aftermath {
    pub fn carry_out(self) {
        if let Some(doorbell) = self.doorbell {
            doorbell.notify();
        }
        self.wakers.wake.into_iter().for_each(Waker::wake);
    }
}

impl Link {
    pub fn new(ring: Ring, doorbell: Arc<dyn Doorbell>) -> Self {
        let protocol = Protocol::new(ring.seed());
        let phase = Phase::Up;
        let parser = Parser::new();
        let mut link =
            Self { ring, parser, phase, protocol, doorbell, reconnects: 0, ring_due: false };
        link.begin();
        link
    }

    /// Goes on with another ring.
    pub fn resume(&mut self, ring: Ring, doorbell: Arc<dyn Doorbell>) {
        self.ring = ring;
        self.doorbell = doorbell;
        self.reconnects = 0;
        self.parser.reset();
        self.protocol.restart();
        self.begin();
    }

    fn begin(&mut self) {
        self.phase = Phase::Up;
        if !self.ring.is_connected() {
            self.phase = Phase::Reconnecting;
        } else if self.ring.is_used() {
            if self.ring.can_reconnect() {
                self.reconnect();
            } else {
                self.protocol.reset();
            }
        }
    }

    fn reconnect(&mut self) {
        self.reconnects += 1;
        self.ring.request_reconnect();
        self.phase = Phase::Reconnecting;
        self.ring_due = true;
    }

    /// Why nothing goes any more, if so.
    pub fn check(&self) -> Result<(), StoreError> {
        if let Phase::Broken(error) = self.phase { Err(error) } else { Ok(()) }
    }

    /// Takes what the store has sent and sends what fits; what is to be done about it without the
    /// lock.
    pub fn settle(&mut self) -> Aftermath {
        while self.step() {}
        let due = core::mem::take(&mut self.ring_due);
        let doorbell = due.then(|| self.doorbell.clone());
        Aftermath { doorbell, wakers: core::mem::take(&mut self.protocol.wakers) }
    }

    /// One turn; whether another may find something to do.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::Broken(_) => false,
            Phase::Reconnecting if !self.ring.is_connected() => false,
            Phase::Reconnecting => {
                self.ring.reload();
                self.parser.reset();
                self.protocol.restart();
                self.phase = Phase::Up;
                true
            }
            Phase::Up => match self.exchange() {
                Ok(moved) => {
                    self.ring_due |= moved;
                    moved
                }
                Err(error) => {
                    self.break_off(error);
                    true
                }
            },
        }
    }

    fn break_off(&mut self, error: StoreError) {
        self.protocol.fail(error);
        if self.ring.can_reconnect() && self.reconnects < RECONNECTS_MAX {
            self.reconnect();
        } else {
            self.phase = Phase::Broken(error);
            let Protocol { watches, wakers, .. } = &mut self.protocol;
            watches.fail(error, wakers);
        }
    }

    /// Moves bytes both ways; whether any moved.
    fn exchange(&mut self) -> Result<bool, StoreError> {
        self.ring.check_error().map_err(StoreError::Broken)?;
        let mut moved = false;
        let mut piece = [0; 256];
        loop {
            let count = self.ring.read(&mut piece).map_err(StoreError::Broken)?;
            if count == 0 {
                break;
            }
            moved = true;
            self.receive(&piece[..count]).map_err(StoreError::BadReply)?;
        }
        while let Some(bytes) = self.protocol.output() {
            let count = self.ring.write(bytes).map_err(StoreError::Broken)?;
            if count == 0 {
                break;
            }
            moved = true;
            self.protocol.sent(count);
        }
        Ok(moved)
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), BadReply> {
        let too_long = |error: xen_abi::xs_wire::TooLong| BadReply::TooLong(error.0);
        while let Some(message) = self.parser.feed(&mut bytes).map_err(too_long)? {
            self.protocol.message(message)?;
            self.reconnects = 0;
        }
        Ok(())
    }
}
