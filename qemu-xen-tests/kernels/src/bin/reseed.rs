//! A saved image may be restored twice: canary, heap key and random bytes are then made anew. Shows
//! the canary and random bytes before it is saved and after it is restored; the suite compares.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use kernels::check;
use libos::sync::Signal;
use libos::{heap, println, rng};

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(show(&env).await);
}

async fn show(env: &libos::Env) -> Result<(), String> {
    // Blocks of many sizes, that are sealed with the old key.
    let blocks: alloc::vec::Vec<_> = (1..500_usize).map(|len| vec![len as u8; len]).collect();
    let back = Arc::new(Signal::new());
    let hook = back.clone();
    env.on_resume(move || hook.signal(()));
    secrets()?;
    println!("ready");
    back.wait().await;
    heap::check_all().map_err(|fault| format!("the heap after a resume: {fault}"))?;
    let whole = blocks.iter().zip(1..).all(|(block, len)| **block == vec![len as u8; len]);
    check!(whole, "a block has changed");
    drop(blocks);
    heap::check_all().map_err(|fault| format!("the heap after frees: {fault}"))?;
    secrets()
}

/// Prints the canary and 16 random bytes.
fn secrets() -> Result<(), String> {
    let canary: u64;
    // SAFETY: reads the word that boot put there (start.S: boot_thread_block).
    unsafe { core::arch::asm!("mov {}, fs:[0x28]", out(reg) canary) };
    check!(canary != 0 && canary & 0xff == 0, "the canary is {canary:#018x}");
    let mut bytes = [0; 16];
    rng::try_fill(&mut bytes).map_err(|error| format!("{error}"))?;
    println!("canary {canary:#018x}");
    println!("bytes {:032x}", u128::from_le_bytes(bytes));
    Ok(())
}
