//! What becomes of a packet that the stack left work to do on, with the backend that there is.

use super::TxOffload;
use super::features::Features;
use super::offload::{IpVersion, complete_blank};
use super::proto::{Checksum, TxMeta};
use core::num::NonZeroU16;
use xen::page::PAGE_BYTES;
use xen_abi::netif::{Gso, GsoType};

/// How a packet is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// As it is.
    Whole(TxMeta),
    /// In segments with so many bytes of payload, made here.
    Cut(NonZeroU16),
    /// Not at all: the stack has made a mistake, or the backend takes less than its predecessor.
    Not,
}

impl Features {
    /// Decides about a packet, and completes its checksum if the backend does not do it: `offload`
    /// says afterwards what is still to be done.
    pub(super) fn plan(&self, frame: &mut [u8], offload: &mut TxOffload) -> Plan {
        let version = version(frame);
        if let Some(mss_bytes) = offload.mss_bytes {
            let kind = match version {
                Some(IpVersion::V4) if self.gso_v4 => GsoType::TcpV4,
                Some(IpVersion::V6) if self.gso_v6 => GsoType::TcpV6,
                _ => return Plan::Cut(mss_bytes),
            };
            let gso = Some(Gso { kind, size_bytes: mss_bytes.get() });
            // Nobody fills in the checksums of segments but who cuts them.
            return match offload.checksum {
                Some(_) => Plan::Whole(TxMeta { checksum: Checksum::Blank, gso }),
                None => Plan::Not,
            };
        }
        if frame.len() > PAGE_BYTES && !self.scatter_gather {
            return Plan::Not;
        }
        let Some(place) = offload.checksum else {
            // The stack has computed it itself.
            return Plan::Whole(TxMeta { checksum: Checksum::Valid, gso: None });
        };
        let blank = match version {
            Some(IpVersion::V4) => self.checksum_v4,
            Some(IpVersion::V6) => self.checksum_v6,
            None => false,
        };
        if blank {
            return Plan::Whole(TxMeta { checksum: Checksum::Blank, gso: None });
        }
        if !complete_blank(frame, place.start.into(), place.field.into()) {
            return Plan::Not;
        }
        offload.checksum = None;
        Plan::Whole(TxMeta { checksum: Checksum::Valid, gso: None })
    }
}

/// Which IP a frame carries.
fn version(frame: &[u8]) -> Option<IpVersion> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(IpVersion::V4),
        [0x86, 0xdd] => Some(IpVersion::V6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netfront::ChecksumPlace;
    use crate::netfront::offload::tests::{tcp_v4, tcp_v6};
    use crate::netfront::offload::{Headers, fill};

    const V4_ONLY: Features = Features {
        scatter_gather: true,
        gso_v4: true,
        gso_v6: false,
        checksum_v4: true,
        checksum_v6: false,
        split_channels: true,
        multicast_filter: false,
        queues: 1,
    };

    fn offload(v6: bool, mss: Option<u16>) -> TxOffload {
        let start = if v6 { 54 } else { 34 };
        let checksum = Some(ChecksumPlace { start, field: start + 16 });
        TxOffload { checksum, mss_bytes: mss.and_then(NonZeroU16::new) }
    }

    #[test]
    fn the_backend_does_what_it_can() {
        let mut four = tcp_v4(&[1; 3000]);
        let before = four.clone();
        let plan = V4_ONLY.plan(&mut four, &mut offload(false, Some(1448)));
        let gso = Some(Gso { kind: GsoType::TcpV4, size_bytes: 1448 });
        assert_eq!(plan, Plan::Whole(TxMeta { checksum: Checksum::Blank, gso }));
        let plan = V4_ONLY.plan(&mut four, &mut offload(false, None));
        assert_eq!(plan, Plan::Whole(TxMeta { checksum: Checksum::Blank, gso: None }));
        assert_eq!(four, before);
    }

    #[test]
    fn what_it_cannot_do_is_done_here() {
        let mut six = tcp_v6(b"hello");
        let headers = Headers::parse(&six).unwrap();
        let mut whole = six.clone();
        fill(&mut whole, &headers);
        // The stack's part: the pseudo header's sum, which is all of the sum of nothing.
        let mut sum = u32::from(u16::from_be_bytes([whole[70], whole[71]]));
        for word in six[54..].chunks(2) {
            sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u32::from(*byte));
        }
        let pseudo = !((sum & 0xffff) + (sum >> 16)) as u16;
        six[70..72].copy_from_slice(&pseudo.to_be_bytes());
        let mut work = offload(true, None);
        let plan = V4_ONLY.plan(&mut six, &mut work);
        assert_eq!(plan, Plan::Whole(TxMeta { checksum: Checksum::Valid, gso: None }));
        assert_eq!(work.checksum, None, "not twice");
        assert_eq!(six, whole);
        let cut = NonZeroU16::new(1440).unwrap();
        assert_eq!(V4_ONLY.plan(&mut six, &mut offload(true, Some(1440))), Plan::Cut(cut));
    }

    #[test]
    fn mistakes_are_not_sent() {
        let mut long = tcp_v4(&[1; 5000]);
        let single = Features { scatter_gather: false, ..V4_ONLY };
        assert_eq!(single.plan(&mut long, &mut offload(false, None)), Plan::Not);
        let mss_bytes = NonZeroU16::new(1448);
        let mut work = TxOffload { checksum: None, mss_bytes };
        assert_eq!(V4_ONLY.plan(&mut long, &mut work), Plan::Not);
        let outside = Some(ChecksumPlace { start: 54, field: 9000 });
        let mut work = TxOffload { checksum: outside, mss_bytes: None };
        assert_eq!(V4_ONLY.plan(&mut tcp_v6(b""), &mut work), Plan::Not);
    }
}
