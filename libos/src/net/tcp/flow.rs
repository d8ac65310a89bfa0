//! Flows: what is kept of each pair of endpoints, and how it is found.
//!
//! ```text
//!    SYN ──▶ HalfOpen ── ACK ──▶ Open ── both sides are done ──▶ Waiting ── a minute ──▶ gone
//!            ~100 bytes          a socket with its buffers       ~100 bytes
//!                  connect ──────▲
//! ```

use super::connection::Connection;
use super::handshake::HalfOpen;
use crate::net::hash::{Secret, address_number};
use crate::time::Instant;
use alloc::boxed::Box;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Both endpoints of a flow, and the interface that it goes over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    local: u128,
    remote: u128,
    /// Interface, local port, remote port: 16 bits each.
    rest: u64,
}

impl Key {
    /// The flow between two endpoints.
    pub fn new(interface: u8, local: (IpAddr, u16), remote: (IpAddr, u16)) -> Self {
        Self {
            local: address_number(local.0),
            remote: address_number(remote.0),
            rest: u64::from(interface) << 32 | u64::from(local.1) << 16 | u64::from(remote.1),
        }
    }

    /// Our endpoint.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.local), (self.rest >> 16) as u16)
    }

    /// The peer's endpoint.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.rest as u16)
    }

    /// The interface.
    pub fn interface(&self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// Whether it is a flow of IPv6 packets.
    pub fn is_ipv6(&self) -> bool {
        self.local >> 32 != 0xffff
    }

    /// The key as words for a hash.
    fn words(&self) -> [u64; 4] {
        let rest = self.rest ^ (self.local >> 64) as u64;
        [self.remote as u64, (self.remote >> 64) as u64, self.local as u64, rest]
    }

    /// The key's place in the table.
    pub fn hash(&self, secret: &Secret) -> u64 {
        secret.table_hash(self.words())
    }

    /// A number that cannot be guessed, for this flow and `extra`.
    pub fn number(&self, secret: &Secret, purpose: u64, extra: u64) -> u64 {
        let [a, b, c, d] = self.words();
        let first = secret.number(purpose, [a, b, c, d]);
        secret.number(purpose, [first, extra, 0, 0])
    }
}

/// The address that a number stands for.
fn address(number: u128) -> IpAddr {
    if number >> 32 == 0xffff {
        Ipv4Addr::from_bits(number as u32).into()
    } else {
        Ipv6Addr::from_bits(number).into()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.local(), self.remote())
    }
}

/// What is kept of a flow.
pub enum Flow {
    /// The peer has begun to open it.
    HalfOpen(HalfOpen),
    /// It is open, or being opened by us, or over but the app has not let go of it.
    Open(Box<Connection>),
    /// It is over, but what was delayed on the way must not be taken for something new.
    Waiting(Waiting),
}

/// What is kept of a flow that is over.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// The number of our next byte, if there were one.
    pub number: u32,
    /// The number of the peer's next byte.
    pub peer_number: u32,
    /// When it is forgotten.
    pub until: Instant,
}

/// A flow with its key.
pub struct Entry {
    pub key: Key,
    pub hash: u64,
    /// Whether packets find it.
    pub indexed: bool,
    pub flow: Flow,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_key_keeps_both_endpoints() {
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.2".parse().unwrap(), "fe80::1".parse().unwrap());
        let key = Key::new(3, (v4, 80), (Ipv4Addr::new(10, 0, 0, 9).into(), 0xffff));
        assert_eq!(key.to_string(), "10.0.0.2:80 and 10.0.0.9:65535");
        assert_eq!((key.interface(), key.is_ipv6()), (3, false));
        let key = Key::new(0xff, (v6, 0xffff), (v6, 1));
        assert_eq!(key.to_string(), "[fe80::1]:65535 and [fe80::1]:1");
        assert_eq!((key.interface(), key.is_ipv6()), (0xff, true));
    }

    #[test]
    fn each_part_of_a_key_changes_its_hash() {
        let secret = Secret::new(&[3; 32]);
        let (a, b): (IpAddr, IpAddr) =
            ("fe80::1".parse().unwrap(), "fe80:0:0:1::1".parse().unwrap());
        let keys = [
            Key::new(0, (a, 1), (a, 1)),
            Key::new(1, (a, 1), (a, 1)),
            Key::new(0, (b, 1), (a, 1)),
            Key::new(0, (a, 2), (a, 1)),
            Key::new(0, (a, 1), (b, 1)),
            Key::new(0, (a, 1), (a, 2)),
        ];
        let mut hashes = keys.map(|key| key.hash(&secret));
        hashes.sort_unstable();
        assert!(hashes.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
