//! Access to any bytes of the disk, whole sectors or not.
//!
//! ```text
//!   sectors:     │         │         │         │         │
//!   bytes:            ├────┼─────────┼─────────┼──┤
//!                     head      body            tail
//!   write:       read, change, write    write    read, change, write
//! ```

use super::device::BlockDevice;
use super::shared::Shared;
use crate::blkfront::error::BlockError;
use crate::blkfront::proto::Place;
use alloc::vec;
use core::future::poll_fn;
use xen::Hypervisor;
use xen_abi::blkif::{SECTOR_BYTES, Sector};

/// The part of a range that lies in its first sector, if it does not begin or end with a sector.
struct Edge {
    sector: Sector,
    /// First byte within the sector.
    offset: usize,
    len_bytes: usize,
}

/// What comes first of `len_bytes` bytes from `offset` on: nothing if it is whole sectors.
fn edge(offset: u64, len_bytes: usize, sector_bytes: usize) -> Option<Edge> {
    let within = (offset % sector_bytes as u64) as usize;
    if within == 0 && len_bytes >= sector_bytes {
        return None;
    }
    let sector = Sector((offset - within as u64) / SECTOR_BYTES as u64);
    Some(Edge { sector, offset: within, len_bytes: len_bytes.min(sector_bytes - within) })
}

/// Bytes of whole sectors.
fn body(len_bytes: usize, sector_bytes: usize) -> usize {
    len_bytes - len_bytes % sector_bytes
}

impl<X: Hypervisor> BlockDevice<X> {
    /// Reads from byte `offset` on into `to`.
    ///
    /// # Errors
    /// As for [`Self::read`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn read_bytes(&self, mut offset: u64, mut to: &mut [u8]) -> Result<(), BlockError> {
        let sector_bytes = self.check_bytes(offset, to.len())?;
        while !to.is_empty() {
            let len_bytes = match edge(offset, to.len(), sector_bytes) {
                Some(edge) => {
                    let mut sector = vec![0; sector_bytes];
                    self.read(edge.sector, &mut sector).await?;
                    to[..edge.len_bytes].copy_from_slice(&sector[edge.offset..][..edge.len_bytes]);
                    edge.len_bytes
                }
                None => {
                    let len_bytes = body(to.len(), sector_bytes);
                    let first = Sector(offset / SECTOR_BYTES as u64);
                    self.read(first, &mut to[..len_bytes]).await?;
                    len_bytes
                }
            };
            offset += len_bytes as u64;
            to = &mut to[len_bytes..];
        }
        Ok(())
    }

    /// Writes `from` to byte `offset` and behind it. Parts of sectors are read, changed and
    /// written; such writes by several tasks do not disturb each other, but one at the same time as
    /// a [`Self::write`] to the same sector may undo it.
    ///
    /// # Errors
    /// As for [`Self::write`].
    ///
    /// # Cancellation
    /// As for [`Self::write`].
    pub async fn write_bytes(&self, mut offset: u64, mut from: &[u8]) -> Result<(), BlockError> {
        let sector_bytes = self.check_bytes(offset, from.len())?;
        while !from.is_empty() {
            let len_bytes = match edge(offset, from.len(), sector_bytes) {
                Some(edge) => {
                    let _turn = Turn::wait(&self.shared).await?;
                    let mut sector = vec![0; sector_bytes];
                    self.read(edge.sector, &mut sector).await?;
                    sector[edge.offset..][..edge.len_bytes]
                        .copy_from_slice(&from[..edge.len_bytes]);
                    self.write(edge.sector, &sector).await?;
                    edge.len_bytes
                }
                None => {
                    let len_bytes = body(from.len(), sector_bytes);
                    let first = Sector(offset / SECTOR_BYTES as u64);
                    self.write(first, &from[..len_bytes]).await?;
                    len_bytes
                }
            };
            offset += len_bytes as u64;
            from = &from[len_bytes..];
        }
        Ok(())
    }

    /// Bytes of a sector, if the disk has all of the range.
    fn check_bytes(&self, offset: u64, len_bytes: usize) -> Result<usize, BlockError> {
        let geometry = self.geometry();
        match offset.checked_add(len_bytes as u64) {
            Some(end) if end <= geometry.capacity_bytes() => Ok(geometry.sector_bytes as usize),
            _ => Err(BlockError::OutOfRange),
        }
    }
}

/// The right to write parts of sectors. The others wait.
struct Turn<'d, X: Hypervisor> {
    shared: &'d Shared<X>,
    place: Option<Place>,
    has_it: bool,
}

impl<'d, X: Hypervisor> Turn<'d, X> {
    async fn wait(shared: &'d Shared<X>) -> Result<Self, BlockError> {
        let mut turn = Self { shared, place: None, has_it: false };
        poll_fn(|context| {
            turn.shared.with(|engine| engine.poll_edge(&mut turn.place, context.waker()))
        })
        .await?;
        turn.has_it = true;
        Ok(turn)
    }
}

impl<X: Hypervisor> Drop for Turn<'_, X> {
    fn drop(&mut self) {
        self.shared.with(|engine| match self.has_it {
            true => engine.put_edge(),
            false => engine.leave_edge(&mut self.place),
        });
    }
}
