//! Which queue a packet goes to: packets of one connection to the same one, so that they stay in
//! order.

use super::headers::Headers;

/// A number that is the same for all packets of a TCP connection or UDP pair, and spread evenly
/// over others. 0 for packets that are neither.
pub fn flow_hash(frame: &[u8]) -> u32 {
    let Some(headers) = Headers::parse(frame) else { return 0 };
    let addresses = frame.get(headers.addresses()).unwrap_or_default();
    let ports = frame.get(headers.transport_at..headers.transport_at + 4).unwrap_or_default();
    let words = addresses.as_chunks::<4>().0.iter().chain(ports.as_chunks::<4>().0);
    // Multiplication by an odd number spreads upwards; the shift brings that down again.
    let mixed = words.fold(0u64, |hash, word| {
        let hash =
            (hash ^ u64::from(u32::from_le_bytes(*word))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    });
    mixed as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::offload::tests::{tcp_v4, tcp_v6};

    #[test]
    fn a_connection_has_one_number_and_many_are_spread() {
        assert_eq!(flow_hash(&tcp_v4(b"one")), flow_hash(&tcp_v4(b"another")));
        assert_ne!(flow_hash(&tcp_v4(b"one")), flow_hash(&tcp_v6(b"one")));
        assert_eq!(flow_hash(&[0; 60]), 0);
        let mut counts = [0u32; 4];
        for port in 0..4000u16 {
            let mut frame = tcp_v4(b"x");
            frame[34..36].copy_from_slice(&port.to_be_bytes());
            counts[flow_hash(&frame) as usize % 4] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
