//! What the loader hands to a PVH kernel: `hvm_start_info`, its modules and memory map.
//!
//! Source: Xen: arch-x86/hvm/start_info.h. Version 0 ends after 40 bytes; version 1 adds the memory
//! map. Xen's toolstack gives version 1, its PVH dom0 builder version 0.
//!
//! Addresses found here are what the loader says, nothing more: who follows one checks it first.

use crate::bytes::{u32_at, u64_at};
use core::fmt;

/// First word of the structure.
pub const MAGIC: u32 = 0x336e_c578;
/// Bytes of version 0.
pub const V0_BYTES: u64 = 40;
/// Bytes of version 1.
pub const V1_BYTES: u64 = 56;
/// Bytes of one module entry.
pub const MODULE_BYTES: u64 = 32;
/// Bytes of one memory map entry.
pub const MEMORY_MAP_ENTRY_BYTES: u64 = 24;

/// The structure as values; addresses are guest-physical, 0 means absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StartInfo {
    /// 0 or 1; a later version is read as 1, which it extends.
    pub version: u32,
    /// SIF_* flags; a plain domain has none.
    pub flags: u32,
    /// Modules in the list.
    pub modules: u32,
    /// Address of the module list.
    pub module_list_addr: u64,
    /// Address of the NUL-terminated boot line.
    pub boot_line_addr: u64,
    /// Address of the ACPI root pointer.
    pub rsdp_addr: u64,
    /// Address of the memory map; 0 before version 1.
    pub memory_map_addr: u64,
    /// Entries of the memory map; 0 before version 1.
    pub memory_map_entries: u32,
}

/// One module (the `ramdisk=` of a domain's configuration).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Module {
    /// Address of its bytes.
    pub addr: u64,
    /// Its length.
    pub len_bytes: u64,
    /// Address of its own NUL-terminated line; 0 if it has none.
    pub line_addr: u64,
}

/// Why `hvm_start_info` could not be read. The loader is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StartInfoError {
    /// The first word is not the magic.
    Magic(u32),
    /// Fewer bytes than the version has.
    Truncated,
}

impl fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "start_info begins with {found:#x}, not {MAGIC:#x}"),
            Self::Truncated => f.write_str("start_info is cut short"),
        }
    }
}

impl StartInfo {
    /// Bytes of the structure whose first [`V0_BYTES`] bytes are given.
    pub fn len_bytes(head: &[u8]) -> Result<u64, StartInfoError> {
        let magic = u32_at(head, 0).ok_or(StartInfoError::Truncated)?;
        if magic != MAGIC {
            return Err(StartInfoError::Magic(magic));
        }
        let version = u32_at(head, 4).ok_or(StartInfoError::Truncated)?;
        Ok(if version == 0 { V0_BYTES } else { V1_BYTES })
    }

    /// Reads the structure from its bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, StartInfoError> {
        let len = Self::len_bytes(bytes)? as usize;
        let bytes = bytes.get(..len).ok_or(StartInfoError::Truncated)?;
        let word = |offset| u32_at(bytes, offset).ok_or(StartInfoError::Truncated);
        let long = |offset| u64_at(bytes, offset).ok_or(StartInfoError::Truncated);
        let has_memory_map = len as u64 == V1_BYTES;
        Ok(Self {
            version: word(4)?,
            flags: word(8)?,
            modules: word(12)?,
            module_list_addr: long(16)?,
            boot_line_addr: long(24)?,
            rsdp_addr: long(32)?,
            memory_map_addr: if has_memory_map { long(40)? } else { 0 },
            memory_map_entries: if has_memory_map { word(48)? } else { 0 },
        })
    }
}

/// The entries of a module list, as far as whole entries are there.
pub fn modules(list: &[u8]) -> impl Iterator<Item = Module> + '_ {
    list.chunks_exact(MODULE_BYTES as usize).filter_map(|entry| {
        Some(Module {
            addr: u64_at(entry, 0)?,
            len_bytes: u64_at(entry, 8)?,
            line_addr: u64_at(entry, 16)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn golden_v1() -> Vec<u8> {
        let words: [u32; 14] =
            [MAGIC, 1, 0, 2, 0x5000, 0, 0x6000, 0, 0xfc00_8000, 0, 0x7000, 1, 5, 0];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn version_1_has_a_memory_map() {
        let info = StartInfo::parse(&golden_v1()).unwrap();
        let expected = StartInfo {
            version: 1,
            flags: 0,
            modules: 2,
            module_list_addr: 0x5000,
            boot_line_addr: 0x6000,
            rsdp_addr: 0xfc00_8000,
            memory_map_addr: 0x1_0000_7000,
            memory_map_entries: 5,
        };
        assert_eq!(info, expected);
    }

    #[test]
    fn version_0_ends_before_the_memory_map() {
        let mut bytes = golden_v1();
        bytes[4] = 0;
        let info = StartInfo::parse(&bytes[..V0_BYTES as usize]).unwrap();
        assert_eq!((info.version, info.memory_map_addr, info.memory_map_entries), (0, 0, 0));
        assert_eq!(StartInfo::parse(&bytes).unwrap(), info, "what follows is not read");
    }

    #[test]
    fn what_is_not_a_start_info_is_refused() {
        let mut bytes = golden_v1();
        assert_eq!(StartInfo::parse(&bytes[..55]), Err(StartInfoError::Truncated));
        assert_eq!(StartInfo::parse(&[]), Err(StartInfoError::Truncated));
        bytes[0] = 0;
        assert_eq!(StartInfo::parse(&bytes), Err(StartInfoError::Magic(0x336e_c500)));
    }

    #[test]
    fn a_module_list_is_read_by_whole_entries() {
        let mut list = [0; 70];
        list[0] = 1;
        list[32 + 8] = 9;
        let read: Vec<Module> = modules(&list).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].addr, read[1].len_bytes), (1, 9));
    }

    proptest! {
        #[test]
        fn no_bytes_can_do_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = StartInfo::parse(&bytes);
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
                prop_assert_ne!(StartInfo::parse(&bytes), Err(StartInfoError::Magic(0)));
            }
        }
    }
}
