//! Guest-physical memory read with bounds: what a loader points at is checked before it is touched.

use crate::addr::PhysRange;

/// A window of guest-physical memory that may be read.
///
/// In a kernel it is the part of memory that the boot tables map one to one; in a test it is a
/// slice that plays that part.
#[derive(Clone, Copy)]
pub struct PhysWindow<'a> {
    range: PhysRange,
    /// Where the window's first byte is to be found.
    base: *const u8,
    memory: core::marker::PhantomData<&'a [u8]>,
}

/// An address range that the window does not cover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutsideWindow {
    /// First address asked for.
    pub start: u64,
    /// Bytes asked for.
    pub len_bytes: u64,
}

impl<'a> PhysWindow<'a> {
    /// Guest-physical memory below `end`, mapped one to one.
    ///
    /// # Safety
    /// All of `1..end` is mapped readable at its own address for `'a`, and what lies there is not
    /// written while a slice of it lives.
    pub unsafe fn identity(end: u64) -> PhysWindow<'static> {
        let range = PhysRange::new(1, end).unwrap_or_default();
        let base = core::ptr::with_exposed_provenance(1);
        PhysWindow { range, base, memory: core::marker::PhantomData }
    }

    /// `memory` seen as if it began at guest-physical address `start`.
    pub fn of_slice(start: u64, memory: &'a [u8]) -> Option<Self> {
        let range = PhysRange::from_len(start, memory.len() as u64)?;
        Some(Self { range, base: memory.as_ptr(), memory: core::marker::PhantomData })
    }

    /// The bytes at `start`, if all lie in the window.
    pub fn bytes(&self, start: u64, len_bytes: u64) -> Result<&'a [u8], OutsideWindow> {
        let asked = PhysRange::from_len(start, len_bytes);
        match asked {
            Some(asked) if self.range.contains_range(asked) => {
                let offset = (start - self.range.start()) as usize;
                // SAFETY: the constructors' callers vouch for every byte of the range, and `asked`
                // lies inside it.
                Ok(unsafe {
                    core::slice::from_raw_parts(self.base.wrapping_add(offset), len_bytes as usize)
                })
            }
            _ => Err(OutsideWindow { start, len_bytes }),
        }
    }

    /// The bytes from `start` up to the first NUL, which must come within `limit_bytes`.
    pub fn until_nul(&self, start: u64, limit_bytes: u64) -> Result<&'a [u8], OutsideWindow> {
        let outside = OutsideWindow { start, len_bytes: limit_bytes };
        let room = self.range.end().saturating_sub(start).min(limit_bytes);
        let bytes = self.bytes(start, room).map_err(|_| outside)?;
        let len = bytes.iter().position(|&byte| byte == 0).ok_or(outside)?;
        Ok(&bytes[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_ends_at_its_nul_or_is_refused() {
        let memory = b"..hello\0rest";
        let window = PhysWindow::of_slice(0x1000, memory).unwrap();
        assert_eq!(window.until_nul(0x1002, 100), Ok(&b"hello"[..]));
        assert_eq!(window.until_nul(0x1002, 6), Ok(&b"hello"[..]));
        assert!(window.until_nul(0x1002, 5).is_err());
        assert!(window.until_nul(0x1008, 100).is_err());
        assert!(window.until_nul(0x0fff, 100).is_err());
    }

    proptest! {
        #[test]
        fn only_bytes_of_the_window_are_given(start in any::<u64>(), len in any::<u64>()) {
            let memory = [7; 64];
            let window = PhysWindow::of_slice(u64::MAX - 100, &memory).unwrap();
            if let Ok(bytes) = window.bytes(start, len) {
                prop_assert!(start >= u64::MAX - 100 && bytes.len() as u64 == len);
                prop_assert!(bytes.iter().all(|&byte| byte == 7));
            }
        }

        #[test]
        fn ranges_inside_are_given_whole(start in 0u64..64, len in 0u64..64) {
            let memory: [u8; 64] = core::array::from_fn(|i| i as u8);
            let window = PhysWindow::of_slice(0x5000, &memory).unwrap();
            let got = window.bytes(0x5000 + start, len).ok();
            prop_assert_eq!(got, memory.get(start as usize..(start + len) as usize));
        }
    }
}
