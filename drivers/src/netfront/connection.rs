//! A connection to a backend, from the stack's side: packets in and out through all its queues.
//!
//! ```text
//!   transmit ─▶ plan ─▶ pages of the pool ─▶ ring of the flow's queue ─▶ flush: publish, notify
//!                  ╰──▶ no room: backlog of the queue ──────▲ flush
//!   receive ◀── ring of each queue in turn                    flush: post pages
//! ```

use super::TxOffload;
use super::backlog::Frame;
use super::buffer::{TxBuffer, TxPool};
use super::features::Features;
use super::offload::{Headers, Segments, fill as fill_checksum, flow_hash};
use super::plan::Plan;
use super::proto::{Counters, Lie, RxPacket};
use super::queue::{Queue, Sending};
use super::state::Fault;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::task::Context;
use xen::Hypervisor;
use xen::evtchn::Closed;
use xen::gnttab::Grants;
use xen_abi::DomId;
use xen_abi::netif::Mac;

/// All that is shared with a backend.
pub(super) struct Connection<X: Hypervisor> {
    pub queues: Vec<Queue<X>>,
    pub features: Features,
    pub grants: Grants<X>,
    pub backend: DomId,
    pub pool: TxPool<X>,
    /// Multicast groups that the backend was told.
    groups: Vec<Mac>,
    /// Whether those are the ones that are wanted.
    pub groups_told: bool,
    /// The queue whose packets are taken next.
    turn: usize,
}

impl<X: Hypervisor> Connection<X> {
    /// A connection through `queues`, of which there is at least one.
    pub fn new(
        queues: Vec<Queue<X>>,
        features: Features,
        grants: Grants<X>,
        backend: DomId,
    ) -> Self {
        let pool = TxPool::new(grants.clone(), backend);
        let groups = Vec::new();
        Self { queues, features, grants, backend, pool, groups, groups_told: false, turn: 0 }
    }

    /// Copies the next packet to the beginning of `to`.
    pub fn receive(
        &mut self,
        to: &mut [u8],
        counters: &mut Counters,
    ) -> Result<Option<RxPacket>, Lie> {
        for _ in 0..self.queues.len() {
            let index = self.turn;
            self.turn = (index + 1) % self.queues.len();
            if let Some(packet) = self.queues[index].rx.receive(to, &mut counters.rx)? {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// Whether a packet of any flow goes into a ring at once.
    pub fn is_free(&mut self, counters: &mut Counters) -> Result<bool, Lie> {
        if self.queues.iter().all(Queue::is_free) {
            return Ok(true);
        }
        self.collect(counters)?;
        Ok(self.queues.iter().all(Queue::is_free))
    }

    /// Sends a packet that `fill` writes, or has it wait if the ring is full.
    pub fn transmit(
        &mut self,
        len_bytes: usize,
        mut offload: TxOffload,
        fill: &mut dyn FnMut(&mut [u8]),
        counters: &mut Counters,
    ) -> Result<(), Lie> {
        if !self.is_free(counters)? {
            let mut bytes = vec![0; len_bytes];
            fill(&mut bytes);
            self.keep(self.queue_of(&bytes), Frame { bytes, offload }, counters);
            return Ok(());
        }
        let buffer = self.buffer(len_bytes, counters)?;
        let mut scratch = Vec::new();
        let Some(mut buffer) = buffer else {
            scratch.resize(len_bytes, 0);
            fill(&mut scratch);
            return Ok(());
        };
        let frame = match buffer.bytes(len_bytes) {
            Some(bytes) => bytes,
            None => {
                scratch.resize(len_bytes, 0);
                &mut scratch[..]
            }
        };
        fill(frame);
        let queue = self.queue_of(frame);
        match self.features.plan(frame, &mut offload) {
            Plan::Whole(meta) => {
                buffer.write(&scratch);
                let sending = Sending { buffer, len_bytes, offload };
                if let Err(sending) = self.queues[queue].push(sending, &meta) {
                    counters.tx.bad_length += 1;
                    self.pool.put(sending.buffer);
                }
                Ok(())
            }
            Plan::Cut(mss_bytes) => {
                let frame = frame.to_vec();
                self.pool.put(buffer);
                self.cut(queue, &frame, mss_bytes, counters)
            }
            Plan::Not => {
                self.pool.put(buffer);
                counters.tx.bad_length += 1;
                Ok(())
            }
        }
    }

    /// Sends a packet that is in memory of our own; the ring has room for it.
    fn send(&mut self, queue: usize, frame: Frame, counters: &mut Counters) -> Result<(), Lie> {
        let Frame { mut bytes, mut offload } = frame;
        let len_bytes = bytes.len();
        match self.features.plan(&mut bytes, &mut offload) {
            Plan::Whole(meta) => {
                let Some(mut buffer) = self.buffer(len_bytes, counters)? else { return Ok(()) };
                buffer.write(&bytes);
                let sending = Sending { buffer, len_bytes, offload };
                if let Err(sending) = self.queues[queue].push(sending, &meta) {
                    counters.tx.bad_length += 1;
                    self.pool.put(sending.buffer);
                }
                Ok(())
            }
            Plan::Cut(mss_bytes) => self.cut(queue, &bytes, mss_bytes, counters),
            Plan::Not => {
                counters.tx.bad_length += 1;
                Ok(())
            }
        }
    }

    /// Cuts a packet into segments and sends them.
    fn cut(
        &mut self,
        queue: usize,
        frame: &[u8],
        mss_bytes: NonZeroU16,
        counters: &mut Counters,
    ) -> Result<(), Lie> {
        let Some(segments) = Segments::new(frame, mss_bytes.get()) else {
            counters.tx.bad_length += 1;
            return Ok(());
        };
        counters.tx.cut_here += 1;
        let mut waiting = Vec::new();
        for index in 0..segments.count() {
            let mut bytes = vec![0; segments.len_bytes(index)];
            segments.write(index, &mut bytes);
            if let Some(headers) = Headers::parse(&bytes) {
                fill_checksum(&mut bytes, &headers);
            }
            let frame = Frame { bytes, offload: TxOffload::default() };
            if waiting.is_empty() && self.queues[queue].tx.has_room() {
                self.send(queue, frame, counters)?;
            } else {
                waiting.push(frame);
            }
        }
        // Whatever waits there came after this packet.
        for frame in waiting.into_iter().rev() {
            if !self.queues[queue].backlog.push_front(frame) {
                counters.tx.full += 1;
            }
        }
        Ok(())
    }

    /// Has a packet wait.
    pub fn keep(&mut self, queue: usize, frame: Frame, counters: &mut Counters) {
        if !self.queues[queue].backlog.push(frame) {
            counters.tx.full += 1;
        }
    }

    /// Pages for a packet. Without any, the packet is lost.
    fn buffer(
        &mut self,
        len_bytes: usize,
        counters: &mut Counters,
    ) -> Result<Option<TxBuffer>, Lie> {
        if !self.pool.has(len_bytes) {
            self.collect(counters)?;
        }
        let buffer = self.pool.take(len_bytes).ok();
        counters.tx.no_memory += u64::from(buffer.is_none());
        Ok(buffer)
    }

    /// The queue for a packet.
    pub fn queue_of(&self, frame: &[u8]) -> usize {
        match self.queues.len() {
            1 => 0,
            count => flow_hash(frame) as usize % count,
        }
    }

    /// Takes all transmit responses.
    pub fn collect(&mut self, counters: &mut Counters) -> Result<(), Lie> {
        let Self { queues, pool, .. } = self;
        queues.iter_mut().try_for_each(|queue| queue.collect(pool, counters))
    }

    /// Ends a batch: sends what waits as far as there is room, posts pages, shows the backend all
    /// of it.
    pub fn flush(&mut self, groups: &[Mac], counters: &mut Counters) -> Result<(), Fault> {
        self.collect(counters)?;
        self.tell_groups(groups);
        for index in 0..self.queues.len() {
            while self.queues[index].tx.has_room() {
                let Some(frame) = self.queues[index].backlog.pop() else { break };
                self.send(index, frame, counters)?;
            }
            self.queues[index].publish(&self.grants, self.backend)?;
        }
        Ok(())
    }

    /// Tells the backend which groups are wanted, as far as there is room.
    fn tell_groups(&mut self, wanted: &[Mac]) {
        if self.groups_told || !self.features.multicast_filter {
            return;
        }
        let (ring, known) = (&mut self.queues[0].tx, &mut self.groups);
        known.retain(|mac| wanted.contains(mac) || !ring.push_multicast(*mac, false));
        for mac in wanted {
            if !known.contains(mac) && ring.push_multicast(*mac, true) {
                known.push(*mac);
            }
        }
        self.groups_told = known.len() == wanted.len();
    }

    /// Takes the events that have come; whether any has.
    pub fn poll_events(&self, context: &mut Context<'_>) -> Result<bool, Closed> {
        let mut any = false;
        for queue in &self.queues {
            any |= queue.channels.poll(context)?;
        }
        Ok(any)
    }

    /// Asks for events for received packets; whether some are there already.
    pub fn arm_receive(&mut self) -> Result<bool, Lie> {
        let mut any = false;
        for queue in &mut self.queues {
            any |= queue.rx.arm()?;
        }
        Ok(any)
    }

    /// Whether packets wait for room.
    pub fn has_backlog(&self) -> bool {
        self.queues.iter().any(|queue| !queue.backlog.is_empty())
    }

    /// Sends what waits, and asks for an event if that needs more room; whether a packet of any
    /// flow goes into a ring at once now.
    pub fn settle_transmit(
        &mut self,
        groups: &[Mac],
        counters: &mut Counters,
    ) -> Result<bool, Fault> {
        loop {
            self.flush(groups, counters)?;
            let mut full = self.queues.iter_mut().filter(|queue| !queue.is_free()).peekable();
            if full.peek().is_none() {
                return Ok(true);
            }
            let mut answered = false;
            for queue in full {
                answered |= queue.tx.arm()?;
            }
            if !answered {
                return Ok(false);
            }
        }
    }

    /// Copies of the packets that the backend may not have sent, and of those that wait.
    pub fn unsent(&mut self, counters: &mut Counters) -> Vec<Frame> {
        let mut frames = Vec::new();
        for queue in &mut self.queues {
            for sending in queue.tx.unsent() {
                counters.tx.sent_again += 1;
                let bytes = sending.buffer.read(sending.len_bytes);
                frames.push(Frame { bytes, offload: sending.offload });
            }
            frames.extend(core::iter::from_fn(|| queue.backlog.pop()));
        }
        frames
    }
}
