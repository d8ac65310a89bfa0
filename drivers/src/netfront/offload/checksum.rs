//! The checksum of TCP and UDP: filled in, left for the backend to complete, and verified (RFC
//! 1071).
//!
//! A blank checksum is that of the pseudo header alone, not inverted: whoever completes it adds the
//! rest, wherever the pseudo header was taken from.

use super::headers::{Headers, half, set_half};

/// Adds the 16-bit words of `bytes` to a sum that is not folded yet. An odd byte is the high half
/// of a word whose low half is 0.
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = words.iter().fold(sum, |sum, word| add_carry(sum, u64::from_ne_bytes(*word)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        sum = add_carry(sum, u64::from_ne_bytes(last));
    }
    sum
}

/// Ones' complement addition: what is carried out comes in at the other end.
fn add_carry(sum: u64, word: u64) -> u64 {
    let (sum, carry) = sum.overflowing_add(word);
    sum + u64::from(carry)
}

/// A sum as 16 bits in network byte order. The order of bytes in a word does not matter to the sum
/// (RFC 1071, 2 B), so that it could be taken in the CPU's.
fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_be()
}

/// The sum of the pseudo header: addresses, protocol, length.
fn pseudo(frame: &[u8], headers: &Headers) -> u64 {
    let addresses = frame.get(headers.addresses()).unwrap_or_default();
    let length = u32::try_from(headers.transport_bytes()).unwrap_or(0);
    let [a, b, c, d] = length.to_be_bytes();
    add(add(0, addresses), &[a, b, c, d, 0, 0, 0, headers.transport.number()])
}

/// Completes a blank checksum: that of all from `start` on, with what its field at `field` holds.
/// False if either is outside.
pub fn complete_blank(frame: &mut [u8], start: usize, field: usize) -> bool {
    let (Some(all), Some(_)) = (frame.get(start..), half(frame, field)) else { return false };
    let sum = not_zero(!fold(add(0, all)));
    set_half(frame, field, sum);
    true
}

/// RFC 768: to UDP, 0 says that there is no checksum. In ones' complement it is the same as all
/// ones, so TCP need not be told apart.
fn not_zero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

/// Fills in the whole checksum, whatever was there before.
pub fn fill(frame: &mut [u8], headers: &Headers) {
    set_half(frame, headers.checksum_at(), 0);
    let all = frame.get(headers.transport_at..headers.end).unwrap_or_default();
    let sum = not_zero(!fold(add(pseudo(frame, headers), all)));
    set_half(frame, headers.checksum_at(), sum);
}

/// The checksum of an IPv4 header, to be written into its checksum field, which is taken for 0.
pub(super) fn ipv4_header(header: &[u8]) -> u16 {
    let (before, rest) = header.split_at(10.min(header.len()));
    let after = rest.get(2..).unwrap_or_default();
    !fold(add(add(0, before), after))
}

/// Whether a frame's checksum is right, as far as it has one: UDP over IPv4 need not.
#[cfg(test)]
pub(crate) fn is_good(frame: &[u8]) -> bool {
    let Some(headers) = Headers::parse(frame) else { return true };
    if headers.transport == super::Transport::Udp && half(frame, headers.checksum_at()) == Some(0) {
        // RFC 8200, 8.1: over IPv6 there must be one.
        return headers.version == super::IpVersion::V4;
    }
    let all = frame.get(headers.transport_at..headers.end).unwrap_or_default();
    fold(add(pseudo(frame, &headers), all)) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::offload::Transport;
    use crate::netfront::offload::tests::{frame, tcp_v4, tcp_v6, udp_v4};
    use proptest::prelude::*;

    /// The checksum as RFC 1071 describes it, a word at a time.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(add(0, &bytes)), 0xddf2);
    }

    #[test]
    fn a_packet_with_a_known_checksum() {
        // 10.0.0.2:40000 to 10.0.0.1:7.
        let mut packet = udp_v4(b"hello\n");
        let headers = Headers::parse(&packet).unwrap();
        fill(&mut packet, &headers);
        // By hand: addresses 0x0a00 0x0002 0x0a00 0x0001, protocol 17, length 14 (twice), ports
        // 0x9c40 0x0007, "he" "ll" "o\n".
        let words = [0x0a00, 2, 0x0a00, 1, 17, 14, 0x9c40, 7, 14, 0x6865, 0x6c6c, 0x6f0a];
        let sum: u32 = words.iter().sum();
        let expected = !((sum & 0xffff) + (sum >> 16)) as u16;
        assert_eq!(half(&packet, 40), Some(expected));
        assert!(is_good(&packet));
    }

    #[test]
    fn udp_without_a_checksum_is_good_over_ipv4_alone() {
        assert!(is_good(&udp_v4(b"x")));
        assert!(!is_good(&frame(true, Transport::Udp, b"x")));
    }

    #[test]
    fn a_udp_checksum_is_never_0() {
        // The payload makes up for all the rest: the checksum would come out as 0.
        let mut packet = udp_v4(&[0, 0]);
        let headers = Headers::parse(&packet).unwrap();
        fill(&mut packet, &headers);
        let sum = half(&packet, 40).unwrap();
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        fill(&mut packet, &headers);
        assert_eq!(half(&packet, 40), Some(0xffff));
        assert!(is_good(&packet));
    }

    #[test]
    fn a_place_outside_the_frame_is_refused() {
        let mut packet = tcp_v4(b"x");
        for (start, field) in [(34, 54), (34, usize::MAX), (56, 50), (usize::MAX, 50)] {
            assert!(!complete_blank(&mut packet, start, field));
        }
        assert!(complete_blank(&mut packet, 55, 53), "nothing, and the last two bytes");
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_reference(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(fold(add(0, &bytes)), reference(&bytes));
        }

        #[test]
        fn a_complete_checksum_is_good_and_one_changed_bit_is_not(
            v6: bool, tcp: bool, payload in proptest::collection::vec(any::<u8>(), 0..200),
            bit in 0usize..8, place: prop::sample::Index,
        ) {
            let transport = if tcp { Transport::Tcp } else { Transport::Udp };
            let mut packet = frame(v6, transport, &payload);
            let headers = Headers::parse(&packet).unwrap();
            fill(&mut packet, &headers);
            prop_assert!(is_good(&packet));
            // Anywhere but in the length of a UDP packet, which says what is covered.
            let at = headers.transport_at + place.index(headers.end - headers.transport_at);
            let length_at = headers.transport_at + 4;
            prop_assume!(tcp || !(length_at..length_at + 2).contains(&at));
            packet[at] ^= 1 << bit;
            let no_checksum = !tcp && !v6 && half(&packet, headers.checksum_at()) == Some(0);
            prop_assert!(no_checksum || !is_good(&packet));
        }

        #[test]
        fn a_blank_checksum_is_completed_by_adding_the_rest(
            v6: bool, payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut blank = if v6 { tcp_v6(&payload) } else { tcp_v4(&payload) };
            let headers = Headers::parse(&blank).unwrap();
            let mut whole = blank.clone();
            fill(&mut whole, &headers);
            let pseudo = fold(pseudo(&blank, &headers));
            set_half(&mut blank, headers.checksum_at(), pseudo);
            let (start, field) = (headers.transport_at, headers.checksum_at());
            prop_assert!(complete_blank(&mut blank, start, field));
            prop_assert_eq!(blank, whole);
        }
    }
}
