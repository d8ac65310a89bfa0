//! `cargo xenios size`: what takes the bytes of an image.

use super::build;
use crate::cli;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, elf};
use qemu_xen_tests::{Context, Error, Result};
use std::collections::BTreeMap;

/// How many symbols are listed.
const TOP: usize = 25;

/// The verb.
pub fn run(options: &cli::Size) -> Result<u8> {
    let built = build::build(&options.app, &options.profile)?;
    let bytes = std::fs::read(&built.debug).doing(|| format!("read {}", built.debug.display()))?;
    let parts = Parts::of(&bytes)?;
    println!("{}: {} bytes", built.image.display(), built.image_bytes);
    println!("\nby section: bytes in the image, or of memory only (*)");
    for (name, size, in_image) in &parts.sections {
        let mark = if *in_image { ' ' } else { '*' };
        println!("{size:>9}{mark} {name}");
    }
    println!("\nby crate: bytes in the image that have a name, and their share");
    let total: u64 = parts.crates.iter().map(|(_, size)| size).sum();
    for (name, size) in &parts.crates {
        println!("{size:>9}  {:>4.1} %  {name}", percent(*size, total));
    }
    println!("\nthe largest symbols in the image");
    for (name, size) in parts.symbols.iter().take(TOP) {
        println!("{size:>9}  {name}");
    }
    Ok(0)
}

fn percent(part: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { part as f64 * 100.0 / total as f64 }
}

/// An image taken apart, the largest first.
struct Parts {
    sections: Vec<(String, u64, bool)>,
    crates: Vec<(String, u64)>,
    symbols: Vec<(String, u64)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Result<Self> {
        let file: ElfFile64 = ElfFile64::parse(bytes)
            .map_err(|why| Error::new(format!("the linked image cannot be read: {why}")))?;
        let mut parts = Self { sections: Vec::new(), crates: Vec::new(), symbols: Vec::new() };
        for section in file.sections() {
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
            if !sh_flags.contains(elf::SHF_ALLOC) || section.size() == 0 {
                continue;
            }
            let name = section.name().unwrap_or("?").to_string();
            parts.sections.push((name, section.size(), section.file_range().is_some()));
        }
        let mut crates: BTreeMap<String, u64> = BTreeMap::new();
        let in_image = |index| {
            file.section_by_index(index).is_ok_and(|section| section.file_range().is_some())
        };
        for symbol in file.symbols().filter(|symbol| symbol.is_definition() && symbol.size() > 0) {
            if !symbol.section_index().is_some_and(in_image) {
                continue;
            }
            let name = symbol.name().unwrap_or("?");
            let name = format!("{:#}", rustc_demangle::demangle(name));
            *crates.entry(crate_of(&name).to_string()).or_default() += symbol.size();
            parts.symbols.push((name, symbol.size()));
        }
        parts.crates = crates.into_iter().collect();
        parts.crates.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        parts.symbols.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        parts.sections.sort_by_key(|(_, size, _)| std::cmp::Reverse(*size));
        Ok(parts)
    }
}

/// The crate that a symbol comes from: the first name of its path, or of the type it belongs to.
fn crate_of(symbol: &str) -> &str {
    if !symbol.contains("::") {
        return "(no path)";
    }
    let start = symbol.find(|c: char| c.is_alphabetic() || c == '_').unwrap_or(0);
    let rest = symbol[start..].trim_start_matches("mut ").trim_start_matches("dyn ");
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    // `<[T] as core::..>` and `<u8 as core::..>` belong to the trait's crate.
    match (&rest[..end], rest[end..].starts_with("::"), symbol.split_once(" as ")) {
        (name, true, _) => name,
        (_, false, Some((_, behind))) => crate_of(behind),
        (_, false, None) => "core",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_have_crates() {
        assert_eq!(crate_of("libos::exec::run"), "libos");
        assert_eq!(crate_of("<xen::page::Page as core::fmt::Debug>::fmt"), "xen");
        assert_eq!(crate_of("<&mut talc::Talc as alloc::X>::y"), "talc");
        assert_eq!(crate_of("<u8 as core::fmt::Display>::fmt"), "core");
        assert_eq!(crate_of("<[u8] as xen::Put>::put"), "xen");
        assert_eq!(crate_of("memcpy"), "(no path)");
    }

    #[test]
    fn takes_this_test_apart() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let parts = Parts::of(&bytes).unwrap();
        assert!(parts.sections.iter().any(|(name, _, _)| name == ".text"));
        assert!(parts.symbols.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        assert!(Parts::of(b"no ELF").is_err());
    }
}
