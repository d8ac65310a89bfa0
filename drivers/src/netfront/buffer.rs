//! Buffers for packets on their way out: pages that stay lent to the backend and go round.
//!
//! A grant costs hundreds of instructions, a packet's worth of copying fewer, and writing a packet
//! where it is sent from costs neither. So pages are lent once, for reading, and a packet is
//! written straight into them. There are three sizes: a packet of one page, a jumbo packet, and the
//! largest that there is.
//!
//! A page that comes back is not cleared: what is in it was for the same backend. A page that goes
//! to another backend is a new one, all zeroes.

use super::proto::Piece;
use alloc::boxed::Box;
use alloc::vec::Vec;
use xen::Hypervisor;
use xen::gnttab::{GrantError, Grants, LentPages};
use xen::page::PAGE_BYTES;
use xen_abi::DomId;
use xen_abi::gnttab::GrantRef;
use xen_abi::netif::PACKET_SLOTS_MAX;

/// Pages of each size.
const CLASSES: [usize; 3] = [1, 3, 16];

/// Pages side by side, behind one pointer: they are passed on several times on their way through
/// the ring and back.
struct Run(Box<LentPages>);

/// Pages for one packet.
pub(super) struct TxBuffer {
    first: Run,
    /// More of them, where memory is in small pieces: of one page each.
    more: Vec<Run>,
}

impl TxBuffer {
    /// The first `len_bytes` bytes, if they are in one piece.
    pub fn bytes(&mut self, len_bytes: usize) -> Option<&mut [u8]> {
        self.first.0.bytes().get_mut(..len_bytes)
    }

    /// Copies a packet in. It fits.
    pub fn write(&mut self, mut bytes: &[u8]) {
        for pages in core::iter::once(&mut self.first).chain(&mut self.more) {
            let room = pages.0.bytes();
            let (piece, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..piece.len()].copy_from_slice(piece);
            bytes = rest;
        }
    }

    /// Copies the packet out.
    pub fn read(&mut self, len_bytes: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len_bytes);
        for pages in core::iter::once(&mut self.first).chain(&mut self.more) {
            let piece = pages.0.bytes();
            bytes.extend_from_slice(&piece[..piece.len().min(len_bytes - bytes.len())]);
        }
        bytes
    }

    /// The pieces of the packet, page by page.
    pub fn pieces(&self, len_bytes: usize, to: &mut [Piece; PACKET_SLOTS_MAX]) -> usize {
        let (mut left, mut count) = (len_bytes, 0);
        for pages in core::iter::once(&self.first).chain(&self.more) {
            for index in 0..pages.0.pages() {
                let Some(piece) = to.get_mut(count).filter(|_| left > 0) else { return count };
                let len_bytes = left.min(PAGE_BYTES);
                let grant = pages.0.reference(index);
                *piece = Piece { grant, offset: 0, len_bytes: len_bytes as u16 };
                left -= len_bytes;
                count += 1;
            }
        }
        count
    }
}

/// No piece yet.
pub(super) const NO_PIECE: Piece = Piece { grant: GrantRef(0), offset: 0, len_bytes: 0 };

/// Buffers of one size.
#[derive(Default)]
struct Class {
    /// The last one is taken next: what it holds may still be in a cache.
    free: Vec<Run>,
    /// Fewest that were free since the last tidying.
    unneeded: usize,
}

/// The buffers of a connection that are not in use.
pub(super) struct TxPool<X: Hypervisor> {
    grants: Grants<X>,
    backend: DomId,
    classes: [Class; CLASSES.len()],
}

impl<X: Hypervisor> TxPool<X> {
    /// No buffers yet: they are made when they are needed.
    pub fn new(grants: Grants<X>, backend: DomId) -> Self {
        Self { grants, backend, classes: Default::default() }
    }

    /// Whether a buffer is there without new memory.
    pub fn has(&self, len_bytes: usize) -> bool {
        class(len_bytes).is_some_and(|class| !self.classes[class].free.is_empty())
    }

    /// A buffer for a packet of `len_bytes`.
    ///
    /// # Errors
    /// Out of memory or grants, or the packet is too long.
    pub fn take(&mut self, len_bytes: usize) -> Result<TxBuffer, GrantError> {
        let index = class(len_bytes).ok_or(GrantError::OutOfMemory)?;
        let class = &mut self.classes[index];
        let first = class.free.pop();
        class.unneeded = class.unneeded.min(class.free.len());
        let first = match first {
            Some(pages) => Ok(pages),
            None => {
                self.grants.lend(self.backend, CLASSES[index]).map(|pages| Run(Box::new(pages)))
            }
        };
        match first {
            Ok(first) => Ok(TxBuffer { first, more: Vec::new() }),
            Err(GrantError::OutOfMemory) if index > 0 => self.take_small(len_bytes),
            Err(error) => Err(error),
        }
    }

    /// A buffer of single pages, as there are not enough side by side.
    fn take_small(&mut self, len_bytes: usize) -> Result<TxBuffer, GrantError> {
        let first = self.take(PAGE_BYTES)?.first;
        let pages = len_bytes.div_ceil(PAGE_BYTES);
        let more = (1..pages).map(|_| self.take(PAGE_BYTES).map(|buffer| buffer.first));
        let more = more.collect::<Result<_, _>>()?;
        Ok(TxBuffer { first, more })
    }

    /// Takes a buffer back that no request of the ring names any more.
    pub fn put(&mut self, buffer: TxBuffer) {
        self.keep(buffer.first);
        buffer.more.into_iter().for_each(|pages| self.keep(pages));
    }

    fn keep(&mut self, pages: Run) {
        if let Some(index) = CLASSES.iter().position(|count| *count == pages.0.pages()) {
            self.classes[index].free.push(pages);
        }
    }

    /// Gives the memory back that was not needed since the last call.
    pub fn tidy(&mut self) {
        for class in &mut self.classes {
            // The first ones: they have been lying there for longest.
            class.free.drain(..class.unneeded.min(class.free.len()));
            class.unneeded = class.free.len();
        }
    }

    /// Pages that are kept.
    #[cfg(test)]
    pub fn pages(&self) -> usize {
        let pages = |(class, count): (&Class, &usize)| class.free.len() * count;
        self.classes.iter().zip(&CLASSES).map(pages).sum()
    }
}

/// The smallest size that `len_bytes` fit into.
fn class(len_bytes: usize) -> Option<usize> {
    CLASSES.iter().position(|pages| len_bytes <= pages * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::testing::{ALL, BACK, World};

    fn pool() -> (World, TxPool<xen::testing::FakeXen>) {
        let world = World::new(crate::netfront::Config::default(), &ALL);
        let pool = TxPool::new(world.grants.clone(), BACK);
        (world, pool)
    }

    #[test]
    fn a_packet_takes_the_smallest_size_and_its_pages_in_order() {
        let (_world, mut pool) = pool();
        for (len_bytes, pages, slots) in [
            (14, 1, 1),
            (4096, 1, 1),
            (4097, 3, 2),
            (9014, 3, 3),
            (12_289, 16, 4),
            (65_535, 16, 16),
        ] {
            let mut buffer = pool.take(len_bytes).unwrap();
            assert_eq!(buffer.bytes(len_bytes).map(|bytes| bytes.len()), Some(len_bytes));
            let mut pieces = [NO_PIECE; PACKET_SLOTS_MAX];
            assert_eq!(buffer.pieces(len_bytes, &mut pieces), slots);
            let total: usize = pieces.iter().map(|piece| usize::from(piece.len_bytes)).sum();
            assert_eq!(total, len_bytes);
            pool.put(buffer);
            assert!(pool.has(len_bytes));
            assert!(pool.pages() >= pages);
        }
        assert_eq!(pool.pages(), 1 + 3 + 16);
        assert_eq!(pool.take(65_537).err(), Some(GrantError::OutOfMemory));
    }

    #[test]
    fn memory_in_small_pieces_will_do() {
        let (world, mut pool) = pool();
        let mut buffer = pool.take_small(9014).unwrap();
        assert!(buffer.bytes(4096).is_some() && buffer.bytes(9014).is_none());
        let packet = crate::netfront::testing::pattern(7, 9014);
        buffer.write(&packet);
        assert_eq!(buffer.read(9014), packet);
        let mut pieces = [NO_PIECE; PACKET_SLOTS_MAX];
        let mut seen = Vec::new();
        let count = buffer.pieces(9014, &mut pieces);
        for piece in &pieces[..count] {
            let mut bytes = alloc::vec![0; piece.len_bytes.into()];
            world.xen.peer(BACK).copy_from(piece.grant, 0, &mut bytes).unwrap();
            seen.extend(bytes);
        }
        assert_eq!(seen, packet);
        pool.put(buffer);
        assert_eq!(pool.pages(), 3);
        assert!(pool.has(60) && !pool.has(9014));
    }

    #[test]
    fn what_was_not_needed_for_a_while_is_given_back() {
        let (world, mut pool) = pool();
        let buffers: Vec<_> = (0..10).map(|_| pool.take(60).unwrap()).collect();
        buffers.into_iter().for_each(|buffer| pool.put(buffer));
        pool.tidy();
        assert_eq!(pool.pages(), 10, "they were needed");
        // Three at a time are needed now.
        for _ in 0..5 {
            let buffers: Vec<_> = (0..3).map(|_| pool.take(60).unwrap()).collect();
            buffers.into_iter().for_each(|buffer| pool.put(buffer));
        }
        pool.tidy();
        assert_eq!((pool.pages(), world.grants_in_use().0), (3, 3));
        pool.tidy();
        assert_eq!(pool.pages(), 0);
    }
}
