//! Asks for more memory than there is: must say how much was asked and is left.
#![no_std]
#![no_main]

extern crate alloc;

libos::entry!(main);

async fn main(_: libos::Env) {
    let mut hoard = alloc::vec::Vec::new();
    loop {
        hoard.push(alloc::vec![1u8; 1 << 20]);
        core::hint::black_box(&hoard);
    }
}
