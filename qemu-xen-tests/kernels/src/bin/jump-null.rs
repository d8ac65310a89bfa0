//! Calls a null function pointer: must die and say so.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    let null = core::hint::black_box(0usize);
    // SAFETY: none: page zero is not mapped.
    unsafe { core::arch::asm!("call {}", in(reg) null) };
    kernels::survived();
}
