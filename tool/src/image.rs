//! Checks and strips a linked image.
//!
//! What Xen's loader wants is checked here, at build time, where a mistake still has a name: at
//! boot it would be a silent hang.

use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, U16, U64, pod};
use qemu_xen_tests::{Error, Result};

type Header = FileHeader64<Endianness>;
type Segment = ProgramHeader64<Endianness>;

/// What an image tells a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The 32-bit entry point, from the note PHYS32_ENTRY.
    pub entry: u64,
    /// The first address that is loaded.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
}

/// The note type that names the PVH entry point (Xen: elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY).
const PHYS32_ENTRY: elf::NoteType = elf::NoteType(18);

/// Checks that `bytes` is an image Xen can boot.
pub fn check(bytes: &[u8]) -> Result<Facts> {
    let header = Header::parse(bytes).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let segments = header.program_headers(endian, bytes).map_err(unreadable)?;
    let mut facts = Facts { entry: 0, start: u64::MAX, end: 0 };
    for segment in segments {
        let flags = segment.p_flags(endian);
        if segment.p_type(endian) == elf::PT_LOAD {
            let address = segment.p_paddr(endian);
            facts.start = facts.start.min(address);
            facts.end = facts.end.max(address.saturating_add(segment.p_memsz(endian)));
            if flags.contains(elf::PF_W | elf::PF_X) {
                return Err(bad(format!("the segment at {address:#x} is writable and executable")));
            }
        }
    }
    facts.entry = entry_note(segments, endian, bytes)?;
    if !(facts.start..facts.end).contains(&facts.entry) {
        return Err(bad(format!(
            "the entry {:#x} lies outside of {:#x}..{:#x}",
            facts.entry, facts.start, facts.end
        )));
    }
    Ok(facts)
}

fn entry_note(segments: &[Segment], endian: Endianness, bytes: &[u8]) -> Result<u64> {
    for segment in segments.iter().filter(|s| s.p_type(endian) == elf::PT_NOTE) {
        // QEMU pads a note's name by the segment's alignment: anything but 4 makes it misread.
        if segment.p_align(endian) != 4 {
            return Err(bad(format!(
                "the note segment is aligned to {} bytes, not 4",
                segment.p_align(endian)
            )));
        }
        let Some(mut notes) = segment.notes(endian, bytes).map_err(unreadable)? else { continue };
        while let Some(note) = notes.next().map_err(unreadable)? {
            if note.name() != b"Xen" || note.n_type(endian) != PHYS32_ENTRY {
                continue;
            }
            return match *note.desc() {
                [a, b, c, d] => Ok(u64::from(u32::from_le_bytes([a, b, c, d]))),
                [a, b, c, d, e, f, g, h] => Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
                _ => Err(bad("the note PHYS32_ENTRY has a value of a strange size".into())),
            };
        }
    }
    Err(bad("it has no note PHYS32_ENTRY in a note segment".into()))
}

/// A copy of `bytes` with nothing but the headers and the segments: no sections, no symbols.
///
/// The segments stand close together, aligned to 16 bytes: loaders of kernels copy them, none maps
/// the file, so the page-wise padding that the linker leaves would only make the image larger.
pub fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    const ALIGN: u64 = 16;
    let header = Header::parse(bytes).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let segments = header.program_headers(endian, bytes).map_err(unreadable)?;
    let table_end = size_of::<Header>() + size_of_val(segments);
    let mut stripped = vec![0; table_end];
    let mut moved: Vec<Segment> = segments.to_vec();
    for (old, new) in segments.iter().zip(&mut moved) {
        if old.p_type(endian) != elf::PT_LOAD || old.p_filesz(endian) == 0 {
            continue;
        }
        let data = old.data(endian, bytes).map_err(|()| unreadable("a segment is cut off"))?;
        let offset = (stripped.len() as u64).next_multiple_of(ALIGN);
        stripped.resize(usize::try_from(offset).map_err(unreadable)?, 0);
        stripped.extend_from_slice(data);
        new.p_offset = U64::new(endian, offset);
        new.p_align = U64::new(endian, ALIGN);
    }
    // Segments that lie within a loaded one (the notes) move along with it.
    let loads: Vec<(Segment, Segment)> = segments
        .iter()
        .copied()
        .zip(moved.iter().copied())
        .filter(|(old, _)| old.p_type(endian) == elf::PT_LOAD)
        .collect();
    for segment in moved.iter_mut().filter(|s| s.p_type(endian) != elf::PT_LOAD) {
        let offset = segment.p_offset(endian);
        let around = loads.iter().find(|(old, _)| {
            (old.p_offset(endian)..old.p_offset(endian) + old.p_filesz(endian)).contains(&offset)
        });
        let moved_to =
            around.map_or(0, |(old, new)| new.p_offset(endian) + (offset - old.p_offset(endian)));
        segment.p_offset = U64::new(endian, moved_to);
    }
    let mut new_header = *header;
    new_header.e_phoff = U64::new(endian, size_of::<Header>() as u64);
    new_header.e_shoff = U64::new(endian, 0);
    new_header.e_shnum = U16::new(endian, 0);
    new_header.e_shstrndx = U16::new(endian, elf::SymbolSection(0));
    stripped[..size_of::<Header>()].copy_from_slice(pod::bytes_of(&new_header));
    stripped[size_of::<Header>()..table_end].copy_from_slice(pod::bytes_of_slice(&moved));
    Ok(stripped)
}

fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::new(format!("the linked image cannot be read: {why}"))
        .help("remove target/xenios and build again")
}

fn bad(why: String) -> Error {
    Error::new(format!("Xen would not boot this image: {why}"))
        .help("link.ld and the entry note in boot/ decide this")
}
