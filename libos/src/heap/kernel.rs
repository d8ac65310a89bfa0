//! The running kernel's heap: the global allocator, and where its memory comes from.

use super::checked::{CheckedHeap, Counters};
use super::fault::{HeapFault, OutOfMemory};
use arch::addr::{PAGE_BYTES, PhysRange};
use arch::paging::Hole;
use arch::{frames, paging};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};
use spin::Mutex;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// Bytes by which the heap grows at least.
const GROW_BYTES_MIN: usize = 64 << 10;
/// Bytes by which it grows at most, unless one allocation needs more.
const GROW_BYTES_MAX: usize = 64 << 20;
/// The heap grows by its size divided by this.
const GROW_FRACTION: usize = 4;
/// Bytes that talc may need around an allocation, and for its own tables in the first chunk.
const TALC_BYTES: usize = 2 * PAGE_BYTES as usize;

/// What to do about damage. Never returns; must not allocate.
pub type FaultHandler = fn(&HeapFault) -> !;

#[global_allocator]
static HEAP: Heap = Heap { heap: Mutex::new(CheckedHeap::new(Frames)) };
/// The fault handler, as a pointer; null until one is set.
static HANDLER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// The last allocation that could not be made.
static FAILED: Mutex<Option<Layout>> = Mutex::new(None);

struct Heap {
    heap: Mutex<CheckedHeap<Frames>>,
}

/// Sets the key of the canaries. Called once, before the first allocation.
pub fn init(key: u64) {
    HEAP.heap.lock().set_key(key);
}

/// Says what is done about damage.
pub fn set_fault_handler(handler: FaultHandler) {
    HANDLER.store(handler as *mut (), Ordering::Relaxed);
}

/// Checks all live blocks.
pub fn check_all() -> Result<(), HeapFault> {
    HEAP.heap.lock().check_all()
}

/// Replaces the key of the canaries; damage found on the way is reported.
pub fn rekey(key: u64) {
    let sealed = HEAP.heap.lock().rekey(key);
    if let Err(fault) = sealed {
        report(&fault);
    }
}

/// What the heap has counted.
pub fn counters() -> Counters {
    HEAP.heap.lock().counters()
}

/// The last allocation that failed, and what is free now. Nothing if none failed or the heap is in
/// use.
pub fn out_of_memory() -> Option<OutOfMemory> {
    let asked = (*FAILED.try_lock()?)?;
    let mut heap = HEAP.heap.try_lock()?;
    Some(OutOfMemory {
        asked,
        free_bytes: heap.counters().available_bytes as u64 + frames::free_bytes(),
        largest_bytes: (heap.largest_available_bytes() as u64).max(frames::largest_free_bytes()),
    })
}

// SAFETY: blocks come from `CheckedHeap`, which hands out each piece of memory once; it allocates
// nothing through itself.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let allocated = self.heap.lock().allocate(layout);
        or_failed(allocated, layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller's word.
        let freed = unsafe { self.heap.lock().deallocate(block, layout) };
        if let Err(fault) = freed {
            report(&fault);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(block) = NonNull::new(block) else { return block };
        // SAFETY: the caller's word.
        let allocated = unsafe { self.heap.lock().reallocate(block, layout, new_size) };
        let asked = Layout::from_size_align(new_size, layout.align()).unwrap_or(layout);
        or_failed(allocated, asked)
    }
}

/// The pointer; notes an allocation that failed, reports damage.
fn or_failed(allocated: Result<*mut u8, HeapFault>, layout: Layout) -> *mut u8 {
    match allocated {
        Ok(block) => {
            if block.is_null() {
                *FAILED.lock() = Some(layout);
            }
            block
        }
        Err(fault) => report(&fault),
    }
}

fn report(fault: &HeapFault) -> ! {
    let handler = HANDLER.load(Ordering::Relaxed);
    if handler.is_null() {
        arch::idle::halt_forever();
    }
    // SAFETY: not null, so it was stored by `set_fault_handler` from a pointer of this very type.
    let handler: FaultHandler = unsafe { core::mem::transmute::<*mut (), FaultHandler>(handler) };
    handler(fault)
}

/// Page frames as the heap's memory: chunks with an unmapped page at each end.
#[derive(Debug)]
struct Frames;

// SAFETY: `acquire` uses neither the global allocator nor the heap's lock.
unsafe impl Source for Frames {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let needed =
            layout.size().checked_add(layout.align()).and_then(|n| n.checked_add(TALC_BYTES));
        let needed = needed.ok_or(())?;
        let wanted = talc.counters().claimed_bytes / GROW_FRACTION;
        let mut len = wanted.clamp(GROW_BYTES_MIN, GROW_BYTES_MAX).max(needed);
        let chunk = loop {
            if let Some(chunk) = guarded_chunk(len) {
                break chunk;
            }
            if len <= needed {
                return Err(());
            }
            len = (len / 2).max(needed);
        };
        let base = core::ptr::with_exposed_provenance_mut::<u8>(chunk.start() as usize);
        // SAFETY: frames of RAM, mapped one to one, that are the heap's from now on.
        unsafe { talc.claim(base, chunk.len_bytes() as usize) }.map(|_| ()).ok_or(())
    }
}

/// Takes frames for at least `len_bytes`, with one more at each end that is unmapped.
fn guarded_chunk(len_bytes: usize) -> Option<PhysRange> {
    let frames = (len_bytes as u64).div_ceil(PAGE_BYTES).checked_add(2)?;
    let taken = frames::allocate(frames, 1)?;
    let inside = PhysRange::new(taken.start() + PAGE_BYTES, taken.end() - PAGE_BYTES)?;
    for guard in
        [PhysRange::new(taken.start(), inside.start())?, PhysRange::new(inside.end(), taken.end())?]
    {
        // SAFETY: the page was just taken and holds nothing. If no frame is left to say so in the
        // page tables, the chunk has one guard less; memory is at its end then.
        let _ = unsafe { paging::kernel::unmap(guard, Hole::HeapGuard) };
    }
    Some(inside)
}
