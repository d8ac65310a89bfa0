//! Who is below us, by CPUID (Xen: arch-x86/cpuid.h).

/// Signature in ebx, ecx, edx of the hypervisor's first leaf.
pub const XEN_SIGNATURE: [u8; 12] = *b"XenVMMXenVMM";
/// Leaf of the first hypervisor; further ones follow in steps of [`LEAF_STEP`].
pub const FIRST_LEAF: u32 = 0x4000_0000;
/// Distance between hypervisors' leaves.
pub const LEAF_STEP: u32 = 0x100;
/// Places where Xen's leaves may begin.
pub const LEAF_PLACES: u32 = 256;

/// Distance from Xen's first leaf to the one about this domain.
pub const DOMAIN_LEAF: u32 = 4;
/// Bit in eax of that leaf: ecx has the domain's number (Xen: XEN_HVM_CPUID_DOMID_PRESENT).
pub const DOMAIN_LEAF_HAS_DOMID: u32 = 1 << 4;

/// Xen's version: major and minor, as leaf +1 and `xen_version` give them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XenVersion(pub u32);

impl core::fmt::Display for XenVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 & 0xffff)
    }
}
