//! Random bytes: one generator for the whole domain, seeded from all that is at hand.
//!
//! ```text
//!   RDSEED, RDRAND, jitter ──┐                      ╭──▶ next key
//!   the toolstack's seed ────┼─▶ key ──ChaCha20─────┤
//!   a resume: all anew ──────┘                      ╰──▶ bytes for who asks
//! ```
//!
//! Nothing here ever waits. Until a good source was mixed in (the CPU's instructions, or a seed
//! from the toolstack) no byte is handed out: [`Unseeded`]. Jitter alone can be guessed by who
//! measures us.
//!
//! The generator seeds itself when it is first used. Crates that ask getrandom (RustCrypto and
//! others) are served as well: `getrandom.rs`.

#[cfg(xenios_kernel)]
#[allow(unsafe_code, reason = "getrandom's interface is a raw pointer")]
mod getrandom;
mod pool;

pub use pool::{SEED_BYTES, Unseeded};
pub use rand_core;

use arch::entropy::{self, Quality};
use pool::Pool;
use rand_core::{TryCryptoRng, TryRng};
use spin::Mutex;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Fills `to` with random bytes, fit for keys.
///
/// # Errors
/// When there was no good source: mix a seed in.
pub fn try_fill(to: &mut [u8]) -> Result<(), Unseeded> {
    let mut pool = POOL.lock();
    pool.start(cpu_word);
    pool.fill(to)
}

/// Mixes bytes in, secret or not: they never make matters worse. [`SEED_BYTES`] or more in one
/// piece count as a good source: give them only if they are secret and used once.
pub fn mix(bytes: &[u8]) {
    POOL.lock().mix(bytes);
}

/// Mixes in what the CPU gives, anew. Called when the domain is resumed: two domains that come from
/// one saved image must not go on with the same bytes.
pub fn reseed() {
    POOL.lock().reseed(cpu_word);
}

/// Whether random bytes are to be had.
pub fn is_seeded() -> bool {
    let mut pool = POOL.lock();
    pool.start(cpu_word);
    pool.is_seeded()
}

/// A word from the CPU.
fn cpu_word() -> (u64, Quality) {
    #[cfg(xenios_kernel)]
    let features =
        crate::platform::boot_info().map_or(arch::cpu::Features::empty(), |info| info.features);
    #[cfg(not(xenios_kernel))]
    let features = arch::cpu::Features::detect();
    entropy::word(features)
}

/// The domain's generator, for code that takes one by the traits of [`rand_core`].
///
/// Where a generator has to be infallible, [`rand_core::UnwrapErr`] makes it one: it panics while
/// unseeded.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rng;

impl TryRng for Rng {
    type Error = Unseeded;

    fn try_next_u32(&mut self) -> Result<u32, Unseeded> {
        let mut bytes = [0; 4];
        try_fill(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Unseeded> {
        let mut bytes = [0; 8];
        try_fill(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Unseeded> {
        try_fill(to)
    }
}

impl TryCryptoRng for Rng {}
