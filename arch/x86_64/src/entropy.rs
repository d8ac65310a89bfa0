//! Words of entropy from the CPU: RDSEED, else RDRAND, always mixed with the time stamp counter.
//!
//! A word from here seeds; it is not a generator. On a CPU with neither instruction only the
//! counter's jitter is left, and [`Quality`] says so.

use crate::cpu::Features;
use crate::tsc;

/// Where the bits of a word came from, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quality {
    /// RDSEED answered: conditioned noise.
    Seed,
    /// RDRAND answered: the CPU's own generator.
    Random,
    /// Only the time stamp counter: jitter, guessable by who can measure us.
    Jitter,
}

/// How often an instruction may say "not ready" before the next source is tried (Intel's advice).
const RETRIES: u32 = 10;

/// One word, mixed from all the sources that answer.
pub fn word(features: Features) -> (u64, Quality) {
    let seed = features.contains(Features::RDSEED).then(rdseed).flatten();
    let random = features.contains(Features::RDRAND).then(rdrand).flatten();
    let quality = match (seed, random) {
        (Some(_), _) => Quality::Seed,
        (None, Some(_)) => Quality::Random,
        (None, None) => Quality::Jitter,
    };
    // Reading the counter may leave for the hypervisor each time: many readings only where needed.
    let mut state = if quality == Quality::Jitter { jitter() } else { tsc::read() };
    for part in [seed, random].into_iter().flatten() {
        state = mix(state ^ part);
    }
    (mix(state ^ tsc::read()), quality)
}

/// Spreads every bit of `x` over the whole word; one to one (the finaliser of splitmix64).
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The differences between 64 readings of the counter, folded into a word.
fn jitter() -> u64 {
    let mut last = tsc::read();
    let mut state = last;
    for _ in 0..64 {
        let now = tsc::read();
        state = mix(state ^ now.wrapping_sub(last)).rotate_left(7);
        last = now;
    }
    state
}

fn rdseed() -> Option<u64> {
    retry(|value| {
        let ok: u8;
        // SAFETY: called only where CPUID reports RDSEED; writes the one register and the flags.
        unsafe {
            core::arch::asm!("rdseed {}", "setc {}", out(reg) *value, out(reg_byte) ok,
                options(nomem, nostack));
        }
        ok != 0
    })
}

fn rdrand() -> Option<u64> {
    retry(|value| {
        let ok: u8;
        // SAFETY: called only where CPUID reports RDRAND; writes the one register and the flags.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) *value, out(reg_byte) ok,
                options(nomem, nostack));
        }
        ok != 0
    })
}

/// Tries `source` up to [`RETRIES`] times.
fn retry(source: impl Fn(&mut u64) -> bool) -> Option<u64> {
    let mut value = 0;
    (0..RETRIES).any(|_| source(&mut value)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_never_answers_is_given_up() {
        let tries = core::cell::Cell::new(0);
        let answer = retry(|_| {
            tries.set(tries.get() + 1);
            false
        });
        assert_eq!((answer, tries.get()), (None, RETRIES));
    }

    #[test]
    fn words_differ_whatever_the_sources() {
        let all = Features::detect();
        for features in [Features::empty(), all] {
            let words: std::collections::HashSet<u64> =
                (0..1000).map(|_| word(features).0).collect();
            assert!(words.len() > 998, "{} distinct words of 1000", words.len());
        }
        assert_eq!(word(Features::empty()).1, Quality::Jitter);
    }
}
