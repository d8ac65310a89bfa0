//! The network frontend.

pub mod offload;
pub mod proto;
#[cfg(test)]
mod testing;
