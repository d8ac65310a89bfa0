//! Recurses without end: must die in the guard page of the main stack.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    deeper(core::hint::black_box(0));
    kernels::survived();
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the point")]
fn deeper(n: u64) -> u64 {
    let frame = core::hint::black_box([n; 32]);
    deeper(n + 1) + frame[(n % 32) as usize]
}
