//! A disk in memory, sparse, whose cache loses what was not flushed when the power goes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;
use xen_abi::blkif::SECTOR_BYTES;

/// The contents of a sector of 512 bytes.
pub type SectorData = [u8; SECTOR_BYTES];

struct State {
    capacity_sectors: u64,
    /// What survives.
    stable: BTreeMap<u64, SectorData>,
    /// Versions of sectors since the last flush, oldest first.
    cached: BTreeMap<u64, Vec<SectorData>>,
    bad: BTreeSet<u64>,
}

/// The disk. A handle: copies name the same one, as backends come and go.
#[derive(Clone)]
pub struct RamDisk(Arc<Mutex<State>>);

impl RamDisk {
    /// A disk of zeroes.
    pub fn new(capacity_sectors: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            capacity_sectors,
            stable: BTreeMap::new(),
            cached: BTreeMap::new(),
            bad: BTreeSet::new(),
        })))
    }

    /// Sectors of 512 bytes.
    pub fn capacity_sectors(&self) -> u64 {
        self.0.lock().capacity_sectors
    }

    /// Grows or shrinks.
    pub fn resize(&self, capacity_sectors: u64) {
        self.0.lock().capacity_sectors = capacity_sectors;
    }

    /// Makes a sector fail.
    pub fn set_bad(&self, sector: u64, bad: bool) {
        let mut state = self.0.lock();
        if bad {
            state.bad.insert(sector)
        } else {
            state.bad.remove(&sector)
        };
    }

    /// Whether one of the sectors fails, or does not exist.
    pub fn fails(&self, first: u64, count: u64) -> bool {
        let state = self.0.lock();
        let Some(end) = first.checked_add(count) else { return true };
        end > state.capacity_sectors || state.bad.range(first..end).next().is_some()
    }

    /// A sector's contents.
    pub fn read(&self, sector: u64) -> SectorData {
        let state = self.0.lock();
        let newest = state.cached.get(&sector).and_then(|versions| versions.last());
        newest.or(state.stable.get(&sector)).copied().unwrap_or([0; SECTOR_BYTES])
    }

    /// Writes a sector into the cache.
    pub fn write(&self, sector: u64, data: &SectorData) {
        self.0.lock().cached.entry(sector).or_default().push(*data);
    }

    /// Forgets sectors. What is read from them afterwards is whatever the disk likes.
    pub fn discard(&self, first: u64, count: u64) {
        let mut state = self.0.lock();
        let kept: Vec<u64> = state.stable.keys().chain(state.cached.keys()).copied().collect();
        for sector in kept.into_iter().filter(|sector| (first..first + count).contains(sector)) {
            state.cached.entry(sector).or_default().push([0xdd; SECTOR_BYTES]);
        }
    }

    /// Brings the cache to stable storage.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        let cached = core::mem::take(&mut state.cached);
        let newest = cached.into_iter().filter_map(|(sector, all)| Some((sector, *all.last()?)));
        state.stable.extend(newest);
    }

    /// The power goes: of each sector that was written since the last flush, any version since may
    /// be what is left. `choose` picks a number below the one given.
    pub fn power_cut(&self, mut choose: impl FnMut(usize) -> usize) {
        let mut state = self.0.lock();
        let cached = core::mem::take(&mut state.cached);
        for (sector, versions) in cached {
            let choice = choose(versions.len() + 1);
            if let Some(version) = choice.checked_sub(1).and_then(|index| versions.get(index)) {
                state.stable.insert(sector, *version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_flushed_is_sure() {
        let disk = RamDisk::new(16);
        disk.write(3, &[1; 512]);
        disk.flush();
        disk.write(3, &[2; 512]);
        disk.write(3, &[3; 512]);
        disk.write(4, &[4; 512]);
        assert_eq!(disk.read(3), [3; 512]);
        disk.power_cut(|_| 0);
        assert_eq!((disk.read(3), disk.read(4)), ([1; 512], [0; 512]));
        disk.write(3, &[2; 512]);
        disk.write(3, &[3; 512]);
        disk.power_cut(|choices| choices - 2);
        assert_eq!(disk.read(3), [2; 512]);
    }

    #[test]
    fn bad_sectors_and_such_as_do_not_exist_fail() {
        let disk = RamDisk::new(16);
        assert!(!disk.fails(8, 8) && disk.fails(8, 9) && disk.fails(u64::MAX, 2));
        disk.set_bad(9, true);
        assert!(disk.fails(8, 2) && !disk.fails(8, 1));
        disk.set_bad(9, false);
        assert!(!disk.fails(8, 2));
    }
}
