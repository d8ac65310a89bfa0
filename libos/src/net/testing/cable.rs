//! A cable between two devices.
//!
//! ```text
//!   end 0 ── commit ─▶ [ lost? twice? changed? later? ] ─▶ inbox of end 1 ── receive ─▶ end 1
//! ```

use super::random::Random;
use super::segment;
use crate::net::device::{
    Device, Link, MAX_FRAME_BYTES, MacAddr, Offload, RxChecksum, RxFrame, TxFrame,
};
use crate::time::{Duration, Instant, Sleep, sleep_until};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use spin::{Mutex, MutexGuard};

/// What happens to frames on their way; so many of a thousand each.
#[derive(Clone, Copy, Default, Debug)]
pub struct Faults {
    /// Never arrive.
    pub lost: u16,
    /// Arrive twice.
    pub doubled: u16,
    /// Arrive with a bit changed. Only packets: what they come in, and ARP, rely on Ethernet's own
    /// checksum, which we never see.
    pub changed: u16,
    /// Arrive later than those that are sent after them.
    pub late: u16,
    /// How long a frame takes.
    pub delay: Duration,
}

/// What kind of link it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Another domain of this host: long frames arrive as they are, and nobody looks at checksums.
    Local,
    /// A wire: frames arrive cut to the MTU, their checksums filled in.
    Wire,
}

struct Arriving {
    at: Instant,
    bytes: Vec<u8>,
    checksum: RxChecksum,
}

struct Side {
    link: Link,
    /// What is under way to this side, in the order of arrival.
    inbox: BTreeMap<(Instant, u64), Arriving>,
    /// Frames that may be under way to it.
    capacity: usize,
    waker: Option<Waker>,
    /// The sender found no room.
    sender: Option<Waker>,
    wants_room: bool,
    seen: u32,
}

struct Inner {
    sides: [Side; 2],
    faults: Faults,
    kind: Kind,
    random: Random,
    sent: u64,
    /// Whether time passes at all: in benchmarks it does not.
    timed: bool,
}

/// A cable.
#[derive(Clone)]
pub struct Cable(Arc<Mutex<Inner>>);

/// One end of a cable: a device.
pub struct CableEnd {
    cable: Cable,
    side: usize,
    link: Link,
    alarm: Option<Sleep>,
    /// The frame that was begun.
    frame: TxFrame,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Cable {
    /// A cable with an MTU; both ends have these offloads. `seed` decides about its faults.
    pub fn new(kind: Kind, mtu_bytes: u16, offload: Offload, seed: u64) -> Self {
        let side = |n: u8| Side {
            link: Link {
                up: true,
                mac: MacAddr([2, 0, 0, 0, 0, n]),
                mtu_bytes,
                offload,
                generation: 0,
            },
            inbox: BTreeMap::new(),
            capacity: 1024,
            waker: None,
            sender: None,
            wants_room: false,
            seen: 0,
        };
        let (faults, random) = (Faults::default(), Random::new(seed));
        let sides = [side(1), side(2)];
        Self(Arc::new(Mutex::new(Inner { sides, faults, kind, random, sent: 0, timed: true })))
    }

    /// A cable on which frames arrive at once, without looking at the clock.
    pub fn timeless(kind: Kind, mtu_bytes: u16, offload: Offload) -> Self {
        let cable = Self::new(kind, mtu_bytes, offload, 0);
        cable.lock().timed = false;
        cable
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// An end: 0 or 1.
    pub fn end(&self, side: usize) -> CableEnd {
        CableEnd {
            cable: self.clone(),
            side,
            link: self.lock().sides[side].link.clone(),
            alarm: None,
            frame: TxFrame { len_bytes: 0, checksum: None, segments: None },
            outgoing: Vec::new(),
            incoming: Vec::new(),
        }
    }

    /// Sets what happens to frames from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// Sets how many frames may be under way to a side.
    pub fn set_capacity(&self, side: usize, frames: usize) {
        self.lock().sides[side].capacity = frames;
    }

    /// Changes an end's link.
    pub fn set_link(&self, side: usize, change: impl FnOnce(&mut Link)) {
        let mut inner = self.lock();
        let side = &mut inner.sides[side];
        change(&mut side.link);
        side.link.generation += 1;
        if let Some(waker) = side.waker.take() {
            waker.wake();
        }
    }

    /// Puts a frame on the way to a side, without faults.
    pub fn inject(&self, side: usize, bytes: &[u8], checksum: RxChecksum) {
        let mut inner = self.lock();
        let at = inner.now();
        inner.arrive(side, at, bytes.to_vec(), checksum);
    }

    /// Takes the frames that are under way to a side, whenever they would have arrived.
    pub fn take(&self, side: usize) -> Vec<Vec<u8>> {
        let inbox = core::mem::take(&mut self.lock().sides[side].inbox);
        inbox.into_values().map(|arriving| arriving.bytes).collect()
    }

    /// Frames that were sent so far, by either side.
    pub fn sent(&self) -> u64 {
        self.lock().sent
    }
}

impl Inner {
    fn now(&self) -> Instant {
        if self.timed { Instant::now() } else { Instant::BOOT }
    }

    fn arrive(&mut self, side: usize, at: Instant, bytes: Vec<u8>, checksum: RxChecksum) {
        self.sent += 1;
        let side = &mut self.sides[side];
        side.inbox.insert((at, self.sent), Arriving { at, bytes, checksum });
        if let Some(waker) = side.waker.take() {
            waker.wake();
        }
    }

    /// Sends a frame to a side, through all faults.
    fn send(&mut self, to: usize, frame: &TxFrame, bytes: Vec<u8>) {
        let (faults, now) = (self.faults, self.now());
        let frames = match self.kind {
            Kind::Local => vec![bytes],
            Kind::Wire => segment::on_the_wire(frame, bytes),
        };
        let checksum = match (self.kind, frame.checksum) {
            (Kind::Local, Some(_)) => RxChecksum::Valid,
            _ => RxChecksum::Unverified,
        };
        for mut bytes in frames {
            if self.kind == Kind::Wire {
                let mtu = usize::from(self.sides[to].link.mtu_bytes);
                assert!(bytes.len() <= mtu + 14, "{} bytes on a link of {mtu}", bytes.len());
            }
            if self.random.chance(faults.lost) {
                continue;
            }
            if self.random.chance(faults.changed) && bytes[12..14] != [0x08, 0x06] {
                let bit = 14 * 8 + self.random.below((bytes.len() as u64 - 14) * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            let late = self.random.chance(faults.late);
            let extra = if late { self.random.below(5_000_000) } else { 0 };
            let at = now + faults.delay + Duration::from_nanos(extra);
            if self.random.chance(faults.doubled) {
                let again = at + Duration::from_nanos(self.random.below(3_000_000));
                self.arrive(to, again, bytes.clone(), checksum);
            }
            self.arrive(to, at, bytes, checksum);
        }
    }
}

impl Device for CableEnd {
    fn link(&self) -> &Link {
        &self.link
    }

    fn receive<'a>(&'a mut self, scratch: &'a mut [u8]) -> Option<RxFrame<'a>> {
        assert_eq!(scratch.len(), MAX_FRAME_BYTES);
        let mut inner = self.cable.lock();
        let now = inner.now();
        let side = &mut inner.sides[self.side];
        self.link.clone_from(&side.link);
        let (_, first) = side.inbox.first_key_value()?;
        if first.at > now || !side.link.up {
            return None;
        }
        let (_, arriving) = side.inbox.pop_first()?;
        if let Some(sender) = side.sender.take() {
            sender.wake();
        }
        self.incoming = arriving.bytes;
        Some(RxFrame { bytes: &self.incoming, checksum: arriving.checksum })
    }

    fn can_transmit(&self) -> bool {
        let mut inner = self.cable.lock();
        let up = inner.sides[self.side].link.up;
        let other = &mut inner.sides[1 - self.side];
        let can = up && other.inbox.len() < other.capacity;
        other.wants_room |= !can;
        can
    }

    fn begin_frame(&mut self, frame: TxFrame) -> &mut [u8] {
        assert!(frame.len_bytes <= MAX_FRAME_BYTES);
        assert!(frame.segments.is_none() || frame.checksum.is_some());
        self.frame = frame;
        // What was there before must not shine through.
        self.outgoing.clear();
        self.outgoing.resize(frame.len_bytes, 0xa5);
        &mut self.outgoing
    }

    fn commit_frame(&mut self) {
        let bytes = self.outgoing.clone();
        let (frame, side) = (self.frame, self.side);
        let mut inner = self.cable.lock();
        if inner.sides[side].link.up {
            inner.send(1 - side, &frame, bytes);
        }
    }

    fn flush(&mut self) {}

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.cable.lock();
        let now = inner.now();
        let other = &mut inner.sides[1 - self.side];
        let has_room = other.inbox.len() < other.capacity;
        let mut ready = has_room && core::mem::take(&mut other.wants_room);
        other.sender = Some(context.waker().clone());
        let side = &mut inner.sides[self.side];
        ready |= core::mem::replace(&mut side.seen, side.link.generation) != side.link.generation;
        self.link.clone_from(&side.link);
        side.waker = Some(context.waker().clone());
        let first = side.inbox.first_key_value().map(|(_, arriving)| arriving.at);
        drop(inner);
        match first {
            Some(at) if at <= now => return Poll::Ready(()),
            Some(at) if self.alarm.as_ref().is_none_or(|alarm| alarm.deadline() != at) => {
                self.alarm = Some(sleep_until(at));
            }
            Some(_) => {}
            None => self.alarm = None,
        }
        if let Some(alarm) = &mut self.alarm {
            ready |= Pin::new(alarm).poll(context).is_ready();
        }
        if ready {
            self.alarm = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
