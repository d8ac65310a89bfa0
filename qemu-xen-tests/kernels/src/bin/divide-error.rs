//! Divides by zero in an instruction: must die of a divide error.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    // SAFETY: none: the CPU must stop this.
    unsafe {
        core::arch::asm!("div {0:e}", in(reg) 0u32, inout("eax") 1u32 => _, inout("edx") 0u32 => _);
    }
    kernels::survived();
}
