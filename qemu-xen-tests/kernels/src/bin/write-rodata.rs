//! Writes to a constant: must die of a write to rodata.
#![no_std]
#![no_main]

static CONSTANT: [u64; 4] = [1, 2, 3, 4];

libos::entry!(main);

async fn main(_: libos::Env) {
    let constant = (&raw const CONSTANT).cast_mut().cast::<u64>();
    // SAFETY: none: the page tables must stop this.
    unsafe { constant.write_volatile(5) };
    kernels::survived();
}
