//! Frees what was never a heap block: must be found.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

libos::entry!(main);

async fn main(_: libos::Env) {
    let mut block = Box::new([0u8; 256]);
    let middle: *mut [u8; 32] = block[64..].as_mut_ptr().cast();
    // SAFETY: none: no block begins there, which must be found.
    unsafe { drop(Box::from_raw(black_box(middle))) };
    kernels::survived();
}
