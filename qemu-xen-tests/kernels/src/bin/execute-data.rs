//! Jumps into data: must die of an execute of data.
#![no_std]
#![no_main]

/// A `ret` instruction, as data that can be written.
static CODE: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(1);

libos::entry!(main);

async fn main(_: libos::Env) {
    CODE.store(core::hint::black_box(0xc3), core::sync::atomic::Ordering::Relaxed);
    // SAFETY: none: the page tables must stop this.
    let code: fn() = unsafe { core::mem::transmute(&raw const CODE) };
    code();
    kernels::survived();
}
