//! The registers that a trap stub saves.

use core::fmt;

/// Registers in the order in which the stub and the CPU push them, lowest address first.
/// Source: Intel SDM volume 3, 6.14 (the last five and the error code); trap/entry.rs (the rest).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "register names")]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error_code: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// All registers of a frame as text, three a line.
pub struct Registers<'a>(pub &'a TrapFrame);

impl Registers<'_> {
    /// The general registers by name, in the order in which they are printed.
    fn named(&self) -> [(&'static str, u64); 18] {
        let f = self.0;
        [
            ("rip", f.rip),
            ("rsp", f.rsp),
            ("rbp", f.rbp),
            ("rax", f.rax),
            ("rbx", f.rbx),
            ("rcx", f.rcx),
            ("rdx", f.rdx),
            ("rsi", f.rsi),
            ("rdi", f.rdi),
            ("r8 ", f.r8),
            ("r9 ", f.r9),
            ("r10", f.r10),
            ("r11", f.r11),
            ("r12", f.r12),
            ("r13", f.r13),
            ("r14", f.r14),
            ("r15", f.r15),
            ("flags", f.rflags),
        ]
    }

    /// Whether any register's value is such.
    pub fn any(&self, is_such: impl Fn(u64) -> bool) -> bool {
        self.named().into_iter().any(|(_, value)| is_such(value))
    }
}

impl fmt::Display for Registers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.named().into_iter().enumerate() {
            write!(f, "  {name} {value:#018x}")?;
            if i % 3 == 2 {
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}
