//! Executes an invalid instruction: must die of it.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    // SAFETY: none: the CPU must stop this.
    unsafe { core::arch::asm!("ud2") };
    kernels::survived();
}
