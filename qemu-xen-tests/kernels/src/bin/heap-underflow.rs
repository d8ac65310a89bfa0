//! Writes one byte before a heap block: must be found when it is freed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

libos::entry!(main);

async fn main(_: libos::Env) {
    let mut block = Box::new([0u8; 24]);
    let start = block.as_mut_ptr();
    // SAFETY: none: one byte too low, which the canary must show.
    unsafe { black_box(start).sub(1).write_volatile(1) };
    drop(block);
    kernels::survived();
}
