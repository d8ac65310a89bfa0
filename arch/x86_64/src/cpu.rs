//! What the CPU offers, by CPUID.
//!
//! Each reading of CPUID leaves for the hypervisor, which costs as much as a hypercall. So the
//! entry code reads the leaves that boot needs once, keeps them as [`Leaves`], and all else looks
//! there.

use bitflags::bitflags;
use core::arch::x86_64::{__cpuid_count, CpuidResult};
use core::fmt;

/// One leaf of CPUID.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaf {
    /// As the instruction leaves the register of this name.
    pub eax: u32,
    /// The same.
    pub ebx: u32,
    /// The same.
    pub ecx: u32,
    /// The same.
    pub edx: u32,
}

/// The leaves that boot needs, laid out as the entry code keeps them (`boot/src/start.S`,
/// boot_leaves). One that the CPU does not have is all zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leaves {
    /// Leaf 0: the vendor.
    pub vendor: Leaf,
    /// Leaf 1.
    pub basic_1: Leaf,
    /// Leaf 7, subleaf 0.
    pub basic_7: Leaf,
    /// Leaf 8000_0000.
    pub extended_0: Leaf,
    /// Leaf 8000_0001.
    pub extended_1: Leaf,
    /// Leaf 8000_0007.
    pub extended_7: Leaf,
}

bitflags! {
    /// Features the kernel uses when they are there.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Features: u32 {
        /// No-execute pages (required).
        const NX = 1 << 0;
        /// Supervisor mode execution prevention.
        const SMEP = 1 << 1;
        /// Supervisor mode access prevention.
        const SMAP = 1 << 2;
        /// User mode instruction prevention.
        const UMIP = 1 << 3;
        /// Global pages.
        const PGE = 1 << 4;
        /// 1 GiB pages.
        const PAGES_1G = 1 << 5;
        /// The RDRAND instruction.
        const RDRAND = 1 << 6;
        /// The RDSEED instruction.
        const RDSEED = 1 << 7;
        /// Fast `rep movsb`.
        const ERMS = 1 << 8;
        /// A time stamp counter that runs at one rate always.
        const INVARIANT_TSC = 1 << 9;
    }
}

/// Each feature's name as it is printed.
const NAMES: [(Features, &str); 10] = [
    (Features::NX, "nx"),
    (Features::SMEP, "smep"),
    (Features::SMAP, "smap"),
    (Features::UMIP, "umip"),
    (Features::PGE, "pge"),
    (Features::PAGES_1G, "pages-1g"),
    (Features::RDRAND, "rdrand"),
    (Features::RDSEED, "rdseed"),
    (Features::ERMS, "erms"),
    (Features::INVARIANT_TSC, "invariant-tsc"),
];

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (feature, name) in NAMES {
            if self.contains(feature) {
                f.write_str(if first { "" } else { " " })?;
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

impl Features {
    /// Reads the leaves anew, for who is not given what boot found.
    pub fn detect() -> Self {
        Self::from_leaves(&Leaves::read())
    }

    /// The features that the leaves name (Intel SDM volume 2, CPUID).
    pub fn from_leaves(leaves: &Leaves) -> Self {
        let (l1, l7) = (leaves.basic_1, leaves.basic_7);
        let (e1, e7) = (leaves.extended_1, leaves.extended_7);
        let table = [
            (Self::NX, e1.edx, 20),
            (Self::SMEP, l7.ebx, 7),
            (Self::SMAP, l7.ebx, 20),
            (Self::UMIP, l7.ecx, 2),
            (Self::PGE, l1.edx, 13),
            (Self::PAGES_1G, e1.edx, 26),
            (Self::RDRAND, l1.ecx, 30),
            (Self::RDSEED, l7.ebx, 18),
            (Self::ERMS, l7.ebx, 9),
            (Self::INVARIANT_TSC, e7.edx, 8),
        ];
        table.iter().fold(Self::empty(), |all, &(feature, register, bit)| {
            if register & (1 << bit) != 0 { all | feature } else { all }
        })
    }
}

impl Leaves {
    /// Reads them: six times out to the hypervisor and back.
    pub fn read() -> Self {
        let (vendor, extended_0) = (leaf(0, 0), leaf(0x8000_0000, 0));
        let up_to =
            |last: u32, number| if number <= last { leaf(number, 0) } else { Leaf::default() };
        Self {
            vendor,
            basic_1: up_to(vendor.eax, 1),
            basic_7: up_to(vendor.eax, 7),
            extended_0,
            extended_1: up_to(extended_0.eax, 0x8000_0001),
            extended_7: up_to(extended_0.eax, 0x8000_0007),
        }
    }

    /// Whether the vendor is one whose virtualisation is SVM (AMD, Hygon).
    pub fn vendor_is_amd_like(&self) -> bool {
        let Leaf { ebx, ecx, edx, .. } = self.vendor;
        matches!(&vendor_bytes(ebx, edx, ecx), b"AuthenticAMD" | b"HygonGenuine")
    }

    /// Whether a hypervisor below us says so (leaf 1, ecx bit 31).
    pub fn has_hypervisor(&self) -> bool {
        self.basic_1.ecx & (1 << 31) != 0
    }
}

/// Reads one leaf.
pub fn leaf(number: u32, sub: u32) -> Leaf {
    let CpuidResult { eax, ebx, ecx, edx } = __cpuid_count(number, sub);
    Leaf { eax, ebx, ecx, edx }
}

/// Width of a guest-physical address in bits (36 when the CPU does not say).
pub fn physical_address_bits() -> u32 {
    if leaf(0x8000_0000, 0).eax >= 0x8000_0008 { leaf(0x8000_0008, 0).eax & 0xff } else { 36 }
}

/// The 12 bytes of a CPUID signature given by three registers, in the order of the text.
pub fn vendor_bytes(first: u32, second: u32, third: u32) -> [u8; 12] {
    let mut text = [0; 12];
    for (slot, word) in text.chunks_exact_mut(4).zip([first, second, third]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn bits_are_taken_from_the_right_register() {
        let basic_7 = Leaf { ebx: 1 << 7 | 1 << 18, ecx: 1 << 2, ..Leaf::default() };
        let features = Features::from_leaves(&Leaves { basic_7, ..Leaves::default() });
        assert_eq!(features, Features::SMEP | Features::RDSEED | Features::UMIP);
        assert_eq!(features.to_string(), "smep umip rdseed");
    }

    #[test]
    fn every_feature_has_a_name() {
        let named = NAMES.iter().fold(Features::empty(), |all, (f, _)| all | *f);
        assert_eq!(named, Features::all());
    }

    #[test]
    fn the_vendor_decides_the_instruction() {
        let vendor = |text: &[u8; 12]| {
            let word =
                |at| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
            let vendor = Leaf { eax: 16, ebx: word(0), edx: word(4), ecx: word(8) };
            Leaves { vendor, ..Leaves::default() }.vendor_is_amd_like()
        };
        assert!(vendor(b"AuthenticAMD") && vendor(b"HygonGenuine"));
        assert!(!vendor(b"GenuineIntel") && !Leaves::default().vendor_is_amd_like());
    }

    #[test]
    fn leaves_lie_as_the_entry_code_keeps_them() {
        let at = [
            core::mem::offset_of!(Leaves, basic_1),
            core::mem::offset_of!(Leaves, basic_7),
            core::mem::offset_of!(Leaves, extended_1),
            core::mem::offset_of!(Leaf, ebx),
            core::mem::offset_of!(Leaf, edx),
            size_of::<Leaves>(),
        ];
        assert_eq!(at, [16, 2 * 16, 4 * 16, 4, 12, 6 * 16]);
    }

    #[test]
    fn a_signature_reads_in_order() {
        assert_eq!(&vendor_bytes(0x566e_6558, 0x6558_4d4d, 0x4d4d_566e), b"XenVMMXenVMM");
    }
}
