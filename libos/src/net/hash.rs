//! A keyed hash for the stack's tables, and a keyed function that nobody can guess.
//!
//! The tables are looked up for every packet, so their hash is a few multiplications with secret
//! keys, as foldhash does it. What is shown to others (sequence numbers, ports) comes from SipHash,
//! whose outputs tell nothing about each other (RFC 6528 asks for that).

use core::hash::Hasher;
use core::net::IpAddr;

/// What must not be guessed: from the domain's random generator.
#[derive(Clone, Copy)]
pub struct Secret {
    /// SipHash's keys.
    numbers: [u64; 2],
    /// The tables' keys: made of the others, so without a pattern whatever those are.
    tables: [u64; 4],
}

impl Secret {
    /// From 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut seed = [0; 4];
        for (to, from) in seed.iter_mut().zip(words) {
            *to = u64::from_le_bytes(*from);
        }
        let [a, b, ..] = seed;
        let mut secret = Self { numbers: [a, b], tables: [0; 4] };
        for key in 0..4 {
            secret.tables[key] = secret.number(key as u64, seed);
        }
        secret
    }

    /// A hash of these words, for tables.
    pub fn table_hash(&self, words: [u64; 4]) -> u64 {
        let [a, b, c, d] = words;
        let [k, l, m, n] = self.tables;
        let low = fold(a ^ k, b ^ l);
        fold(fold(low ^ c ^ m, d ^ n), GOLDEN)
    }

    /// A number that only who knows the secret can foretell. `purpose` keeps uses apart.
    pub fn number(&self, purpose: u64, words: [u64; 4]) -> u64 {
        #[expect(deprecated, reason = "SipHash-2-4 by name is what is wanted here")]
        let mut hasher =
            core::hash::SipHasher::new_with_keys(self.numbers[0] ^ purpose, self.numbers[1]);
        for word in words {
            hasher.write_u64(word);
        }
        hasher.finish()
    }
}

/// 2^64 divided by the golden ratio: an odd number whose bits have no pattern.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The product's halves, mixed.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// An address as a number: an IPv4 address as the IPv6 address that stands for it (RFC 4291,
/// section 2.5.5.2). On the wire there are no such IPv6 addresses, so no two are the same.
pub fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => 0xffff_0000_0000 | u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    #[test]
    fn tables_spread_ports_and_addresses() {
        let mut bytes = [0xa5; 32];
        for round in 0..64 {
            let secret = Secret::new(&bytes);
            let bins = |words: &dyn Fn(u64) -> [u64; 4]| {
                let bins = (0..10_000).map(|i| secret.table_hash(words(i)) % 16_384);
                bins.collect::<HashSet<_>>().len()
            };
            let ports = bins(&|i| [0xffff_0a00_0001, 0, i, 80 << 16]);
            let addresses = bins(&|i| [0xffff_0a00_0000 + i, 0, 5, 80 << 16]);
            // 10,000 balls in 16,384 bins fill 7,500 of them.
            assert!(ports > 6_500 && addresses > 6_500, "{round}: {ports}, {addresses} bins");
            bytes[round % 32] = bytes[round % 32].wrapping_mul(37).wrapping_add(round as u8);
        }
    }

    #[test]
    fn numbers_depend_on_all_there_is() {
        let (a, b) = (Secret::new(&[1; 32]), Secret::new(&[2; 32]));
        let words = [1, 2, 3, 4];
        let numbers =
            [a.number(0, words), a.number(1, words), b.number(0, words), a.number(0, [1, 2, 3, 5])];
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(a.number(0, words), a.number(0, words));
    }

    #[test]
    fn ipv4_addresses_are_their_mapped_ones() {
        let mapped: std::net::Ipv6Addr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(address_number(Ipv4Addr::new(10, 0, 0, 1).into()), mapped.to_bits());
    }
}
