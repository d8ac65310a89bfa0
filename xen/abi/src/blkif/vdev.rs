//! Numbers and names of virtual block devices (Xen: docs/man/xen-vbd-interface.7).
//!
//! ```text
//!   1 << 28 | disk << 8 | partition          xvd*, where disk or partition is 16 or more
//!     202 << 8 | disk << 4 | partition       xvda … xvdp
//!       8 << 8 | disk << 4 | partition       sda … sdp
//!       3 << 8 | disk << 6 | partition       hda, hdb
//!      22 << 8 | (disk - 2) << 6 | partition hdc, hdd
//! ```

use core::fmt::{self, Write as _};
use core::str::FromStr;

use super::Handle;

/// Number of a virtual block device: which disk it is to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct Vdev(pub u32);

/// The text is neither the name of a disk nor a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VdevError;

impl fmt::Display for VdevError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither the name of a disk (xvda, sda1, hdc) nor a device number")
    }
}

impl core::error::Error for VdevError {}

/// The three families of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Xvd,
    Sd,
    Hd,
}

impl Vdev {
    /// What requests name the disk by.
    pub const fn handle(self) -> Handle {
        Handle(self.0 as u16)
    }

    /// Family, disk and partition; nothing for numbers that follow no scheme.
    const fn parts(self) -> Option<(Family, u32, u32)> {
        let low = self.0 & 0xff;
        Some(match self.0 >> 8 {
            202 => (Family::Xvd, low >> 4, low & 15),
            8 => (Family::Sd, low >> 4, low & 15),
            // Two disks on each of two channels: numbers of more follow no scheme.
            3 if low < 128 => (Family::Hd, low >> 6, low & 63),
            22 if low < 128 => (Family::Hd, (low >> 6) + 2, low & 63),
            _ if self.0 >> 28 == 1 => (Family::Xvd, (self.0 >> 8) & 0xf_ffff, low),
            _ => return None,
        })
    }

    const fn from_parts(family: Family, disk: u32, partition: u32) -> Option<Self> {
        let number = match family {
            Family::Xvd if disk < 16 && partition < 16 => 202 << 8 | disk << 4 | partition,
            Family::Xvd if disk < 1 << 20 && partition < 256 => 1 << 28 | disk << 8 | partition,
            Family::Sd if disk < 16 && partition < 16 => 8 << 8 | disk << 4 | partition,
            Family::Hd if disk < 2 && partition < 64 => 3 << 8 | disk << 6 | partition,
            Family::Hd if disk >= 2 && disk < 4 && partition < 64 => {
                22 << 8 | (disk - 2) << 6 | partition
            }
            _ => return None,
        };
        Some(Self(number))
    }
}

/// The number in letters: a is 0, z is 25, aa is 26.
fn disk_of_letters(letters: &str) -> Option<u32> {
    let number = letters.bytes().try_fold(0u32, |number, letter| {
        let digit = letter.is_ascii_lowercase().then(|| u32::from(letter - b'a') + 1)?;
        number.checked_mul(26)?.checked_add(digit)
    });
    number?.checked_sub(1)
}

impl FromStr for Vdev {
    type Err = VdevError;

    /// Reads a name such as `xvda` or `sdb1`, or a number in decimal or, after `0x`, in
    /// hexadecimal.
    fn from_str(text: &str) -> Result<Self, VdevError> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        if let Some(number) = number {
            return Ok(Self(number));
        }
        let (family, rest) = [("xvd", Family::Xvd), ("sd", Family::Sd), ("hd", Family::Hd)]
            .into_iter()
            .find_map(|(prefix, family)| Some((family, text.strip_prefix(prefix)?)))
            .ok_or(VdevError)?;
        let letters_end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let (letters, digits) = rest.split_at(letters_end);
        let disk = disk_of_letters(letters).ok_or(VdevError)?;
        let partition = match digits {
            "" => 0,
            _ if digits.starts_with(['0', '+']) => return Err(VdevError),
            _ => digits.parse().map_err(|_| VdevError)?,
        };
        Self::from_parts(family, disk, partition).ok_or(VdevError)
    }
}

impl fmt::Display for Vdev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((family, disk, partition)) = self.parts() else {
            return write!(f, "vbd-{}", self.0);
        };
        f.write_str(match family {
            Family::Xvd => "xvd",
            Family::Sd => "sd",
            Family::Hd => "hd",
        })?;
        // Five letters reach far beyond the 20 bits of the largest disk number.
        let (mut letters, mut rest, mut count) = ([0u8; 5], disk + 1, 0);
        while rest > 0 && count < letters.len() {
            letters[count] = b'a' + ((rest - 1) % 26) as u8;
            (rest, count) = ((rest - 1) / 26, count + 1);
        }
        letters[..count].iter().rev().try_for_each(|letter| f.write_char(char::from(*letter)))?;
        if partition > 0 { write!(f, "{partition}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    #[test]
    fn names_of_the_manual() {
        for (name, number) in [
            ("xvda", 51712),
            ("xvdb", 51728),
            ("xvdd", 51760),
            ("xvdp15", 202 << 8 | 255),
            ("xvdq", 1 << 28 | 16 << 8),
            ("xvda16", 1 << 28 | 16),
            ("xvdz", 1 << 28 | 25 << 8),
            ("xvdaa", 1 << 28 | 26 << 8),
            ("xvdba1", 1 << 28 | 52 << 8 | 1),
            ("sda", 2048),
            ("sdb1", 2065),
            ("hda", 768),
            ("hdb3", 768 + 67),
            ("hdc", 5632),
            ("hdd", 5632 + 64),
        ] {
            assert_eq!(name.parse(), Ok(Vdev(number)), "{name}");
            assert_eq!(Vdev(number).to_string(), name);
        }
        assert_eq!("51712".parse(), Ok(Vdev(51712)));
        assert_eq!("0xca10".parse(), Ok(Vdev(51728)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "xvd",
            "xvd1",
            "xvda01",
            "xvda+1",
            "xvdA",
            "sdq",
            "hde",
            "hda64",
            "xvda256",
            "vda",
            "xvda1x",
            "4294967296",
            "0x",
            "-1",
            "xvdzzzzzzzzzz",
        ] {
            assert_eq!(text.parse::<Vdev>(), Err(VdevError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(number in prop_oneof![any::<u32>(), 0u32..0x1_0000]) {
            let name = Vdev(number).to_string();
            match name.strip_prefix("vbd-") {
                Some(digits) => prop_assert_eq!(digits.parse(), Ok(number)),
                // Names of low disks have two numbers; the shorter is what is read.
                None => {
                    let read: Vdev = name.parse().unwrap();
                    prop_assert_eq!(read.to_string(), name);
                    prop_assert!(read == Vdev(number) || number >> 28 == 1);
                }
            }
        }

        #[test]
        fn any_text_is_a_device_or_an_error(text: String) {
            let _ = text.parse::<Vdev>();
        }
    }
}
