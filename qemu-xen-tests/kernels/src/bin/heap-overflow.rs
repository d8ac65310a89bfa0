//! Writes one byte past a heap block: must be found when it is freed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

libos::entry!(main);

async fn main(_: libos::Env) {
    let mut block = Box::new([0u8; 24]);
    let end = block.as_mut_ptr_range().end;
    // SAFETY: none: one byte too far, which the canary must show.
    unsafe { black_box(end).write_volatile(1) };
    drop(block);
    kernels::survived();
}
