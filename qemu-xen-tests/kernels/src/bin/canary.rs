//! Shows the stack canary, which must be fresh in each boot: the runner compares two.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    let canary: u64;
    // SAFETY: reads the word that boot put there (start.S: boot_thread_block).
    unsafe { core::arch::asm!("mov {}, fs:[0x28]", out(reg) canary) };
    libos::println!("canary {canary:#018x}");
    if canary & 0xff != 0 {
        kernels::failure(format_args!("its low byte is not zero"));
    } else if canary == 0 {
        kernels::failure(format_args!("it is zero"));
    } else {
        kernels::success();
    }
}
