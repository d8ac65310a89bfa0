//! Finds the shared libraries that a program needs.

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::StringTable;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

type Header = FileHeader64<Endianness>;

/// The names of the libraries that an ELF file asks for; none if it is no such file.
pub fn needed(bytes: &[u8]) -> Vec<String> {
    read(bytes).unwrap_or_default()
}

fn read(bytes: &[u8]) -> Option<Vec<String>> {
    let header = Header::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, bytes).ok()?;
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).ok()?)?;
    let value = |tag| {
        dynamic.iter().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian))
    };
    let table = value(elf::DT_STRTAB)?;
    let size = value(elf::DT_STRSZ)?;
    let strings = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
        .find_map(|segment| segment.data_range(endian, bytes, table, size).ok()?)?;
    let strings = StringTable::new(strings, 0, strings.len() as u64);
    let names = dynamic
        .iter()
        .filter(|entry| entry.d_tag(endian) == elf::DT_NEEDED)
        .filter_map(|entry| strings.get(u32::try_from(entry.d_val(endian)).ok()?).ok())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_the_c_library() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(needed(&bytes).iter().any(|name| name.starts_with("libc.so")));
        assert!(needed(b"#!/bin/sh\n").is_empty());
    }
}
