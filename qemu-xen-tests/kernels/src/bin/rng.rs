//! Random bytes: there are some, all different, and getrandom's clients get them too.
//!
//! With `--seeded no` the CPU has no instruction for it: refused until a seed is mixed in.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeSet;
use alloc::string::String;
use kernels::check;
use libos::rng::rand_core::TryRng;
use libos::rng::{self, Rng, SEED_BYTES, Unseeded};

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(show(env.boot_line().option("seeded") != Some("no")));
}

fn show(expected: bool) -> Result<(), String> {
    let seeded = rng::is_seeded();
    check!(seeded == expected, "seeded by the CPU: {seeded}");
    if !seeded {
        check!(rng::try_fill(&mut [0; 8]) == Err(Unseeded), "bytes without a seed");
        check!(getrandom::u64().is_err(), "bytes without a seed, by getrandom");
        rng::mix(&[1; SEED_BYTES - 1]);
        check!(!rng::is_seeded(), "seeded by a short piece");
        rng::mix(&[1; SEED_BYTES]);
    }
    let mut words = BTreeSet::new();
    for _ in 0..500 {
        words.insert(Rng.try_next_u64().map_err(|error| alloc::format!("{error}"))?);
        words.insert(getrandom::u64().map_err(|error| alloc::format!("getrandom: {error}"))?);
    }
    rng::reseed();
    words.insert(Rng.try_next_u64().map_err(|error| alloc::format!("{error}"))?);
    check!(words.len() == 1001, "{} different words of 1001", words.len());
    let mut bytes = [0; 10_000];
    rng::try_fill(&mut bytes).map_err(|error| alloc::format!("{error}"))?;
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    check!((39_000..41_000).contains(&ones), "{ones} bits of 80,000 are set");
    libos::println!("word {:016x}", words.first().copied().unwrap_or_default());
    Ok(())
}
