//! What the loader left in memory, followed pointer by pointer, each checked before it is used.
//!
//! ```text
//!   start_info ─┬─ memory map (or, before version 1, asked from Xen)
//!               ├─ boot line ── up to its NUL
//!               └─ module list ── module bytes, module line
//! ```
//!
//! Nothing is copied: the boot line and the modules stay where they are, on pages that the final
//! tables map read-only and that are kept out of the free RAM.

use crate::info::{MODULES_MAX, ModuleInfo};
use crate::memory::RangeSet;
use arch::addr::PhysRange;
use arch::phys::{OutsideWindow, PhysWindow};
use core::fmt;
use heapless::Vec;
use xen_abi::memory::{ENTRIES_MAX, MemoryMapEntry, start_info_map};
use xen_abi::start_info::{
    MEMORY_MAP_ENTRY_BYTES, MODULE_BYTES, StartInfo, StartInfoError, V0_BYTES, modules,
};

/// Bytes that a boot line, or a module's, may have: far above what any toolstack takes.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Why the kernel cannot boot. The loader is to blame, or the size of the domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BootError {
    /// start_info is not one.
    StartInfo(StartInfoError),
    /// A part that start_info points at does not lie where it can be read.
    Outside(&'static str, OutsideWindow),
    /// A part that start_info points at overlaps the image or page zero.
    InTheWay(&'static str, PhysRange),
    /// More entries in the memory map than a machine has.
    MemoryMapLength(u32),
    /// There is no memory map.
    NoMemoryMap,
    /// No page of RAM is left.
    NoRam,
    /// The page tables could not be made.
    Paging(arch::paging::MapError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartInfo(error) => error.fmt(f),
            Self::Outside(what, OutsideWindow { start, len_bytes }) => write!(
                f,
                "{what} at {start:#x} ({len_bytes} bytes) lies outside of memory that can be read"
            ),
            Self::InTheWay(what, range) => {
                write!(f, "{what} at {range} overlaps the image or page zero")
            }
            Self::MemoryMapLength(entries) => {
                write!(f, "the memory map has {entries} entries, more than {ENTRIES_MAX}")
            }
            Self::NoMemoryMap => f.write_str("neither start_info nor Xen gives a memory map"),
            Self::NoRam => {
                f.write_str("no memory is left after the image: raise memory= in the cfg")
            }
            Self::Paging(error) => write!(f, "page tables: {error}"),
        }
    }
}

/// Reads start_info at `addr`.
pub fn start_info(memory: PhysWindow<'static>, addr: u64) -> Result<StartInfo, BootError> {
    let read = |len| memory.bytes(addr, len).map_err(|at| BootError::Outside("start_info", at));
    let len = StartInfo::len_bytes(read(V0_BYTES)?).map_err(BootError::StartInfo)?;
    StartInfo::parse(read(len)?).map_err(BootError::StartInfo)
}

/// The memory map that start_info points at; empty if it has none.
pub fn memory_map(
    memory: PhysWindow<'static>,
    info: &StartInfo,
) -> Result<Vec<MemoryMapEntry, ENTRIES_MAX>, BootError> {
    let entries = info.memory_map_entries;
    if entries as usize > ENTRIES_MAX {
        return Err(BootError::MemoryMapLength(entries));
    }
    let bytes = memory
        .bytes(info.memory_map_addr, u64::from(entries) * MEMORY_MAP_ENTRY_BYTES)
        .map_err(|at| BootError::Outside("the memory map", at));
    if entries == 0 { Ok(Vec::new()) } else { Ok(start_info_map(bytes?).collect()) }
}

/// What stays in memory: the boot line and the modules, with the pages they lie on.
#[derive(Default, Debug)]
pub struct Kept {
    /// The boot line.
    pub boot_line: &'static [u8],
    /// The modules.
    pub modules: Vec<ModuleInfo, MODULES_MAX>,
    /// Modules beyond [`MODULES_MAX`].
    pub modules_ignored: u32,
    /// Whole pages that hold any of it.
    pub pages: RangeSet,
}

impl Kept {
    /// Follows start_info's pointers. `image` must not be among what they point at.
    pub fn find(
        memory: PhysWindow<'static>,
        info: &StartInfo,
        image: PhysRange,
    ) -> Result<Self, BootError> {
        let mut kept = Self::default();
        let follow = Follow { memory, image };
        kept.boot_line = follow.line("the boot line", info.boot_line_addr, &mut kept.pages)?;
        let count = info.modules.min(MODULES_MAX as u32);
        kept.modules_ignored = info.modules - count;
        if count == 0 {
            return Ok(kept);
        }
        let list = memory
            .bytes(info.module_list_addr, u64::from(count) * MODULE_BYTES)
            .map_err(|at| BootError::Outside("the module list", at))?;
        for module in modules(list) {
            let data = follow.bytes("a module", module.addr, module.len_bytes, &mut kept.pages)?;
            let line = follow.line("a module's line", module.line_addr, &mut kept.pages)?;
            // There is room: `count` is at most the capacity.
            let _ = kept.modules.push(ModuleInfo { data, line });
        }
        Ok(kept)
    }
}

/// Follows pointers and notes the pages they lead to.
struct Follow {
    memory: PhysWindow<'static>,
    image: PhysRange,
}

impl Follow {
    fn bytes(
        &self,
        what: &'static str,
        addr: u64,
        len_bytes: u64,
        kept: &mut RangeSet,
    ) -> Result<&'static [u8], BootError> {
        if len_bytes == 0 {
            return Ok(&[]);
        }
        let bytes =
            self.memory.bytes(addr, len_bytes).map_err(|at| BootError::Outside(what, at))?;
        if let Some(range) = PhysRange::from_len(addr, len_bytes) {
            let pages = range.whole_pages_around();
            if pages.overlaps(self.image) || pages.start() == 0 {
                return Err(BootError::InTheWay(what, range));
            }
            kept.add(pages);
        }
        Ok(bytes)
    }

    /// A NUL-terminated line; empty where the address is 0.
    fn line(
        &self,
        what: &'static str,
        addr: u64,
        pages: &mut RangeSet,
    ) -> Result<&'static [u8], BootError> {
        if addr == 0 {
            return Ok(&[]);
        }
        let found = self.memory.until_nul(addr, LINE_BYTES_MAX);
        let line = found.map_err(|at| BootError::Outside(what, at))?;
        self.bytes(what, addr, line.len() as u64, pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec as StdVec;
    use xen_abi::memory::MemoryKind;
    use xen_abi::start_info::MAGIC;

    const BASE: u64 = 0x20_0000;

    fn image() -> PhysRange {
        PhysRange::new(0x10_0000, BASE).unwrap()
    }

    /// A loader's work at [`BASE`]: start_info, module list, map, boot line and one module.
    fn loaded() -> StdVec<u8> {
        let mut memory = std::vec![0u8; 0x3000];
        let words: [u32; 14] =
            [MAGIC, 1, 0, 1, 0x20_0100, 0, 0x20_0300, 0, 0, 0, 0x20_0200, 0, 2, 0];
        let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
        for (i, word) in words.iter().enumerate() {
            put(4 * i, &word.to_le_bytes());
        }
        put(0x100, &0x20_2000u64.to_le_bytes());
        put(0x108, &6u64.to_le_bytes());
        put(0x110, &0x20_0400u64.to_le_bytes());
        for (i, (addr, len, kind)) in
            [(0u64, 16u64 << 20, 1u32), (1 << 32, 4096, 1)].iter().enumerate()
        {
            put(0x200 + 24 * i, &addr.to_le_bytes());
            put(0x208 + 24 * i, &len.to_le_bytes());
            put(0x210 + 24 * i, &kind.to_le_bytes());
        }
        put(0x300, b"--name Ada\0");
        put(0x400, b"zone\0");
        put(0x2000, b"module");
        memory
    }

    fn window(memory: StdVec<u8>) -> PhysWindow<'static> {
        PhysWindow::of_slice(BASE, Box::leak(memory.into_boxed_slice())).unwrap()
    }

    #[test]
    fn everything_is_found() {
        let memory = window(loaded());
        let info = start_info(memory, BASE).unwrap();
        let map = memory_map(memory, &info).unwrap();
        assert_eq!((map.len(), map[1].addr, map[1].kind), (2, 1 << 32, MemoryKind::Ram));
        let kept = Kept::find(memory, &info, image()).unwrap();
        assert_eq!(kept.boot_line, b"--name Ada");
        assert_eq!((kept.modules[0].data, kept.modules[0].line), (&b"module"[..], &b"zone"[..]));
        let pages: StdVec<_> = kept.pages.ranges().iter().map(|r| (r.start(), r.end())).collect();
        assert_eq!(pages, [(0x20_0000, 0x20_1000), (0x20_2000, 0x20_3000)]);
    }

    #[test]
    fn each_wild_pointer_is_named() {
        let cases = [
            (16, "the module list"),
            (24, "the boot line"),
            (0x100, "a module "),
            (0x110, "a module's line"),
            (40, "the memory map"),
        ];
        for (field, named) in cases {
            let mut memory = loaded();
            memory[field + 4..field + 8].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
            let memory = window(memory);
            let info = start_info(memory, BASE).unwrap();
            let error = memory_map(memory, &info)
                .and_then(|_| Kept::find(memory, &info, image()))
                .map(|_| ())
                .unwrap_err();
            let told = std::format!("{error}");
            assert!(told.starts_with(named) && told.contains("outside"), "{told}");
        }
        assert!(matches!(start_info(window(loaded()), 0), Err(BootError::Outside(..))));
    }

    #[test]
    fn a_module_over_the_image_is_refused() {
        let memory = window(loaded());
        let info = start_info(memory, BASE).unwrap();
        let image = PhysRange::new(0x10_0000, 0x20_2001).unwrap();
        let refused = Kept::find(memory, &info, image).map(|_| ());
        assert!(matches!(refused, Err(BootError::InTheWay(..))), "{refused:?}");
    }

    #[test]
    fn a_long_map_is_refused() {
        let mut info = start_info(window(loaded()), BASE).unwrap();
        info.memory_map_entries = ENTRIES_MAX as u32 + 1;
        let refused = memory_map(window(loaded()), &info);
        assert_eq!(refused, Err(BootError::MemoryMapLength(129)));
    }

    proptest! {
        #[test]
        fn no_start_info_can_do_harm(
            damage in proptest::collection::vec((4usize..0x440, any::<u8>()), 1..40),
        ) {
            let mut memory = loaded();
            for (at, byte) in damage {
                memory[at] = byte;
            }
            let memory = window(memory);
            if let Ok(info) = start_info(memory, BASE) {
                let _ = memory_map(memory, &info);
                let _ = Kept::find(memory, &info, image());
            }
        }
    }
}
