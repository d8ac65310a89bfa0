//! Reads through a null pointer: must die and say so.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    let null = core::hint::black_box(8usize) as *const u64;
    // SAFETY: none: page zero is not mapped.
    let _ = unsafe { null.read_volatile() };
    kernels::survived();
}
