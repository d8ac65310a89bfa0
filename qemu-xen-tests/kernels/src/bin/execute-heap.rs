//! Jumps into the heap: must die of an execute of heap memory.
#![no_std]
#![no_main]

extern crate alloc;

libos::entry!(main);

async fn main(_: libos::Env) {
    let code = alloc::boxed::Box::new(0xc3u64);
    // SAFETY: none: the page tables must stop this.
    let code: fn() = unsafe { core::mem::transmute(&raw const *code) };
    code();
    kernels::survived();
}
