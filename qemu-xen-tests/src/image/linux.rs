//! Unpacks dom0's kernel on the host, which saves Xen seconds of doing so in an emulated machine.
//!
//! A bzImage holds the kernel's ELF, compressed (Linux: Documentation/arch/x86/boot.rst,
//! `payload_offset`). Debian compresses it with xz; the unpacker is the one among dom0's packages,
//! run by the loader of that tree. A kernel of another kind is left as it is: Xen can unpack it.

use crate::host::collect;
use crate::{Context, Result};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// What an xz stream begins with.
const XZ: &[u8] = b"\xfd7zXZ\0";

/// Writes the kernel at `vmlinuz` unpacked, if that can be done, or as it is.
pub fn unpack(root: &Path, vmlinuz: &Path, out: &mut impl Write) -> Result<()> {
    let bytes = std::fs::read(vmlinuz).doing(|| format!("read {}", vmlinuz.display()))?;
    let doing = || format!("unpack {}", vmlinuz.display());
    let Some(payload) = payload(&bytes).filter(|payload| payload.starts_with(XZ)) else {
        return out.write_all(&bytes).doing(doing);
    };
    let mut child = Command::new(root.join("lib64/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(root.join("usr/lib/x86_64-linux-gnu"))
        .arg(root.join("usr/bin/xz"))
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(doing)?;
    let messages = collect(child.stderr.take());
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut kernel = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // If it does not take everything, what comes out is no kernel.
            let _ = input.map(|mut input| input.write_all(payload));
        });
        output.map_or(Ok(0), |mut output| output.read_to_end(&mut kernel))
    })
    .doing(doing)?;
    // What follows the stream makes xz complain; the ELF is what counts.
    let _ = child.wait();
    let _ = messages.join();
    let whole = if kernel.starts_with(b"\x7fELF") { &kernel } else { &bytes };
    out.write_all(whole).doing(doing)
}

/// The compressed kernel inside of a bzImage.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let four = bytes.get(at..at + 4)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*four)).ok()
    };
    if bytes.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = usize::from(*bytes.get(0x1f1)?);
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    bytes.get(start..start.checked_add(word(0x24c)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_payload() {
        let mut bytes = vec![0; 2048];
        assert_eq!(payload(&bytes), None);
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x1f1] = 1;
        bytes[0x248] = 8;
        bytes[0x24c] = 3;
        bytes[1032..1035].copy_from_slice(b"abc");
        assert_eq!(payload(&bytes), Some(&b"abc"[..]));
        bytes[0x24f] = 0xff;
        assert_eq!(payload(&bytes), None);
    }
}
