//! Why a trap happened, in words: pure, from the vector, the error code and what the page tables
//! say.

use crate::layout::{Region, regions};
use crate::paging::{Access, Hole};
use crate::trap::STACK_SMASH_VECTOR;
use core::fmt;

/// A page fault, told by what was attempted and what lies at the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The address that was touched (CR2).
    pub addr: u64,
    /// A store.
    pub write: bool,
    /// An instruction fetch.
    pub fetch: bool,
    /// What the page tables say of the address; nothing if they could not be asked.
    pub found: Option<Result<Access, Hole>>,
}

/// The cause of a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A function found its canary damaged when it returned.
    StackSmashed,
    /// A page fault.
    Page(PageFault),
    /// Any other exception: vector and error code.
    Exception(u8, u64),
}

/// Page fault error code bits (Intel SDM volume 3, 4.7).
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_FETCH: u64 = 1 << 4;

impl Cause {
    /// The cause of `vector` with `error_code`; `cr2` and `found` count for page faults only.
    pub fn of(vector: u64, error_code: u64, cr2: u64, found: Option<Result<Access, Hole>>) -> Self {
        match u8::try_from(vector) {
            Ok(STACK_SMASH_VECTOR) => Self::StackSmashed,
            Ok(14) => Self::Page(PageFault {
                addr: cr2,
                write: error_code & ERROR_WRITE != 0,
                fetch: error_code & ERROR_FETCH != 0,
                found,
            }),
            Ok(vector) => Self::Exception(vector, error_code),
            Err(_) => Self::Exception(u8::MAX, error_code),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StackSmashed => f.write_str("stack smashed: a function's canary was overwritten"),
            Self::Page(fault) => fault.fmt(f),
            Self::Exception(vector, 0) => write!(f, "{} (vector {vector})", name(*vector)),
            Self::Exception(vector, code) => {
                write!(f, "{} (vector {vector}, error code {code:#x})", name(*vector))
            }
        }
    }
}

impl fmt::Display for PageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let act = match (self.fetch, self.write) {
            (true, _) => "execute",
            (false, true) => "write",
            (false, false) => "read",
        };
        let addr = self.addr;
        let region = regions().into_iter().find(|region| region.range.contains(addr));
        match (self.found, region) {
            (Some(Err(Hole::Null)), _) if self.fetch => {
                write!(f, "jump to null: execute at {addr:#x}, page zero is not mapped")
            }
            (Some(Err(Hole::Null)), _) => {
                write!(f, "null pointer: {act} at {addr:#x}, page zero is not mapped")
            }
            (Some(Err(Hole::StackGuard)), Some(Region { name, .. })) => {
                write!(f, "stack overflow: {act} at {addr:#x} in the {name}")
            }
            (Some(Err(Hole::HeapGuard)), _) => {
                write!(f, "heap guard page hit: {act} at {addr:#x} beside the heap")
            }
            (Some(Err(Hole::Returned)), _) => {
                write!(f, "{act} at {addr:#x}: this memory was given back to the hypervisor")
            }
            (Some(Err(_)), _) => write!(f, "{act} of unmapped memory at {addr:#x}"),
            (Some(Ok(_)), Some(Region { name, .. })) => {
                write!(f, "{act} of {name} at {addr:#x}: its pages do not allow that")
            }
            (Some(Ok(access)), None) => {
                write!(f, "{act} of heap memory at {addr:#x}: its pages are {access}")
            }
            (None, _) => write!(f, "page fault: {act} at {addr:#x}"),
        }
    }
}

/// Names of the exceptions (Intel SDM volume 3, table 6-1).
fn name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "FPU not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        16 => "x87 floating point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating point error",
        20 => "virtualization exception",
        _ => "unexpected interrupt",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;
    use crate::paging::Permission;
    use std::string::{String, ToString};

    fn page(addr: u64, error: u64, found: Result<Access, Hole>) -> String {
        Cause::of(14, error, addr, Some(found)).to_string()
    }

    #[test]
    fn each_fault_is_told_in_words() {
        let text = layout::text().start() + 0x10;
        let guard = layout::main_stack().start() - 8;
        let cases = [
            (page(8, 0, Err(Hole::Null)), "null pointer: read at 0x8"),
            (page(0, 0x10, Err(Hole::Null)), "jump to null: execute at 0x0"),
            (page(text, 3, Ok(Permission::Text.access())), "write of text at 0x100010"),
            (page(guard, 2, Err(Hole::StackGuard)), "in the main stack's guard"),
            (page(0x20_0000, 0x11, Ok(Permission::Data.access())), "execute of heap memory"),
            (page(0x20_0000, 2, Err(Hole::HeapGuard)), "heap guard page hit: write"),
            (page(1 << 40, 0, Err(Hole::Unmapped)), "read of unmapped memory"),
            (page(0x20_0000, 0, Err(Hole::Returned)), "given back to the hypervisor"),
        ];
        for (told, expected) in cases {
            assert!(told.contains(expected), "{told:?} should say {expected:?}");
        }
    }

    #[test]
    fn every_vector_has_words() {
        for vector in 0..=255 {
            for found in [None, Some(Err(Hole::Unmapped))] {
                assert!(!Cause::of(vector, 1, 0, found).to_string().is_empty());
            }
        }
        assert_eq!(Cause::of(0, 0, 0, None).to_string(), "divide error (vector 0)");
        assert_eq!(
            Cause::of(13, 8, 0, None).to_string(),
            "general protection fault (vector 13, error code 0x8)"
        );
    }
}
