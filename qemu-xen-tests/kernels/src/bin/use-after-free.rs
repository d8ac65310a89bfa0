//! Follows a pointer read from freed memory: must die of the poison.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use core::hint::black_box;

static H: u64 = 1;

libos::entry!(main);

async fn main(_: libos::Env) {
    let block = Box::into_raw(Box::new([&raw const H; 8]));
    // SAFETY: the free is right; the read after it is what the poison must show.
    unsafe {
        drop(Box::from_raw(black_box(block)));
        let pointer = (*black_box(block))[4];
        libos::println!("freed memory holds {:#x}", pointer.addr());
        libos::println!("{}", pointer.read_volatile());
    }
    kernels::survived();
}
