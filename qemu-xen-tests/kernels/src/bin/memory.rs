//! Uses the domain's memory: fills most of it through the heap, reads it back, gives it back.
//!
//! `--expect-mib N` is the domain's `memory=`; the memory map must agree.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use kernels::check;

libos::entry!(main);

/// Words in a piece.
const PIECE_WORDS: usize = 16 << 10;

async fn main(env: libos::Env) {
    kernels::conclude(use_memory(&env));
}

fn use_memory(env: &libos::Env) -> Result<(), String> {
    let expected_mib =
        env.boot_line().option("expect-mib").and_then(|text| text.parse::<u64>().ok());
    let expected_mib = expected_mib.ok_or("no --expect-mib")?;
    let ram_bytes = env.memory().ram_bytes();
    check!(ram_bytes == expected_mib << 20, "{ram_bytes} bytes of RAM in the map");
    // A quarter of all, at least 256 KiB, at most 1 GiB: filling 5 GiB takes an emulator minutes.
    let goal = (ram_bytes / 4).min(1 << 30);
    let pieces = goal as usize / (8 * PIECE_WORDS);
    let mut held: Vec<Vec<u64>> = Vec::new();
    for piece in 0..pieces {
        let mut words = Vec::new();
        words
            .try_reserve_exact(PIECE_WORDS)
            .map_err(|_| alloc::format!("piece {piece} of {pieces}"))?;
        words.extend((0..PIECE_WORDS as u64).map(|word| pattern(piece, word)));
        held.push(words);
    }
    for (piece, words) in held.iter().enumerate() {
        let wrong = words.iter().enumerate().find(|(i, word)| **word != pattern(piece, *i as u64));
        check!(wrong.is_none(), "piece {piece} changed: {wrong:?}");
    }
    let highest = held.iter().map(|words| words.as_ptr().addr()).max();
    libos::println!("{} KiB held, highest at {highest:#x?}", held.len() * PIECE_WORDS / 128);
    Ok(())
}

fn pattern(piece: usize, word: u64) -> u64 {
    (piece as u64) << 32 ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
