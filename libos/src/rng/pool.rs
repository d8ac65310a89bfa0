//! The generator's state: a key, and whether it is one that nobody can guess.
//!
//! ChaCha20 is all it takes. Mixing: 32 bytes are added to the key (xor), and the first 32 bytes of
//! the stream under that sum are the next key; so every bit of what was mixed in counts, and bytes
//! that someone else chose cannot undo what was there. Filling: the first 32 bytes of the stream
//! are the next key, what follows is handed out; who learns the key later cannot tell what was
//! handed out before.

use arch::entropy::Quality;
use core::fmt;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};

/// Bytes of a key; and of a seed that counts as a good source.
pub const SEED_BYTES: usize = 32;

/// Words that are taken from the CPU: twice the key, as RDRAND's words may depend on each other.
const CPU_WORDS: usize = 8;

/// No good source was mixed in yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unseeded;

impl fmt::Display for Unseeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no source of randomness: the CPU has none, and the toolstack gave no seed")
    }
}

impl core::error::Error for Unseeded {}

/// The state.
pub(super) struct Pool {
    key: [u8; SEED_BYTES],
    started: bool,
    seeded: bool,
}

impl Pool {
    /// Unseeded.
    pub(super) const fn new() -> Self {
        Self { key: [0; SEED_BYTES], started: false, seeded: false }
    }

    pub(super) fn is_seeded(&self) -> bool {
        self.seeded
    }

    /// Mixes in words from the CPU, if that was not done yet.
    pub(super) fn start(&mut self, word: impl FnMut() -> (u64, Quality)) {
        if !self.started {
            self.reseed(word);
        }
    }

    /// Mixes in words from the CPU. They count if each of them came from its random number
    /// generator. What was unknown before stays unknown, whatever they are.
    pub(super) fn reseed(&mut self, mut word: impl FnMut() -> (u64, Quality)) {
        self.started = true;
        let mut good = true;
        for _ in 0..CPU_WORDS * size_of::<u64>() / SEED_BYTES {
            let mut block = [0; SEED_BYTES];
            for bytes in block.chunks_exact_mut(size_of::<u64>()) {
                let (word, quality) = word();
                good &= quality != Quality::Jitter;
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            self.absorb(&block);
        }
        self.seeded |= good;
    }

    /// Mixes bytes in. [`SEED_BYTES`] or more in one piece count as a good source.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        // The length first: then no two inputs are mixed in the same way.
        self.absorb(&(bytes.len() as u64).to_le_bytes());
        bytes.chunks(SEED_BYTES).for_each(|block| self.absorb(block));
        self.seeded |= bytes.len() >= SEED_BYTES;
    }

    /// Fills `to`.
    pub(super) fn fill(&mut self, to: &mut [u8]) -> Result<(), Unseeded> {
        if !self.seeded {
            return Err(Unseeded);
        }
        self.next_key().fill_bytes(to);
        Ok(())
    }

    /// Mixes in at most [`SEED_BYTES`] bytes.
    fn absorb(&mut self, block: &[u8]) {
        self.key.iter_mut().zip(block).for_each(|(key, byte)| *key ^= byte);
        self.next_key();
    }

    /// Changes the key; the stream that it came from, to go on with.
    fn next_key(&mut self) -> ChaCha20Rng {
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.fill_bytes(&mut self.key);
        stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    /// A source of words of one quality, all the same.
    fn words(quality: Quality) -> impl FnMut() -> (u64, Quality) {
        move || (7, quality)
    }

    fn filled(pool: &mut Pool) -> Result<[u8; 32], Unseeded> {
        let mut bytes = [0; 32];
        pool.fill(&mut bytes).map(|()| bytes)
    }

    #[test]
    fn good_sources_seed() {
        for (quality, seeded) in
            [(Quality::Seed, true), (Quality::Random, true), (Quality::Jitter, false)]
        {
            let mut pool = Pool::new();
            pool.start(words(quality));
            assert_eq!(pool.fill(&mut [0; 1]).is_ok(), seeded, "{quality:?}");
        }
    }

    #[test]
    fn one_word_of_jitter_among_good_ones_does_not() {
        for bad in 0..CPU_WORDS {
            let mut pool = Pool::new();
            let mut number = 0;
            pool.start(|| {
                number += 1;
                (1, if number == bad + 1 { Quality::Jitter } else { Quality::Seed })
            });
            assert_eq!((number, filled(&mut pool)), (CPU_WORDS, Err(Unseeded)));
        }
    }

    #[test]
    fn jitter_and_a_seed_of_the_toolstack_do() {
        let mut pool = Pool::new();
        pool.start(words(Quality::Jitter));
        pool.mix(&[1; SEED_BYTES - 1]);
        pool.mix(&[1; SEED_BYTES - 1]);
        assert_eq!(filled(&mut pool), Err(Unseeded), "short pieces may be anything");
        pool.mix(&[1; SEED_BYTES]);
        assert!(filled(&mut pool).is_ok());
    }

    #[test]
    fn a_resume_changes_all_that_follows_and_takes_no_secret_away() {
        let mut pool = Pool::new();
        pool.mix(&[9; SEED_BYTES]);
        let mut copy = Pool { ..pool };
        assert_eq!(filled(&mut pool), filled(&mut copy), "two domains from one image");
        pool.reseed(words(Quality::Jitter));
        copy.reseed(|| (8, Quality::Jitter));
        assert_ne!(filled(&mut pool).unwrap(), filled(&mut copy).unwrap());
    }

    #[test]
    fn no_two_outputs_are_alike() {
        let mut pool = Pool::new();
        pool.start(words(Quality::Seed));
        let outputs: HashSet<[u8; 32]> = (0..1000).map(|_| filled(&mut pool).unwrap()).collect();
        assert_eq!(outputs.len(), 1000);
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let after = |bytes: &[u8]| {
            let mut pool = Pool::new();
            pool.mix(bytes);
            pool.key
        };
        let mut inputs: Vec<Vec<u8>> = (0..100).map(|len| std::vec![0; len]).collect();
        for at in 0..70 {
            let mut input = std::vec![0; 70];
            input[at] = 1;
            inputs.push(input);
        }
        let keys: HashSet<[u8; 32]> = inputs.iter().map(|input| after(input)).collect();
        assert_eq!(keys.len(), inputs.len());
    }

    #[test]
    fn the_stream_is_chacha20() {
        // RFC 8439 has no vector for a 64-bit counter, but block 0 under a key and nonce of zeros
        // is the same in both layouts (appendix A.1, test vector 1).
        let mut pool = Pool { key: [0; 32], started: true, seeded: true };
        let mut bytes = [0; 8];
        pool.fill(&mut bytes).unwrap();
        assert_eq!(pool.key[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        assert_eq!(bytes, [0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d]);
    }
}
