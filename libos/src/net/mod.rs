//! TCP/IP.
pub mod addresses;
pub mod counters;
pub mod device;
mod hash;
mod index;
pub mod limits;
mod neighbor;
pub mod pcap;
mod port;
mod tcp;
mod timers;
mod wire;
