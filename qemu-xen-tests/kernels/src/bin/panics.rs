//! Panics: must say where and why.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    panic!("the reason is {}", core::hint::black_box(42));
}
