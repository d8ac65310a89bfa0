//! Memory for transfers: whole pages, which a backend may be given access to.
//!
//! A Rust slice cannot be shown to a backend: the app may drop its future at any time, and the
//! backend would go on writing. So the driver takes pages as its own for as long as a request
//! lasts, and gives them back with the result. What a page goes through:
//!
//! ```text
//!              grant                    answer: access ends
//!   Plain ───────────────▶ Lent ──────────────────────────────▶ Plain
//!
//!   Pooled                 granted as long as the connection lasts (persistent grants)
//!
//!              copied      Covered      answer: copied back
//!   Plain ───────────────▶ (Plain + ───────────────────────────▶ Plain
//!                            Pooled)
//! ```

use alloc::vec::Vec;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantError, GrantedPage, Grants, StillInUse};
use xen::page::{PAGE_BYTES, SharedPage};
use xen_abi::DomId;
use xen_abi::gnttab::GrantRef;

/// One page of a buffer.
pub(super) enum Page {
    /// Ours alone.
    Plain(SharedPage),
    /// The backend has access for one request.
    Lent(GrantedPage),
    /// The backend has access as long as the connection lasts.
    Pooled(GrantedPage),
    /// Ours alone; a page of the pool takes its place for one request.
    Covered(SharedPage, GrantedPage),
    /// The backend would not let go of it, and there was no memory for another one.
    Lost,
}

impl Page {
    /// The page that the app sees.
    pub fn shared(&self) -> Option<&SharedPage> {
        match self {
            Self::Plain(page) | Self::Covered(page, _) => Some(page),
            Self::Lent(page) | Self::Pooled(page) => Some(page),
            Self::Lost => None,
        }
    }

    /// What the backend knows it by, if it has access.
    pub fn reference(&self) -> Option<GrantRef> {
        match self {
            Self::Lent(page) | Self::Pooled(page) | Self::Covered(_, page) => {
                Some(page.reference())
            }
            Self::Plain(_) | Self::Lost => None,
        }
    }

    /// Gives `backend` access to a plain page; any other stays as it is.
    pub fn lend<X: Hypervisor>(
        &mut self,
        grants: &Grants<X>,
        backend: DomId,
        access: Access,
    ) -> Result<(), GrantError> {
        match core::mem::replace(self, Self::Lost) {
            Self::Plain(page) => match grants.grant_or_return(backend, page, access) {
                Ok(page) => {
                    *self = Self::Lent(page);
                    Ok(())
                }
                Err((error, page)) => {
                    *self = page.map_or(Self::Lost, Self::Plain);
                    Err(error)
                }
            },
            other => {
                *self = other;
                Ok(())
            }
        }
    }

    /// Ends the backend's access to a page that was lent; any other stays as it is.
    ///
    /// # Errors
    /// When the backend still uses it. There is a fresh page in its place then, if memory allows.
    pub fn take_back(&mut self) -> Result<(), StillInUse> {
        match core::mem::replace(self, Self::Lost) {
            Self::Lent(page) => match page.end() {
                Ok(page) => *self = Self::Plain(page),
                Err(error) => {
                    *self = Self::fresh();
                    return Err(error);
                }
            },
            other => *self = other,
        }
        Ok(())
    }

    /// Makes the page ours alone again, after the connection has ended. If the backend still uses
    /// it, another one takes its place; with the same contents if `keep`.
    pub fn recover(&mut self, keep: bool) {
        *self = match core::mem::replace(self, Self::Lost) {
            Self::Lent(page) | Self::Pooled(page) => {
                let copy = if keep { copy_of(&page) } else { None };
                match page.end() {
                    Ok(page) => Self::Plain(page),
                    Err(_) if keep => copy.map_or(Self::Lost, Self::Plain),
                    Err(_) => Self::fresh(),
                }
            }
            Self::Covered(page, _) => Self::Plain(page),
            other => other,
        };
    }

    fn fresh() -> Self {
        SharedPage::allocate().map_or(Self::Lost, Self::Plain)
    }
}

/// Copies all of a page into another.
pub(super) fn copy_page(from: &SharedPage, to: &SharedPage) {
    let mut chunk = [0; 512];
    for at in (0..PAGE_BYTES).step_by(chunk.len()) {
        from.read(at, &mut chunk);
        to.write(at, &chunk);
    }
}

fn copy_of(page: &SharedPage) -> Option<SharedPage> {
    let copy = SharedPage::allocate()?;
    copy_page(page, &copy);
    Some(copy)
}

/// Whole pages of ours, of which the first `len_bytes` bytes take part in a transfer.
///
/// The backend can read and write all of every page while the transfer lasts. What must not get out
/// (such as what a buffer was decrypted into) does not belong in a buffer that is used again.
pub struct DmaBuffer {
    pages: Vec<Page>,
    len_bytes: usize,
}

impl DmaBuffer {
    /// A zeroed buffer of `len_bytes` bytes; nothing if memory is out.
    pub fn allocate(len_bytes: usize) -> Option<Self> {
        let mut pages = Vec::new();
        pages.try_reserve_exact(len_bytes.div_ceil(PAGE_BYTES)).ok()?;
        for _ in 0..len_bytes.div_ceil(PAGE_BYTES) {
            pages.push(Page::Plain(SharedPage::allocate()?));
        }
        Some(Self { pages, len_bytes })
    }

    /// A buffer of all bytes of `pages`, which nobody else has access to.
    pub fn from_pages(pages: Vec<SharedPage>) -> Self {
        let len_bytes = pages.len() * PAGE_BYTES;
        Self { pages: pages.into_iter().map(Page::Plain).collect(), len_bytes }
    }

    /// The pages.
    pub fn into_pages(self) -> Vec<SharedPage> {
        let plain = |page| if let Page::Plain(page) = page { Some(page) } else { None };
        self.pages.into_iter().filter_map(plain).collect()
    }

    /// Pages of a request, as its result has them.
    pub(super) fn from_parts(mut pages: Vec<Page>, len_bytes: usize) -> Self {
        pages.retain(|page| !matches!(page, Page::Lost));
        let len_bytes = len_bytes.min(pages.len() * PAGE_BYTES);
        Self { pages, len_bytes }
    }

    pub(super) fn into_parts(self) -> (Vec<Page>, usize) {
        (self.pages, self.len_bytes)
    }

    /// Bytes that take part in a transfer.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Sets how many bytes take part in a transfer: at most [`Self::room_bytes`].
    pub fn set_len_bytes(&mut self, len_bytes: usize) {
        self.len_bytes = len_bytes.min(self.room_bytes());
    }

    /// Bytes of all pages.
    pub fn room_bytes(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    /// Copies bytes from `offset` on into `to`. Both lie within the buffer's pages.
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        read_pages(&self.pages, offset, to);
    }

    /// Copies `from` to `offset`. Both lie within the buffer's pages.
    pub fn write(&mut self, offset: usize, from: &[u8]) {
        write_pages(&self.pages, offset, from);
    }

    /// Fills all pages with zeroes.
    pub fn clear(&mut self) {
        self.pages.iter().filter_map(Page::shared).for_each(SharedPage::clear);
    }
}

/// Copies out of pages that follow each other.
pub(super) fn read_pages(pages: &[Page], mut offset: usize, mut to: &mut [u8]) {
    while !to.is_empty() {
        let at = offset % PAGE_BYTES;
        let (now, rest) = to.split_at_mut(to.len().min(PAGE_BYTES - at));
        match pages[offset / PAGE_BYTES].shared() {
            Some(page) => page.read(at, now),
            None => now.fill(0),
        }
        offset += now.len();
        to = rest;
    }
}

/// Copies into pages that follow each other.
pub(super) fn write_pages(pages: &[Page], mut offset: usize, mut from: &[u8]) {
    while !from.is_empty() {
        let at = offset % PAGE_BYTES;
        let (now, rest) = from.split_at(from.len().min(PAGE_BYTES - at));
        if let Some(page) = pages[offset / PAGE_BYTES].shared() {
            page.write(at, now);
        }
        offset += now.len();
        from = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_one_after_another_across_pages() {
        let mut buffer = DmaBuffer::allocate(5000).unwrap();
        assert_eq!((buffer.len_bytes(), buffer.room_bytes()), (5000, 8192));
        buffer.write(4090, b"0123456789");
        let mut read = [0; 12];
        buffer.read(4089, &mut read);
        assert_eq!(&read, b"\x000123456789\0");
        buffer.set_len_bytes(9000);
        assert_eq!(buffer.len_bytes(), 8192);
        buffer.clear();
        buffer.read(4089, &mut read);
        assert_eq!(read, [0; 12]);
        let pages = buffer.into_pages();
        assert_eq!(pages.len(), 2);
        assert_eq!(DmaBuffer::from_pages(pages).len_bytes(), 8192);
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn an_offset_beyond_the_buffer_is_a_bug() {
        DmaBuffer::allocate(512).unwrap().write(4090, b"0123456789");
    }

    #[test]
    fn lost_pages_make_a_buffer_shorter() {
        let page = || Page::Plain(SharedPage::allocate().unwrap());
        let buffer = DmaBuffer::from_parts(alloc::vec![page(), Page::Lost, page()], 9000);
        assert_eq!((buffer.len_bytes(), buffer.room_bytes()), (8192, 8192));
    }
}
