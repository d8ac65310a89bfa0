//! Tests of the IP headers: against smoltcp's reading of the same bytes, and hostile ones.

use super::*;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Ipv4Packet, Ipv4Repr, Ipv6Packet};
use std::vec;
use std::vec::Vec;

fn header(source: IpAddr, dest: IpAddr, payload_bytes: u16) -> Header {
    Header { source, dest, protocol: 17, hop_limit: 3, payload_bytes, fragment: None }
}

fn ipv6(protocol: u8, rest: &[u8]) -> Vec<u8> {
    let ones: IpAddr = "2001:db8::1".parse().unwrap();
    let mut bytes = vec![0; IPV6_HEADER_BYTES];
    Header { protocol, ..header(ones, ones, rest.len() as u16) }.emit(&mut bytes);
    bytes.extend_from_slice(rest);
    bytes
}

#[test]
fn smoltcp_reads_what_is_written() {
    let (source, dest) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let mut bytes = [0xff; 28];
    header(source.into(), dest.into(), 8).emit(&mut bytes);
    let packet = Ipv4Packet::new_checked(&bytes[..]).unwrap();
    let repr = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).unwrap();
    assert_eq!((repr.src_addr, repr.dst_addr, repr.payload_len), (source, dest, 8));
    assert!(packet.dont_frag() && !packet.more_frags());
    let ours = Packet::parse_ipv4(&bytes).unwrap();
    assert_eq!((ours.source, ours.dest), (source.into(), dest.into()));
    assert_eq!((ours.protocol, ours.hop_limit, ours.payload().len()), (17, 3, 8));
}

#[test]
fn pieces_say_where_they_belong() {
    let fragment = Some(Fragment { id: 0xbeef, offset_bytes: 1480, more: true });
    let mut bytes = [0; 28];
    let (source, dest) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    Header { fragment, ..header(source.into(), dest.into(), 8) }.emit(&mut bytes);
    let packet = Ipv4Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!((packet.ident(), packet.frag_offset(), packet.more_frags()), (0xbeef, 1480, true));
    assert_eq!(Packet::parse_ipv4(&bytes).unwrap().fragment, fragment);
    let bytes = ipv6(44, &[17, 0, 0x05, 0xc9, 1, 2, 3, 4, 9, 9]);
    let packet = Packet::parse_ipv6(&bytes).unwrap();
    let fragment = Fragment { id: 0x0102_0304, offset_bytes: 1480, more: true };
    assert_eq!(
        (packet.fragment, packet.protocol, packet.payload()),
        (Some(fragment), 17, &[9, 9][..])
    );
}

#[test]
fn extension_headers_are_skipped_unless_they_forbid_it() {
    let accepted = |rest: &[u8], protocol| {
        Packet::parse_ipv6(&ipv6(protocol, rest)).map(|packet| packet.payload().to_vec())
    };
    // Hop-by-hop with PadN, destination with Pad1s, then UDP.
    let padded = [60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&padded, 0), Some(vec![7]));
    let discard = [17, 0, 0x40, 4, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&discard, 0), None);
    let option_over_the_end = [17, 0, 1, 5, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&option_over_the_end, 0), None);
    let routed_on = [17, 0, 0, 1, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&routed_on, 43), None);
    let arrived = [17, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&arrived, 43), Some(vec![7]));
    let too_long = [17, 1, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(accepted(&too_long, 60), None);
    let for_ever = [60, 0, 1, 4, 0, 0, 0, 0].repeat(MAX_EXTENSIONS + 1);
    assert_eq!(accepted(&for_ever, 60), None);
    let atomic = [17, 0, 0, 0, 1, 2, 3, 4, 7];
    assert_eq!(accepted(&atomic, 44), Some(vec![7]));
}

proptest! {
    #[test]
    fn ipv4_agrees_with_smoltcp(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
        repair: bool,
    ) {
        if repair && bytes.len() >= IPV4_HEADER_BYTES {
            bytes[0] = 0x45 + bytes[0] % 3;
            let len = bytes.len() as u16;
            put(&mut bytes, 2, &len.to_be_bytes());
            let header_bytes = usize::from(bytes[0] & 0xf) * 4;
            put(&mut bytes, 10, &[0; 2]);
            if let Some(header) = bytes.get(..header_bytes) {
                let checksum = Sum::default().add(header).finish();
                put(&mut bytes, 10, &checksum);
            }
        }
        let ours = Packet::parse_ipv4(&bytes);
        let theirs = Ipv4Packet::new_checked(&bytes[..]).ok();
        let theirs = theirs.filter(|packet| packet.version() == 4 && packet.verify_checksum());
        prop_assert_eq!(ours.is_some(), theirs.is_some());
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.payload(), theirs.payload());
            prop_assert_eq!(ours.protocol, u8::from(theirs.next_header()));
            let is_fragment = theirs.more_frags() || theirs.frag_offset() != 0;
            prop_assert_eq!(ours.fragment.is_some(), is_fragment);
        }
    }

    #[test]
    fn ipv6_never_reaches_beyond_the_end(
        rest in proptest::collection::vec(any::<u8>(), 0..120),
        protocol in prop_oneof![Just(0u8), Just(43), Just(44), Just(60), any::<u8>()],
    ) {
        let bytes = ipv6(protocol, &rest);
        prop_assert!(Ipv6Packet::new_checked(&bytes[..]).is_ok());
        if let Some(packet) = Packet::parse_ipv6(&bytes) {
            prop_assert!(packet.payload().len() <= rest.len());
        }
    }
}
