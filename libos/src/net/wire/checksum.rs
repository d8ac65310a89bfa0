//! The Internet checksum (RFC 1071): ones' complement sums of 16-bit words.

use core::net::IpAddr;

/// A sum that is not folded yet, of words in the machine's own byte order: by RFC 1071, section
/// 2(B), only the result needs to be swapped.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes. An odd byte counts as the first of a word, so only the last piece may be odd.
    pub fn add(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(*word));
            sum = next + u64::from(carry);
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        let (next, carry) = sum.overflowing_add(u64::from_ne_bytes(last));
        Self(next + u64::from(carry))
    }

    /// Adds the pseudo header of TCP, UDP and ICMPv6 (RFC 9293, section 3.1; RFC 8200, section
    /// 8.1).
    pub fn add_pseudo_header(self, source: IpAddr, dest: IpAddr, protocol: u8, len: u32) -> Self {
        let mut tail = [0; 8];
        tail[..4].copy_from_slice(&len.to_be_bytes());
        tail[7] = protocol;
        let sum = self.add(&tail);
        match (source, dest) {
            (IpAddr::V4(source), IpAddr::V4(dest)) => sum.add(&source.octets()).add(&dest.octets()),
            (IpAddr::V6(source), IpAddr::V6(dest)) => sum.add(&source.octets()).add(&dest.octets()),
            // No packet has both.
            _ => sum,
        }
    }

    /// The sum as it stands in a header, not complemented.
    pub fn fold(self) -> [u8; 2] {
        let mut sum = self.0;
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        (sum as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the sum.
    pub fn finish(self) -> [u8; 2] {
        let [high, low] = self.fold();
        [!high, !low]
    }

    /// Whether a sum over all, the checksum included, says that nothing has changed.
    pub fn is_valid(self) -> bool {
        self.fold() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::checksum;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).fold(), [0xdd, 0xf2]);
    }

    #[test]
    fn nothing_overflows() {
        let sum = (0..9).fold(Sum(u64::MAX), |sum, _| sum.add(&[0xff; 65_535]));
        assert_eq!(sum.add(&[]).fold(), sum.fold());
    }

    proptest! {
        #[test]
        fn it_agrees_with_smoltcp(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            source: [u8; 16], dest: [u8; 16], protocol: u8,
        ) {
            let theirs = checksum::data(&bytes).to_be_bytes();
            prop_assert_eq!(Sum::default().add(&bytes).fold(), theirs);
            let (source, dest) = (IpAddr::from(source), IpAddr::from(dest));
            let len = bytes.len() as u32;
            let (from, to) = (source.into(), dest.into());
            let pseudo = checksum::pseudo_header(&from, &to, protocol.into(), len);
            let ours = Sum::default().add_pseudo_header(source, dest, protocol, len).fold();
            prop_assert_eq!(ours, pseudo.to_be_bytes());
        }

        #[test]
        fn what_carries_its_checksum_is_valid(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let checksum = Sum::default().add(&bytes).finish();
            prop_assert!(Sum::default().add(&checksum).add(&bytes).is_valid());
        }
    }
}
