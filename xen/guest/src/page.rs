//! A page that someone else writes while we read: [`SharedPage`]. And pages that others only read:
//! [`PageRun`].
//!
//! There is never a Rust reference to its bytes. They are copied in and out, or read and written as
//! atomic words; what was copied out is ours and stays as it is, so it is checked after the copy.
//!
//! All offsets are ours, never a peer's: one beyond the page is a bug and panics.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use xen_abi::memory::{MemoryKind, MemoryMapEntry};

#[cfg(not(xenios_kernel))]
mod host;

/// Why a page of Xen's could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageError {
    /// The toolstack named a guest frame that is RAM.
    IsRam(u64),
    /// No page was ever put at this guest frame (on the host alone: in a guest it would be a hole).
    #[cfg(not(xenios_kernel))]
    Empty(u64),
    /// The page tables could not be changed.
    Mapping(arch::paging::MapError),
}

impl core::fmt::Display for PageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::IsRam(gfn) => write!(f, "guest frame {gfn:#x} is RAM, not a page of Xen's"),
            #[cfg(not(xenios_kernel))]
            Self::Empty(gfn) => write!(f, "there is no page at guest frame {gfn:#x}"),
            Self::Mapping(error) => error.fmt(f),
        }
    }
}

/// Whether any entry calls a byte of the frame RAM. A frame number that overflows counts as RAM.
pub fn is_ram(gfn: u64, memory_map: &[MemoryMapEntry]) -> bool {
    let Some(start) = gfn.checked_mul(PAGE_BYTES as u64) else { return true };
    let Some(end) = start.checked_add(PAGE_BYTES as u64) else { return true };
    memory_map.iter().any(|entry| {
        let entry_end = entry.addr.saturating_add(entry.len_bytes);
        entry.kind == MemoryKind::Ram && entry.addr < end && start < entry_end
    })
}

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// One page of shared memory.
pub struct SharedPage {
    base: NonNull<u8>,
    gfn: u64,
    backing: Backing,
}

/// Whose memory a page is, and what becomes of it when it is dropped.
enum Backing {
    /// A page of Xen's: stays where it is.
    #[cfg(xenios_kernel)]
    Xen,
    /// A page that a peer has lent us: leaves our address space.
    #[cfg(xenios_kernel)]
    Slot(arch::addr::PhysRange),
    /// A frame of our RAM: becomes free.
    #[cfg(xenios_kernel)]
    Frame(arch::addr::PhysRange),
    /// Memory of the host's, for tests.
    #[cfg(not(xenios_kernel))]
    Host(host::View),
}

// SAFETY: every access is by volatile copy or by atomic; the page belongs to no thread.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// The page of Xen's at guest frame `gfn`, which no entry of `memory_map` calls RAM; mapped
    /// now, and for good.
    #[cfg(xenios_kernel)]
    pub fn outside_ram(gfn: u64, memory_map: &[MemoryMapEntry]) -> Result<Self, PageError> {
        let (base, _) = map_outside_ram(gfn, memory_map)?;
        Ok(Self { base, gfn, backing: Backing::Xen })
    }

    /// The page of a peer's that was just mapped at guest frame `gfn`, which no entry of
    /// `memory_map` calls RAM; mapped until this is dropped.
    #[cfg(xenios_kernel)]
    pub(crate) fn in_slot(gfn: u64, memory_map: &[MemoryMapEntry]) -> Result<Self, PageError> {
        let (base, range) = map_outside_ram(gfn, memory_map)?;
        Ok(Self { base, gfn, backing: Backing::Slot(range) })
    }

    /// A zeroed page of our own RAM, to be shown to a peer; nothing if memory is out. It becomes
    /// free when it is dropped: no peer may have access any more then.
    #[cfg(xenios_kernel)]
    pub fn allocate() -> Option<Self> {
        let frame = arch::frames::allocate(1, 1)?;
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(frame.start() as usize))?;
        let gfn = frame.start() / PAGE_BYTES as u64;
        let page = Self { base, gfn, backing: Backing::Frame(frame) };
        page.clear();
        Some(page)
    }

    /// The guest frame that it lies in.
    pub fn gfn(&self) -> u64 {
        self.gfn
    }

    /// Fills the page with zeroes.
    pub fn clear(&self) {
        // SAFETY: all of the page; the peer may write meanwhile, and bytes may be any.
        unsafe { self.base.as_ptr().write_bytes(0, PAGE_BYTES) };
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// Whether the page is all zeroes. A peer that has access may change that at any time.
    pub fn is_zero(&self) -> bool {
        (0..PAGE_BYTES).step_by(8).all(|at| self.u64_at(at).load(Ordering::Relaxed) == 0)
    }

    /// Copies bytes from `offset` on into `to`.
    #[inline]
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        let from = self.at(offset, to.len());
        // SAFETY: `at` checked the bounds; `to` is ours alone, so the two do not overlap. The peer
        // may write meanwhile: the bytes that arrive may be any, and bytes may be any.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), to.len()) };
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// Copies `from` to `offset`.
    #[inline]
    pub fn write(&self, offset: usize, from: &[u8]) {
        let to = self.at(offset, from.len());
        // SAFETY: as for `read`.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), from.len()) };
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }

    /// The aligned byte at `offset`, as an atomic.
    pub fn u8_at(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: in bounds by `at`; any bits are a value; peers use atomic accesses too.
        unsafe { self.at(offset, 1).cast().as_ref() }
    }

    /// The 16-bit word at `offset`, a multiple of 2, as an atomic.
    pub fn u16_at(&self, offset: usize) -> &AtomicU16 {
        assert!(offset.is_multiple_of(2));
        // SAFETY: as above, and aligned: the page is, and so is the offset.
        unsafe { self.at(offset, 2).cast().as_ref() }
    }

    /// The 32-bit word at `offset`, a multiple of 4, as an atomic.
    #[inline]
    pub fn u32_at(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        // SAFETY: as above, and aligned: the page is, and so is the offset.
        unsafe { self.at(offset, 4).cast().as_ref() }
    }

    /// The 64-bit word at `offset`, a multiple of 8, as an atomic.
    pub fn u64_at(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: as above.
        unsafe { self.at(offset, 8).cast().as_ref() }
    }

    /// Where `len` bytes at `offset` lie.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> NonNull<u8> {
        assert!(offset <= PAGE_BYTES && len <= PAGE_BYTES - offset, "beyond a shared page");
        // SAFETY: the result stays within the page or one past it.
        unsafe { self.base.add(offset) }
    }
}

/// Neighbouring pages of our RAM that peers read at most: their bytes are plain memory to us.
///
/// What a packet is written into, and shown from.
pub struct PageRun {
    /// Never empty, and each begins where the one before it ends.
    pages: Vec<Arc<SharedPage>>,
}

impl PageRun {
    /// `count` zeroed pages, at least 1; nothing if memory is out, or in too small pieces. Each
    /// becomes free when nobody holds it any more.
    pub fn allocate(count: usize) -> Option<Self> {
        let pages = Self::frames(count.max(1))?;
        Some(Self { pages: pages.into_iter().map(Arc::new).collect() })
    }

    #[cfg(xenios_kernel)]
    fn frames(count: usize) -> Option<Vec<SharedPage>> {
        let run = arch::frames::allocate(count as u64, 1)?;
        let page = |index| {
            let start = run.start() + (index * PAGE_BYTES) as u64;
            let frame = arch::addr::PhysRange::from_len(start, PAGE_BYTES as u64)?;
            let base = NonNull::new(core::ptr::with_exposed_provenance_mut(start as usize))?;
            let gfn = start / PAGE_BYTES as u64;
            let page = SharedPage { base, gfn, backing: Backing::Frame(frame) };
            page.clear();
            Some(page)
        };
        (0..count).map(page).collect()
    }

    #[cfg(not(xenios_kernel))]
    fn frames(count: usize) -> Option<Vec<SharedPage>> {
        let (base, pages) = host::allocate_run(count);
        let page = |(index, (view, gfn))| {
            // SAFETY: `base` leads to all `count` pages, and `index` is less.
            let base = unsafe { base.add(index * PAGE_BYTES) };
            SharedPage { base, gfn, backing: Backing::Host(view) }
        };
        Some(pages.into_iter().enumerate().map(page).collect())
    }

    /// Their bytes, those of all pages in one piece.
    pub fn bytes(&mut self) -> &mut [u8] {
        let bytes = self.pages.len() * PAGE_BYTES;
        // SAFETY:
        // 1. the pages lie one after the other, and the first one's pointer leads to all of them;
        // 2. no one of us reaches them otherwise: they are handed out by `shared` alone, to
        //    `crate::gnttab::lent`, which reads and writes none of them, and whoever holds one
        //    after the run is gone does not either;
        // 3. no peer writes them: they are granted there for reading alone.
        unsafe { core::slice::from_raw_parts_mut(self.pages[0].base.as_ptr(), bytes) }
    }

    /// The pages, to be granted for reading and for nothing else.
    pub(crate) fn shared(&self) -> &[Arc<SharedPage>] {
        &self.pages
    }
}

/// Maps the frame `gfn`, which is not RAM, for reading and writing: where it is, and its range.
#[cfg(xenios_kernel)]
fn map_outside_ram(
    gfn: u64,
    memory_map: &[MemoryMapEntry],
) -> Result<(NonNull<u8>, arch::addr::PhysRange), PageError> {
    let start = gfn.saturating_mul(PAGE_BYTES as u64);
    if is_ram(gfn, memory_map) {
        return Err(PageError::IsRam(gfn));
    }
    let range = arch::addr::PhysRange::from_len(start, PAGE_BYTES as u64).unwrap_or_default();
    // SAFETY: all that Rust uses is RAM by the memory map, and this frame is not.
    unsafe { arch::paging::kernel::map_data(range) }.map_err(PageError::Mapping)?;
    let base = core::ptr::with_exposed_provenance_mut(start as usize);
    Ok((NonNull::new(base).ok_or(PageError::IsRam(gfn))?, range))
}

#[cfg(xenios_kernel)]
impl Drop for SharedPage {
    fn drop(&mut self) {
        match self.backing {
            Backing::Xen => {}
            Backing::Slot(range) => {
                // SAFETY: this was the slot's only page, and no reference to it is left. An error
                // is impossible: no table has to be made to unmap a small page.
                let _ = unsafe { arch::paging::kernel::unmap(range, arch::paging::Hole::Unmapped) };
            }
            Backing::Frame(frame) => {
                // SAFETY: allocated by `allocate`, mapped like all RAM, and this was its only
                // owner. An error is impossible: the frame is not free.
                let _ = unsafe { arch::frames::free(frame) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_is_never_taken_for_a_page_of_xens() {
        let ram = |addr, len_bytes| MemoryMapEntry { addr, len_bytes, kind: MemoryKind::Ram };
        let map = [ram(0, 0x20_0001), ram(4 << 30, 1 << 30)];
        assert!(is_ram(0, &map) && is_ram(0x1ff, &map) && is_ram(0x200, &map));
        assert!(!is_ram(0x201, &map) && !is_ram(0xfefff, &map));
        assert!(is_ram(u64::MAX, &map));
    }

    #[test]
    fn both_sides_see_one_page() {
        let page = SharedPage::allocate().unwrap();
        let peer = page.peer();
        page.write(4090, b"abcdef");
        let mut read = [0; 6];
        peer.read(4090, &mut read);
        assert_eq!(&read, b"abcdef");
        peer.u32_at(8).store(7, Ordering::Release);
        assert_eq!(page.u64_at(8).load(Ordering::Acquire), 7);
    }

    #[test]
    #[should_panic(expected = "beyond a shared page")]
    fn an_offset_beyond_the_page_is_a_bug() {
        SharedPage::allocate().unwrap().write(4090, b"abcdefg");
    }
    #[test]
    fn a_run_is_one_piece_and_each_page_is_seen_by_itself() {
        let mut run = PageRun::allocate(3).unwrap();
        let gfns: Vec<u64> = run.shared().iter().map(|page| page.gfn()).collect();
        let peers: Vec<SharedPage> = run.shared().iter().map(|page| page.peer()).collect();
        assert_eq!(run.bytes(), &[0; 3 * PAGE_BYTES]);
        run.bytes()[4094..4098].copy_from_slice(b"abcd");
        let mut read = [0; 2];
        SharedPage::peer_at(gfns[1]).unwrap().read(0, &mut read);
        assert_eq!(&read, b"cd");
        drop(run);
        assert!(peers.iter().all(SharedPage::is_freed));
    }
}
