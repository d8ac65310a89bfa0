//! Frees a heap block twice: must be found.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

libos::entry!(main);

async fn main(_: libos::Env) {
    let block = Box::into_raw(Box::new([0u8; 24]));
    // SAFETY: the first is right, the second is what must be found.
    unsafe {
        drop(Box::from_raw(black_box(block)));
        drop(Box::from_raw(black_box(block)));
    }
    kernels::survived();
}
