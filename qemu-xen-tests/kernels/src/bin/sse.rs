//! SSE works and stacks are aligned for it; the protection bits of the CPU are on.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use core::hint::black_box;
use kernels::check;

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(inspect(&env));
}

#[repr(align(16))]
struct Aligned([f32; 4]);

#[inline(never)]
fn inspect(env: &libos::Env) -> Result<(), String> {
    let local = Aligned(black_box([1.5, 2.5, 3.5, 4.5]));
    let at = (&raw const local).addr();
    check!(at.is_multiple_of(16), "a local that wants 16 bytes is at {at:#x}");
    check!(local.0[3] == 4.5, "a local changed");
    let mut sum = [0f32; 4];
    // SAFETY: reads 16 aligned bytes of `local`, writes 16 bytes of `sum`.
    unsafe {
        core::arch::asm!(
            "movaps {x}, [{from}]",
            "addps {x}, {x}",
            "movups [{to}], {x}",
            x = out(xmm_reg) _, from = in(reg) at, to = in(reg) sum.as_mut_ptr(),
        );
    }
    check!(sum == [3.0, 5.0, 7.0, 9.0], "addps gives {sum:?}");
    let root = black_box(2f64) * 8.0 + 0.25;
    check!(root == 16.25, "floating point gives {root}");
    let (cr0, cr4): (u64, u64);
    // SAFETY: reads two control registers.
    unsafe { core::arch::asm!("mov {}, cr0", "mov {}, cr4", out(reg) cr0, out(reg) cr4) };
    check!(cr0 & (1 << 16) != 0, "CR0.WP is off: {cr0:#x}");
    let features = env.cpu_features();
    for (name, feature, bit) in [
        ("PGE", arch::cpu::Features::PGE, 7),
        ("UMIP", arch::cpu::Features::UMIP, 11),
        ("SMEP", arch::cpu::Features::SMEP, 20),
        ("SMAP", arch::cpu::Features::SMAP, 21),
    ] {
        let on = cr4 & (1 << bit) != 0;
        check!(on == features.contains(feature), "CR4.{name} is {on}, CPUID says otherwise");
    }
    Ok(())
}
