//! TCP/IP.
pub mod device;
mod wire;
