//! Recurses on an interrupt stack: must die in that stack's guard page.
#![no_std]
#![no_main]

libos::entry!(main);

async fn main(_: libos::Env) {
    let top = arch::layout::ist_stack(arch::layout::IstStack::Fault).end();
    // SAFETY: the stack is mapped and not in use; the call never comes back.
    unsafe {
        core::arch::asm!("mov rsp, {}", "call {}", in(reg) top, sym deeper, options(noreturn));
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is the point")]
extern "C" fn deeper(n: u64) -> u64 {
    let frame = core::hint::black_box([n; 32]);
    deeper(n + 1) + frame[(n % 32) as usize]
}
