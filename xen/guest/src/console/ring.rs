//! The console ring page, seen from the guest. The backend's indices are allegations.

use crate::page::SharedPage;
use core::sync::atomic::{Ordering, fence};
use xen_abi::console::{IN, IN_BYTES, IN_CONS, IN_PROD, OUT, OUT_BYTES, OUT_CONS, OUT_PROD};

/// Our end of the console ring. Moves bytes; whoever calls sends the event that it asks for.
pub struct Ring {
    page: SharedPage,
}

impl Ring {
    /// The ring in `page`, taken up at whatever indices it has: an earlier kernel may have used it.
    pub fn new(page: SharedPage) -> Self {
        Self { page }
    }

    /// Bytes that [`Self::write`] would take now. None if the backend's index makes no sense.
    pub fn room(&self) -> usize {
        let consumer = self.page.u32_at(OUT_CONS).load(Ordering::Acquire);
        let producer = self.page.u32_at(OUT_PROD).load(Ordering::Relaxed);
        let used = producer.wrapping_sub(consumer) as usize;
        OUT_BYTES.saturating_sub(used)
    }

    /// Puts as many of `bytes` into the ring as fit; how many that were. If any, the backend is to
    /// be notified.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        // The backend has read what its index says before we write there (Xen: io/console.h).
        fence(Ordering::SeqCst);
        let count = room.min(bytes.len());
        let producer = self.page.u32_at(OUT_PROD).load(Ordering::Relaxed);
        let start = producer as usize % OUT_BYTES;
        let (before_wrap, after_wrap) = bytes[..count].split_at(count.min(OUT_BYTES - start));
        self.page.write(OUT + start, before_wrap);
        self.page.write(OUT, after_wrap);
        fence(Ordering::Release);
        self.page.u32_at(OUT_PROD).store(producer.wrapping_add(count as u32), Ordering::Release);
        count
    }

    /// Takes typed bytes into `to`; how many. If any, the backend is to be notified: it may wait
    /// for room. Indices that make no sense count as nothing typed.
    pub fn read(&mut self, to: &mut [u8]) -> usize {
        let producer = self.page.u32_at(IN_PROD).load(Ordering::Acquire);
        let consumer = self.page.u32_at(IN_CONS).load(Ordering::Relaxed);
        let used = producer.wrapping_sub(consumer) as usize;
        if used > IN_BYTES {
            return 0;
        }
        let count = used.min(to.len());
        let start = consumer as usize % IN_BYTES;
        let (before_wrap, after_wrap) = to[..count].split_at_mut(count.min(IN_BYTES - start));
        self.page.read(IN + start, before_wrap);
        self.page.read(IN, after_wrap);
        // The bytes are ours before the backend may write there again.
        fence(Ordering::SeqCst);
        self.page.u32_at(IN_CONS).store(consumer.wrapping_add(count as u32), Ordering::Release);
        count
    }

    /// Bytes that the backend has not taken yet.
    pub fn waiting(&self) -> usize {
        OUT_BYTES - self.room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The backend's end, written from the header.
    struct Backend(SharedPage);

    impl Backend {
        fn take(&self, limit: usize) -> Vec<u8> {
            let consumer = self.0.u32_at(3080).load(Ordering::SeqCst);
            let producer = self.0.u32_at(3084).load(Ordering::SeqCst);
            let count = (producer.wrapping_sub(consumer) as usize).min(limit);
            let taken = (0..count).map(|i| {
                let at = consumer.wrapping_add(i as u32) as usize & 2047;
                self.0.u8_at(1024 + at).load(Ordering::SeqCst)
            });
            let taken = taken.collect();
            self.0.u32_at(3080).store(consumer.wrapping_add(count as u32), Ordering::SeqCst);
            taken
        }

        fn give(&self, bytes: &[u8]) -> usize {
            let consumer = self.0.u32_at(3072).load(Ordering::SeqCst);
            let producer = self.0.u32_at(3076).load(Ordering::SeqCst);
            let room = 1024 - producer.wrapping_sub(consumer) as usize;
            let count = room.min(bytes.len());
            for (i, byte) in bytes[..count].iter().enumerate() {
                let at = producer.wrapping_add(i as u32) as usize & 1023;
                self.0.u8_at(at).store(*byte, Ordering::SeqCst);
            }
            self.0.u32_at(3076).store(producer.wrapping_add(count as u32), Ordering::SeqCst);
            count
        }
    }

    fn pair(start: u32) -> (Ring, Backend) {
        let page = SharedPage::allocate().unwrap();
        for index in [3072, 3076, 3080, 3084] {
            page.u32_at(index).store(start, Ordering::SeqCst);
        }
        let backend = Backend(page.peer());
        (Ring::new(page), backend)
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let (mut ring, backend) = pair(u32::MAX - 5);
        assert_eq!(ring.write(&[b'x'; 3000]), 2048);
        assert_eq!(ring.write(b"y"), 0);
        assert_eq!(ring.waiting(), 2048);
        assert_eq!(backend.take(10).len(), 10);
        assert_eq!(ring.write(b"abcdefghijkl"), 10);
    }

    #[test]
    fn indices_that_make_no_sense_move_nothing() {
        let (mut ring, backend) = pair(7);
        backend.0.u32_at(3080).store(8, Ordering::SeqCst);
        assert_eq!(ring.write(b"x"), 0, "consumer beyond producer");
        backend.0.u32_at(3076).store(7 + 1025, Ordering::SeqCst);
        assert_eq!(ring.read(&mut [0; 8]), 0, "more than the ring holds");
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_across_every_wrap(
            start in prop_oneof![any::<u32>(), Just(u32::MAX - 700)],
            steps in proptest::collection::vec((0usize..3000, 0usize..3000), 1..30),
        ) {
            let (mut ring, backend) = pair(start);
            let (mut sent, mut received) = (Vec::<u8>::new(), Vec::<u8>::new());
            let (mut typed, mut read) = (Vec::<u8>::new(), Vec::<u8>::new());
            for (i, (write, take)) in steps.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..write).map(|n| (n * 7 + i) as u8).collect();
                sent.extend(&bytes[..ring.write(&bytes)]);
                received.extend(backend.take(take));
                typed.extend(&bytes[..backend.give(&bytes)]);
                let mut buffer = std::vec![0; take];
                let count = ring.read(&mut buffer);
                read.extend(&buffer[..count]);
            }
            received.extend(backend.take(usize::MAX));
            let mut rest = [0; 1024];
            let count = ring.read(&mut rest);
            read.extend(&rest[..count]);
            prop_assert_eq!(sent, received);
            prop_assert_eq!(typed, read);
            prop_assert_eq!(ring.waiting(), 0);
        }

        #[test]
        fn no_index_can_do_harm(indices: [u32; 4]) {
            let (mut ring, backend) = pair(0);
            for (i, index) in indices.into_iter().enumerate() {
                backend.0.u32_at(3072 + 4 * i).store(index, Ordering::SeqCst);
            }
            ring.write(&[1; 100]);
            ring.read(&mut [0; 100]);
        }
    }
}
