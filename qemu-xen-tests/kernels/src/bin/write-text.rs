//! Writes to a function: must die of a write to text.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    let text = main as *const () as *mut u8;
    // SAFETY: none: the page tables must stop this.
    unsafe { text.write_volatile(0xc3) };
    kernels::survived();
}
