//! Prints 1 MB as fast as it can. Lines may be lost only where the console says so: the runner
//! counts.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

libos::entry!(main);

/// Lines of 64 bytes that make 1 MB.
const LINES: u32 = 16384;

async fn main(_: libos::Env) {
    for line in 0..LINES {
        libos::println!("flood {line:8} {:.<48}", '.');
    }
    kernels::success();
}
