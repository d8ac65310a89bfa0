//! Links for tests and benchmarks: a cable between two stacks, with whatever faults a test wants.

mod cable;
mod random;
mod segment;

pub use cable::{Cable, CableEnd, Faults, Kind};
pub use random::Random;
