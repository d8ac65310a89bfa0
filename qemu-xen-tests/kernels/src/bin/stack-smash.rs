//! Writes past an array on the stack: the canary must be found damaged.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    smash(core::hint::black_box(64));
    kernels::survived();
}

/// Overwrites what lies above its array, the canary and the return address among it.
#[inline(never)]
fn smash(words: usize) {
    let mut array = [0u64; 4];
    let start = core::hint::black_box(array.as_mut_ptr());
    for i in 0..words {
        // SAFETY: none: this is the overflow that the canary must show. The stack goes on above.
        unsafe { start.add(i).write_volatile(0x4141_4141_4141_4141) };
    }
    core::hint::black_box(&array);
}
