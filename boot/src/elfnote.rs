//! The ELF note by which Xen's loader (and QEMU's) finds the entry.
//!
//! Note record: name size, descriptor size, type, name, descriptor, each 4-byte aligned. Source:
//! Xen: elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY. link.ld puts it under a PT_NOTE header, which is where
//! loaders look.

use core::arch::global_asm;
use xen_abi::elfnote;

global_asm!(
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".long 4",
    ".long 4",
    ".long {phys32_entry}",
    ".asciz \"Xen\"",
    ".long boot_start",
    // The guest understands a suspend that was cancelled (return value 1 of SHUTDOWN_suspend).
    ".long 4",
    ".long 4",
    ".long {suspend_cancel}",
    ".asciz \"Xen\"",
    ".long 1",
    ".popsection",
    phys32_entry = const elfnote::PHYS32_ENTRY,
    suspend_cancel = const elfnote::SUSPEND_CANCEL,
);
