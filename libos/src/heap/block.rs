//! One block: where its parts lie, and the canaries that seal them.

use core::alloc::Layout;
use core::ptr::NonNull;

/// What stands right before a block's payload.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Neighbours in the list of live blocks, by payload address; 0 at the ends.
    pub(super) prev: usize,
    pub(super) next: usize,
    /// Payload bytes in the lower 56 bits, log2 of the alignment above.
    size_align: u64,
    /// Seals the three words before it.
    canary: u64,
}

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();
/// Bytes of the canary after the payload.
const TRAILER_BYTES: usize = size_of::<u64>();
/// Payloads are aligned at least like this, and so are headers.
const ALIGN_MIN: usize = 16;
/// Bits of [`Header::size_align`] that hold the size.
const SIZE_BITS: u32 = 56;

/// How a block of some layout lies in the memory behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// What is asked of the allocator below.
    pub(super) raw: Layout,
    /// Bytes from the raw beginning to the payload.
    pub(super) payload_offset: usize,
}

impl Geometry {
    /// The geometry for a payload; nothing if it would not fit in the address space.
    pub(super) fn of(payload: Layout) -> Option<Self> {
        let align = payload.align().max(ALIGN_MIN);
        let payload_offset = HEADER_BYTES.max(align);
        let total = payload_offset.checked_add(payload.size())?.checked_add(TRAILER_BYTES)?;
        if total as u64 >> SIZE_BITS != 0 {
            return None;
        }
        let raw = Layout::from_size_align(total, align).ok()?;
        Some(Self { raw, payload_offset })
    }
}

/// A block by its payload. Copies name the same block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Block(NonNull<u8>);

/// The per-boot key that canaries are made with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key(pub(super) u64);

/// Keeps the canary of a freed block apart from any other.
const FREED: u64 = 0xf4ee_d000_f4ee_d000;

impl Block {
    /// The block whose payload is at `payload`.
    pub(super) fn at(payload: NonNull<u8>) -> Self {
        Self(payload)
    }

    /// The block whose payload is at `addr`, which came from [`Self::addr`]; nothing for 0.
    pub(super) fn from_addr(addr: usize) -> Option<Self> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(addr)).map(Self)
    }

    /// Address of the payload.
    pub(super) fn addr(self) -> usize {
        self.0.as_ptr().expose_provenance()
    }

    /// The payload.
    pub(super) fn payload(self) -> NonNull<u8> {
        self.0
    }

    /// Reads the header.
    ///
    /// # Safety
    /// The [`HEADER_BYTES`] before the payload are memory of the heap's; the payload is aligned.
    pub(super) unsafe fn header(self) -> Header {
        // SAFETY: the caller's word.
        unsafe { self.0.cast::<Header>().sub(1).read() }
    }

    /// Writes the header.
    ///
    /// # Safety
    /// As for [`Self::header`], and the memory is this block's.
    pub(super) unsafe fn set_header(self, header: Header) {
        // SAFETY: the caller's word.
        unsafe { self.0.cast::<Header>().sub(1).write(header) };
    }

    /// Reads the canary after a payload of `len_bytes`.
    ///
    /// # Safety
    /// The block has that many bytes.
    pub(super) unsafe fn trailer(self, len_bytes: usize) -> u64 {
        // SAFETY: the caller's word; the trailer lies behind the payload, wherever that ends.
        unsafe { self.0.add(len_bytes).cast::<u64>().read_unaligned() }
    }

    /// Writes the canary after a payload of `len_bytes`.
    ///
    /// # Safety
    /// As for [`Self::trailer`].
    pub(super) unsafe fn set_trailer(self, len_bytes: usize, canary: u64) {
        // SAFETY: as above.
        unsafe { self.0.add(len_bytes).cast::<u64>().write_unaligned(canary) };
    }
}

impl Header {
    /// The header of a new block, not linked to any.
    pub(super) fn new(payload: Layout) -> Self {
        let align = u64::from(payload.align().trailing_zeros()) << SIZE_BITS;
        Self { prev: 0, next: 0, size_align: payload.size() as u64 | align, canary: 0 }
    }

    /// The same block between these neighbours.
    pub(super) fn between(self, prev: usize, next: usize) -> Self {
        Self { prev, next, ..self }
    }

    /// Payload bytes.
    pub(super) fn len_bytes(&self) -> usize {
        (self.size_align & ((1 << SIZE_BITS) - 1)) as usize
    }

    /// The layout that the block was allocated with; nothing if the header holds none.
    pub(super) fn layout(&self) -> Option<Layout> {
        let align = 1usize.checked_shl((self.size_align >> SIZE_BITS) as u32)?;
        Layout::from_size_align(self.len_bytes(), align).ok()
    }
}

impl Key {
    /// The header with the canary that seals it at its place.
    pub(super) fn sealed(self, block: Block, header: Header) -> Header {
        Header { canary: self.seal(block, &header), ..header }
    }

    /// Whether a header is one that this key sealed at this place.
    pub(super) fn fits(self, block: Block, header: &Header) -> bool {
        header.canary == self.seal(block, header)
    }

    /// The canary after a payload of `len_bytes`.
    pub(super) fn trailer(self, block: Block, len_bytes: usize) -> u64 {
        arch::entropy::mix(self.0 ^ (block.addr() as u64 + len_bytes as u64).rotate_left(20))
    }

    /// The header of a block that was freed.
    pub(super) fn freed(self, block: Block, header: Header) -> Header {
        Header { canary: self.freed_canary(block), ..header }
    }

    /// Whether a header is that of a freed block that waits in quarantine.
    pub(super) fn is_freed(self, block: Block, header: &Header) -> bool {
        header.canary == self.freed_canary(block)
    }

    /// Marks a block that goes back to the allocator below. That one writes over the header, so the
    /// mark is put where the payload began; there is room: a canary follows the shortest one.
    ///
    /// # Safety
    /// The block's memory is the heap's alone.
    pub(super) unsafe fn mark_released(self, block: Block) {
        // SAFETY: the caller's word; the payload is aligned for a word.
        unsafe { block.0.cast::<u64>().write(self.freed_canary(block)) };
    }

    /// Whether a block went back to the allocator below and was not used since.
    ///
    /// # Safety
    /// The word at the payload's beginning can be read.
    pub(super) unsafe fn was_released(self, block: Block) -> bool {
        // SAFETY: the caller's word.
        unsafe { block.0.cast::<u64>().read() == self.freed_canary(block) }
    }

    fn freed_canary(self, block: Block) -> u64 {
        arch::entropy::mix(self.0 ^ block.addr() as u64 ^ FREED)
    }

    fn seal(self, block: Block, header: &Header) -> u64 {
        let place = block.addr() as u64 ^ header.size_align.rotate_left(29);
        let links = (header.prev as u64).rotate_left(17) ^ (header.next as u64).rotate_left(43);
        arch::entropy::mix(self.0 ^ place ^ links)
    }
}
