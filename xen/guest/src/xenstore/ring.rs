//! The xenstore ring page, seen from the guest. What the store writes there is an allegation.
//!
//! ```text
//!   0          1024         2048                                2064
//!   ├─ requests ─┼─ replies ──┼─ req_cons req_prod rsp_cons rsp_prod ┼─ features connection error
//!        we           store       store    we       we       store      store    both     store
//! ```
//!
//! Indices run freely through all 32 bits and may begin anywhere: an earlier kernel may have used
//! the page. The two that are ours are kept here as well, so that nobody changes them.

use super::error::Broken;
use crate::page::SharedPage;
use core::sync::atomic::{Ordering, fence};
use xen_abi::xs_wire::ring::{
    CONNECTED, CONNECTION, ERROR, FEATURE_ERROR, FEATURE_RECONNECTION, RECONNECT, REQ, REQ_CONS,
    REQ_PROD, RING_BYTES, RSP, RSP_CONS, RSP_PROD, SERVER_FEATURES,
};

/// Our end of the ring. Moves bytes; whoever calls sends the event that it asks for.
pub struct Ring {
    page: SharedPage,
    /// Up to where we have written.
    req_prod: u32,
    /// Up to where we have read.
    rsp_cons: u32,
}

impl Ring {
    /// The ring in `page`, taken up at whatever indices it has.
    pub fn new(page: SharedPage) -> Self {
        let mut ring = Self { page, req_prod: 0, rsp_cons: 0 };
        ring.reload();
        ring
    }

    /// Takes up the page's indices again, after the store has started the ring afresh.
    pub fn reload(&mut self) {
        self.req_prod = self.page.u32_at(REQ_PROD).load(Ordering::Acquire);
        self.rsp_cons = self.page.u32_at(RSP_CONS).load(Ordering::Acquire);
    }

    /// Whether someone has used the ring before us: pieces of its messages may be on the way.
    pub fn is_used(&self) -> bool {
        [REQ_CONS, REQ_PROD, RSP_CONS, RSP_PROD]
            .iter()
            .any(|index| self.page.u32_at(*index).load(Ordering::Acquire) != 0)
    }

    /// An index that no earlier user of this ring has seen here: our own producer index.
    pub fn seed(&self) -> u32 {
        self.req_prod
    }

    /// Whether the store offers to start the ring afresh.
    pub fn can_reconnect(&self) -> bool {
        self.features() & FEATURE_RECONNECTION != 0
    }

    /// Whether the ring may be used: nobody waits for a fresh start.
    pub fn is_connected(&self) -> bool {
        self.page.u32_at(CONNECTION).load(Ordering::Acquire) == CONNECTED
    }

    /// Asks for a fresh start: all bytes, watches and transactions are dropped. The store is to be
    /// notified; the ring must not be touched until [`Self::is_connected`].
    pub fn request_reconnect(&mut self) {
        self.page.u32_at(CONNECTION).store(RECONNECT, Ordering::Release);
    }

    /// Takes reply bytes into `to`; how many. If any, the store is to be notified: it may wait for
    /// room.
    pub fn read(&mut self, to: &mut [u8]) -> Result<usize, Broken> {
        let producer = self.page.u32_at(RSP_PROD).load(Ordering::Acquire);
        let count = used(producer, self.rsp_cons)?.min(to.len());
        if count == 0 {
            return Ok(0);
        }
        let start = self.rsp_cons as usize % RING_BYTES;
        let (before_wrap, after_wrap) = to[..count].split_at_mut(count.min(RING_BYTES - start));
        self.page.read(RSP + start, before_wrap);
        self.page.read(RSP, after_wrap);
        self.rsp_cons = self.rsp_cons.wrapping_add(count as u32);
        // The bytes are ours before the store may write there again.
        fence(Ordering::SeqCst);
        self.page.u32_at(RSP_CONS).store(self.rsp_cons, Ordering::Release);
        Ok(count)
    }

    /// Puts as many of `bytes` into the ring as fit; how many. If any, the store is to be notified.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let consumer = self.page.u32_at(REQ_CONS).load(Ordering::Acquire);
        let room = RING_BYTES - used(self.req_prod, consumer)?;
        // The store has read what its index says before we write there.
        fence(Ordering::SeqCst);
        let count = room.min(bytes.len());
        if count == 0 {
            return Ok(0);
        }
        let start = self.req_prod as usize % RING_BYTES;
        let (before_wrap, after_wrap) = bytes[..count].split_at(count.min(RING_BYTES - start));
        self.page.write(REQ + start, before_wrap);
        self.page.write(REQ, after_wrap);
        self.req_prod = self.req_prod.wrapping_add(count as u32);
        fence(Ordering::Release);
        self.page.u32_at(REQ_PROD).store(self.req_prod, Ordering::Release);
        Ok(count)
    }

    /// What the store says of an error on this ring.
    pub fn check_error(&self) -> Result<(), Broken> {
        if self.features() & FEATURE_ERROR == 0 {
            return Ok(());
        }
        match self.page.u32_at(ERROR).load(Ordering::Acquire) {
            0 => Ok(()),
            code => Err(Broken::ByStore(code)),
        }
    }

    fn features(&self) -> u32 {
        self.page.u32_at(SERVER_FEATURES).load(Ordering::Acquire)
    }
}

/// Bytes between two indices; an error if a ring cannot hold them.
fn used(producer: u32, consumer: u32) -> Result<usize, Broken> {
    let used = producer.wrapping_sub(consumer) as usize;
    if used > RING_BYTES { Err(Broken::Indices { producer, consumer }) } else { Ok(used) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The store's end, written from xs_wire.h.
    struct Store(SharedPage);

    impl Store {
        fn word(&self, offset: usize) -> u32 {
            self.0.u32_at(offset).load(Ordering::SeqCst)
        }

        fn take(&self, limit: usize) -> Vec<u8> {
            let (consumer, producer) = (self.word(2048), self.word(2052));
            let count = (producer.wrapping_sub(consumer) as usize).min(limit);
            let byte = |i| self.0.u8_at(consumer.wrapping_add(i) as usize & 1023);
            let taken = (0..count as u32).map(|i| byte(i).load(Ordering::SeqCst)).collect();
            self.0.u32_at(2048).store(consumer.wrapping_add(count as u32), Ordering::SeqCst);
            taken
        }

        fn give(&self, bytes: &[u8]) -> usize {
            let (consumer, producer) = (self.word(2056), self.word(2060));
            let count = (1024 - producer.wrapping_sub(consumer) as usize).min(bytes.len());
            for (i, byte) in bytes[..count].iter().enumerate() {
                let at = 1024 + (producer.wrapping_add(i as u32) as usize & 1023);
                self.0.u8_at(at).store(*byte, Ordering::SeqCst);
            }
            self.0.u32_at(2060).store(producer.wrapping_add(count as u32), Ordering::SeqCst);
            count
        }
    }

    fn pair(start: u32) -> (Ring, Store) {
        let page = SharedPage::allocate().unwrap();
        for index in [2048, 2052, 2056, 2060] {
            page.u32_at(index).store(start, Ordering::SeqCst);
        }
        let store = Store(page.peer());
        (Ring::new(page), store)
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let (mut ring, store) = pair(u32::MAX - 5);
        assert_eq!(ring.write(&[b'x'; 3000]), Ok(1024));
        assert_eq!(ring.write(b"y"), Ok(0));
        assert_eq!(store.take(10).len(), 10);
        assert_eq!(ring.write(b"abcdefghijkl"), Ok(10));
        assert_eq!(ring.read(&mut [0; 8]), Ok(0));
    }

    #[test]
    fn indices_that_make_no_sense_break_the_ring() {
        let (mut ring, store) = pair(7);
        store.0.u32_at(2048).store(8, Ordering::SeqCst);
        assert_eq!(ring.write(b"x"), Err(Broken::Indices { producer: 7, consumer: 8 }));
        store.0.u32_at(2060).store(7 + 1025, Ordering::SeqCst);
        assert!(matches!(ring.read(&mut [0; 8]), Err(Broken::Indices { .. })));
    }

    #[test]
    fn our_own_indices_are_not_taken_from_the_page() {
        let (mut ring, store) = pair(u32::MAX);
        assert_eq!(ring.write(b"ab"), Ok(2));
        store.0.u32_at(2052).store(77, Ordering::SeqCst);
        store.0.u32_at(2056).store(77, Ordering::SeqCst);
        assert_eq!(ring.write(b"c"), Ok(1));
        assert_eq!(store.word(2052), 2);
        assert_eq!(ring.read(&mut [0; 8]), Ok(0));
    }

    #[test]
    fn the_words_of_the_store_are_where_the_header_puts_them() {
        let (mut ring, store) = pair(0);
        assert!(!ring.is_used() && !ring.can_reconnect() && ring.is_connected());
        store.0.u32_at(2064).store(3, Ordering::SeqCst);
        assert!(ring.can_reconnect());
        ring.request_reconnect();
        assert_eq!(store.word(2068), 1);
        assert!(!ring.is_connected());
        assert_eq!(ring.check_error(), Ok(()));
        store.0.u32_at(2072).store(2, Ordering::SeqCst);
        assert_eq!(ring.check_error(), Err(Broken::ByStore(2)));
        store.0.u32_at(2064).store(1, Ordering::SeqCst);
        assert_eq!(ring.check_error(), Ok(()), "the word means nothing without its feature");
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_across_every_wrap(
            start in prop_oneof![any::<u32>(), Just(u32::MAX - 700)],
            steps in proptest::collection::vec((0usize..1500, 0usize..1500), 1..30),
        ) {
            let (mut ring, store) = pair(start);
            let (mut sent, mut taken) = (Vec::<u8>::new(), Vec::<u8>::new());
            let (mut given, mut read) = (Vec::<u8>::new(), Vec::<u8>::new());
            for (i, (write, take)) in steps.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..write).map(|n| (n * 7 + i) as u8).collect();
                sent.extend(&bytes[..ring.write(&bytes).unwrap()]);
                taken.extend(store.take(take));
                given.extend(&bytes[..store.give(&bytes)]);
                let mut buffer = std::vec![0; take];
                let count = ring.read(&mut buffer).unwrap();
                read.extend(&buffer[..count]);
            }
            taken.extend(store.take(usize::MAX));
            let mut rest = [0; 1024];
            let count = ring.read(&mut rest).unwrap();
            read.extend(&rest[..count]);
            prop_assert_eq!(sent, taken);
            prop_assert_eq!(given, read);
        }

        #[test]
        fn no_word_can_do_harm(words: [u32; 7], before: bool) {
            let (mut ring, store) = pair(u32::MAX - 3);
            for (i, word) in words.into_iter().enumerate() {
                store.0.u32_at(2048 + 4 * i).store(word, Ordering::SeqCst);
            }
            if before {
                ring.reload();
            }
            let _ = (ring.write(&[1; 100]), ring.read(&mut [0; 100]), ring.check_error());
        }
    }
}
