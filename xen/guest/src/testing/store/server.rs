//! The store's end of a ring, written from Xen's io/xs_wire.h and docs/misc/xenstore-ring.txt.

use super::requests::Request;
use super::{Connection, FakeStore};
use crate::page::SharedPage;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use xen_abi::xs_wire::{HEADER_BYTES, Header, MessageType, Parser, RequestId, TransactionId};

const RING: u32 = 1024;

/// Serves one ring. [`Self::serve`] does what the daemon would do when an event arrives.
pub struct StoreServer {
    store: FakeStore,
    key: u32,
    page: SharedPage,
    parser: Parser,
    /// Reply bytes that wait for room.
    out: VecDeque<u8>,
    /// Replies that are kept back.
    held: Vec<Vec<u8>>,
    /// Whether replies are kept back until [`Self::release`].
    pub hold: bool,
    /// Most bytes that are moved each way by one call of [`Self::serve`].
    pub limit: usize,
    /// The most replies that were kept back at a time: requests that the client had in flight.
    pub held_max: usize,
    /// Requests served.
    pub served: u64,
}

impl StoreServer {
    pub(super) fn new(store: FakeStore, key: u32, page: SharedPage) -> Self {
        Self {
            store,
            key,
            page,
            parser: Parser::new(),
            out: VecDeque::new(),
            held: Vec::new(),
            hold: false,
            limit: usize::MAX,
            held_max: 0,
            served: 0,
        }
    }

    /// Sets all indices of a ring that nobody uses yet, and what the store offers.
    pub fn prepare(page: &SharedPage, index: u32, features: u32) {
        for offset in [2048, 2052, 2056, 2060] {
            page.u32_at(offset).store(index, Ordering::SeqCst);
        }
        page.u32_at(2064).store(features, Ordering::SeqCst);
    }

    /// Takes requests, does them, and sends what there is to send; whether anything happened.
    pub fn serve(&mut self) -> bool {
        if self.word(2068) == 1 {
            self.start_afresh();
            return true;
        }
        let taken = self.take();
        let mut bytes = &taken[..];
        while let Ok(Some(message)) = self.parser.feed(&mut bytes) {
            let header = message.header;
            let request = Request {
                kind: header.kind,
                transaction: header.transaction.0,
                payload: message.payload,
            };
            let result = self.store.0.lock().handle(self.key, &request);
            self.served += 1;
            let reply = match result {
                Ok(payload) => message_bytes(header, &payload),
                Err(name) => {
                    let header = Header { kind: MessageType::ERROR, ..header };
                    message_bytes(header, &[name.name().as_bytes(), b"\0"].concat())
                }
            };
            if self.hold {
                self.held.push(reply);
            } else {
                self.out.extend(reply);
            }
        }
        self.held_max = self.held_max.max(self.held.len());
        self.collect_events();
        self.give() || !taken.is_empty()
    }

    /// Sends one of the replies that are kept back; `which` of them is taken modulo their number.
    pub fn release(&mut self, which: usize) {
        if !self.held.is_empty() {
            let reply = self.held.remove(which % self.held.len());
            self.out.extend(reply);
        }
    }

    /// Whether there are watch events to be sent: the daemon would not wait for us to ring.
    pub fn has_events(&self) -> bool {
        self.store.has_events(self.key)
    }

    /// Replies that are kept back.
    pub fn held(&self) -> &[Vec<u8>] {
        &self.held
    }

    /// Never sends the replies that are kept back.
    pub fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Puts any bytes behind what is to be sent.
    pub fn inject(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    /// The page as the server sees it.
    pub fn page(&self) -> &SharedPage {
        &self.page
    }

    fn collect_events(&mut self) {
        let mut world = self.store.0.lock();
        let Some(connection) = world.connections.get_mut(&self.key) else { return };
        for payload in connection.events.drain(..) {
            let header = Header {
                kind: MessageType::WATCH_EVENT,
                request: RequestId(0),
                transaction: TransactionId(0),
                len_bytes: 0,
            };
            self.out.extend(message_bytes(header, &payload));
        }
    }

    /// A new connection on the same ring.
    fn start_afresh(&mut self) {
        let mut world = self.store.0.lock();
        if let Some(connection) = world.connections.get_mut(&self.key) {
            *connection = Connection::new(connection.domain);
        }
        drop(world);
        self.parser.reset();
        self.out.clear();
        self.held.clear();
        for offset in [2048, 2052, 2056, 2060, 2072, 2068] {
            self.page.u32_at(offset).store(0, Ordering::SeqCst);
        }
    }

    fn word(&self, offset: usize) -> u32 {
        self.page.u32_at(offset).load(Ordering::SeqCst)
    }

    fn take(&mut self) -> Vec<u8> {
        let (consumer, producer) = (self.word(2048), self.word(2052));
        let used = producer.wrapping_sub(consumer);
        assert!(used <= RING, "the client's index is {used} ahead");
        let count = used.min(u32::try_from(self.limit).unwrap_or(RING));
        let byte = |i| self.page.u8_at((consumer.wrapping_add(i) % RING) as usize);
        let taken = (0..count).map(|i| byte(i).load(Ordering::SeqCst)).collect();
        self.page.u32_at(2048).store(consumer.wrapping_add(count), Ordering::SeqCst);
        taken
    }

    fn give(&mut self) -> bool {
        let (consumer, producer) = (self.word(2056), self.word(2060));
        let used = producer.wrapping_sub(consumer);
        assert!(used <= RING, "the client has read {used} bytes behind our index");
        let count = ((RING - used) as usize).min(self.out.len()).min(self.limit);
        for (i, byte) in self.out.drain(..count).enumerate() {
            let at = RING as usize + (producer.wrapping_add(i as u32) % RING) as usize;
            self.page.u8_at(at).store(byte, Ordering::SeqCst);
        }
        self.page.u32_at(2060).store(producer.wrapping_add(count as u32), Ordering::SeqCst);
        count > 0
    }
}

/// A message with its length put right.
pub(super) fn message_bytes(header: Header, payload: &[u8]) -> Vec<u8> {
    let header = Header { len_bytes: payload.len() as u32, ..header };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend(header.emit());
    bytes.extend(payload);
    bytes
}
