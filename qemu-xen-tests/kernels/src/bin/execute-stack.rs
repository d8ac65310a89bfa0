//! Jumps into the stack: must die of an execute of the main stack.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    run_on_stack();
    kernels::survived();
}

/// Not async: its locals are on the stack.
#[inline(never)]
fn run_on_stack() {
    let code = core::hint::black_box(0xc3u64);
    // SAFETY: none: the page tables must stop this.
    let code: fn() = unsafe { core::mem::transmute(&raw const code) };
    code();
}
