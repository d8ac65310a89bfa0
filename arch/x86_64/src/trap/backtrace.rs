//! Return addresses found by walking frame pointers, on a stack that may be broken.
//!
//! ```text
//!   rbp ──▶ ┌ caller's rbp ┐──▶ ┌ its caller's rbp ┐──▶ …
//!           └ return addr  ┘    └ return addr      ┘
//! ```
//!
//! A frame counts only if it lies in a known stack, above the last one, and returns into text; the
//! walk stops at the first that does not.

use crate::addr::PhysRange;

/// Reads words of a stack.
pub trait StackReader {
    /// The word at `addr`, or nothing if no stack lies there.
    fn word(&self, addr: u64) -> Option<u64>;
}

/// Return addresses, innermost first.
pub struct Backtrace<R> {
    reader: R,
    text: PhysRange,
    frame_pointer: u64,
    frames_left: u32,
}

/// Frames given at the most.
const FRAMES: u32 = 32;

impl<R: StackReader> Backtrace<R> {
    /// The walk that starts at `frame_pointer`; return addresses outside of `text` end it.
    pub fn new(reader: R, text: PhysRange, frame_pointer: u64) -> Self {
        Self { reader, text, frame_pointer, frames_left: FRAMES }
    }
}

impl<R: StackReader> Iterator for Backtrace<R> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.frames_left = self.frames_left.checked_sub(1)?;
        let caller = self.reader.word(self.frame_pointer)?;
        let return_addr = self.reader.word(self.frame_pointer.checked_add(8)?)?;
        if !self.text.contains(return_addr) {
            return None;
        }
        // A frame that does not lie above is damage or the end; its return address still counts.
        self.frame_pointer = if caller > self.frame_pointer { caller } else { 0 };
        Some(return_addr)
    }
}

/// Reads the kernel's own stacks.
#[cfg(xenios_kernel)]
pub struct KernelStacks;

#[cfg(xenios_kernel)]
impl StackReader for KernelStacks {
    fn word(&self, addr: u64) -> Option<u64> {
        let stack = crate::layout::stack_of(addr)?;
        let word = PhysRange::from_len(addr, 8)?;
        if !addr.is_multiple_of(8) || !stack.contains_range(word) {
            return None;
        }
        // SAFETY: aligned and wholly inside a stack, which is always mapped readable.
        Some(unsafe { core::ptr::with_exposed_provenance::<u64>(addr as usize).read_volatile() })
    }
}

/// The kernel's return addresses from a frame pointer on.
#[cfg(xenios_kernel)]
pub fn backtrace_from(frame_pointer: u64) -> Backtrace<KernelStacks> {
    Backtrace::new(KernelStacks, crate::layout::text(), frame_pointer)
}

/// Return addresses from the caller on.
#[cfg(xenios_kernel)]
#[inline(always)]
pub fn backtrace() -> Backtrace<KernelStacks> {
    let frame_pointer: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack));
    }
    backtrace_from(frame_pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Stack(u64, Vec<u64>);

    impl StackReader for Stack {
        fn word(&self, addr: u64) -> Option<u64> {
            let offset = addr.checked_sub(self.0)?;
            self.1.get((offset / 8) as usize).copied()
        }
    }

    fn walk(words: &[u64], from: u64) -> Vec<u64> {
        let text = PhysRange::new(0x100, 0x200).unwrap();
        Backtrace::new(Stack(0x1000, words.to_vec()), text, from).collect()
    }

    #[test]
    fn frames_are_followed_up_to_the_end_of_the_stack() {
        assert_eq!(walk(&[0x1010, 0x101, 0x1020, 0x102, 0, 0x103], 0x1000), [0x101, 0x102, 0x103]);
    }

    #[test]
    fn damage_ends_the_walk() {
        assert_eq!(walk(&[0x1010, 0x101, 0x1000, 0x102], 0x1000), [0x101, 0x102], "a loop");
        assert_eq!(walk(&[0x1010, 0x999, 0x1020, 0x102], 0x1000), [], "not in text");
        assert_eq!(walk(&[0xffff_ffff_ffff_fffc, 0x101], 0x1000), [0x101], "wild frame pointer");
        assert_eq!(walk(&[], u64::MAX), []);
    }

    #[test]
    fn a_deep_stack_is_cut() {
        let words: Vec<u64> = (0..1000).flat_map(|i| [0x1000 + 16 * (i + 1), 0x150]).collect();
        assert_eq!(walk(&words, 0x1000).len(), FRAMES as usize);
    }
}
