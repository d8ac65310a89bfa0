//! Ethernet addresses, as bytes and as xenstore's text.

use core::fmt;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// To everyone.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address in text such as "00:16:3e:01:02:03"; nothing if it is anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split(|byte| *byte == b':');
        for byte in &mut bytes {
            let &[high, low] = parts.next()? else { return None };
            let digit = |byte| char::from(byte).to_digit(16);
            *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }

    /// Whether it names a group: multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether a station may have it: no group, and not all zeroes.
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn text_of_libxl_is_an_address() {
        let mac = Mac([0x00, 0x16, 0x3e, 0x5f, 0xA0, 0x01]);
        assert_eq!(Mac::parse(b"00:16:3e:5f:a0:01"), Some(mac));
        assert_eq!(Mac::parse(b"00:16:3E:5F:A0:01"), Some(mac));
        assert_eq!(mac.to_string(), "00:16:3e:5f:a0:01");
        assert!(mac.is_station());
        assert!(!Mac::BROADCAST.is_station() && !Mac([0; 6]).is_station());
    }

    #[test]
    fn other_text_is_none() {
        for text in [
            &b""[..],
            b"00:16:3e:5f:a0",
            b"00:16:3e:5f:a0:01:02",
            b"00:16:3e:5f:a0:1",
            b"00:16:3e:5f:a0:001",
            b"00-16-3e-5f-a0-01",
            b"00:16:3e:5f:a0:g1",
            b"00:16:3e:5f:a0:01\n",
            b"+0:16:3e:5f:a0:01",
        ] {
            assert_eq!(Mac::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_address_survives(bytes: [u8; 6]) {
            prop_assert_eq!(Mac::parse(Mac(bytes).to_string().as_bytes()), Some(Mac(bytes)));
        }

        #[test]
        fn any_text_is_an_address_or_nothing(text: std::vec::Vec<u8>) {
            if let Some(mac) = Mac::parse(&text) {
                let again = mac.to_string().into_bytes();
                prop_assert_eq!(again, text.to_ascii_lowercase());
            }
        }
    }
}
