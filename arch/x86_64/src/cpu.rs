//! What the CPU offers (CPUID) and the protection bits that are switched on from it.

use bitflags::bitflags;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::fmt;

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
    /// Asks CPUID. Leaves beyond the CPU's maximum count as empty.
    pub fn detect() -> Self {
        let basic_max = leaf(0, 0).eax;
        let extended_max = leaf(0x8000_0000, 0).eax;
        let basic = |n: u32| if n <= basic_max { leaf(n, 0) } else { EMPTY };
        let extended = |n: u32| if n <= extended_max { leaf(n, 0) } else { EMPTY };
        Self::from_leaves(basic(1), basic(7), extended(0x8000_0001), extended(0x8000_0007))
    }

    /// Intel SDM volume 2, CPUID: the bits of leaves 1, 7, 8000_0001 and 8000_0007.
    fn from_leaves(l1: CpuidResult, l7: CpuidResult, e1: CpuidResult, e7: CpuidResult) -> Self {
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

const EMPTY: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/// One CPUID leaf.
pub fn leaf(number: u32, sub: u32) -> CpuidResult {
    if sub == 0 { __cpuid(number) } else { __cpuid_count(number, sub) }
}

/// Width of a guest-physical address in bits (36 when the CPU does not say).
pub fn physical_address_bits() -> u32 {
    if leaf(0x8000_0000, 0).eax >= 0x8000_0008 { leaf(0x8000_0008, 0).eax & 0xff } else { 36 }
}

/// Whether the vendor is one whose virtualisation is SVM (AMD, Hygon).
pub fn vendor_is_amd_like() -> bool {
    let l = leaf(0, 0);
    matches!(&vendor_bytes(l.ebx, l.edx, l.ecx), b"AuthenticAMD" | b"HygonGenuine")
}

/// The 12 bytes of a CPUID signature given by three registers, in the order of the text.
pub fn vendor_bytes(first: u32, second: u32, third: u32) -> [u8; 12] {
    let mut text = [0; 12];
    for (slot, word) in text.chunks_exact_mut(4).zip([first, second, third]) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    text
}

/// Whether CPUID says that a hypervisor is below us (leaf 1, ecx bit 31).
pub fn has_hypervisor() -> bool {
    leaf(1, 0).ecx & (1 << 31) != 0
}

/// Switches on SMEP, SMAP, UMIP and PGE in CR4 as far as `features` has them.
/// CR0.WP, EFER.NXE, PAE and the SSE bits were set before the first Rust instruction.
#[cfg(xenios_kernel)]
pub fn enable_protection(features: Features) {
    use x86_64::registers::control::{Cr4, Cr4Flags};
    let wanted = [
        (Features::SMEP, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (Features::SMAP, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (Features::UMIP, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        (Features::PGE, Cr4Flags::PAGE_GLOBAL),
    ];
    let bits = wanted.iter().filter(|(f, _)| features.contains(*f)).map(|(_, bit)| *bit);
    let flags = bits.fold(Cr4::read(), |all, bit| all | bit);
    // SAFETY: each bit added is one that CPUID reports; none changes how a supervisor page that is
    // mapped without the user bit behaves, and every page here is such a page.
    unsafe { Cr4::write(flags) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn bits_are_taken_from_the_right_register() {
        let mut l7 = EMPTY;
        l7.ebx = 1 << 7 | 1 << 18;
        l7.ecx = 1 << 2;
        let features = Features::from_leaves(EMPTY, l7, EMPTY, EMPTY);
        assert_eq!(features, Features::SMEP | Features::RDSEED | Features::UMIP);
        assert_eq!(features.to_string(), "smep umip rdseed");
    }

    #[test]
    fn every_feature_has_a_name() {
        let named = NAMES.iter().fold(Features::empty(), |all, (f, _)| all | *f);
        assert_eq!(named, Features::all());
    }

    #[test]
    fn a_signature_reads_in_order() {
        assert_eq!(&vendor_bytes(0x566e_6558, 0x6558_4d4d, 0x4d4d_566e), b"XenVMMXenVMM");
    }
}
