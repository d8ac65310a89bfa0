//! Tests of packets in pieces: any order, any overlap, any amount.

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn packet(ipv6: bool, payload: &[u8]) -> Vec<u8> {
    let (source, dest): (IpAddr, IpAddr) = match ipv6 {
        true => (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()),
        false => (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into()),
    };
    let payload_bytes = payload.len() as u16;
    let header = Header { source, dest, protocol: 17, hop_limit: 9, payload_bytes, fragment: None };
    let mut bytes = vec![0; header.len()];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn parse(bytes: &[u8]) -> Packet<'_> {
    let parse = if bytes[0] >> 4 == 4 { Packet::parse_ipv4 } else { Packet::parse_ipv6 };
    parse(bytes).unwrap()
}

fn add(reassembly: &mut Reassembly, piece: &[u8], now: Instant) -> (Outcome, usize) {
    let packet = parse(piece);
    let fragment = packet.fragment.unwrap();
    reassembly.add(&packet, fragment, now)
}

fn whole(outcome: (Outcome, usize)) -> Option<Vec<u8>> {
    match outcome.0 {
        Outcome::Whole(packet) => Some(packet),
        _ => None,
    }
}

fn new() -> Reassembly {
    Reassembly::new(&Limits::default())
}

#[test]
fn pieces_that_overlap_lose_the_packet() {
    let payload: Vec<u8> = (0..3000u16).map(|i| i as u8).collect();
    let pieces = split(&packet(false, &payload), 1500, 1);
    let lies = split(&packet(false, &payload), 1400, 1);
    let mut reassembly = new();
    assert!(matches!(add(&mut reassembly, &pieces[0], Instant::BOOT).0, Outcome::Wait));
    // The same piece again says nothing new.
    assert!(matches!(add(&mut reassembly, &pieces[0], Instant::BOOT).0, Outcome::Wait));
    assert!(matches!(add(&mut reassembly, &lies[1], Instant::BOOT).0, Outcome::Nonsense));
    assert_eq!((reassembly.partials.len(), reassembly.bytes), (0, 0));
    // A second, shorter end.
    add(&mut reassembly, &pieces[2], Instant::BOOT);
    let short = split(&packet(false, &payload[..2900]), 1500, 1);
    assert!(matches!(add(&mut reassembly, &short[1], Instant::BOOT).0, Outcome::Nonsense));
}

#[test]
fn what_is_never_whole_is_given_up() {
    let pieces = split(&packet(true, &[7; 4000]), 1280, 1);
    let mut reassembly = new();
    add(&mut reassembly, &pieces[1], Instant::BOOT);
    let deadline = reassembly.deadline();
    assert_eq!(deadline, Instant::BOOT + PATIENCE);
    assert_eq!(reassembly.expire(deadline - Duration::from_nanos(1)), 0);
    assert_eq!(reassembly.expire(deadline), 1);
    assert_eq!((reassembly.bytes, reassembly.deadline()), (0, Instant::FAR_FUTURE));
}

#[test]
fn memory_is_bounded() {
    let limits = Limits { fragment_bytes: 20_000, fragmented_packets: 4, ..Limits::default() };
    let mut reassembly = Reassembly::new(&limits);
    let mut lost = 0;
    for id in 0..1000 {
        for piece in &split(&packet(false, &[1; 9000]), 1500, id)[1..] {
            lost += add(&mut reassembly, piece, Instant::BOOT).1;
            let bytes = reassembly.partials.iter().flat_map(|p| &p.pieces);
            let bytes: usize = bytes.map(|p| p.bytes.len() + PIECE_OVERHEAD_BYTES).sum();
            assert_eq!(bytes, reassembly.bytes);
            assert!(reassembly.bytes <= 20_000 && reassembly.partials.len() <= 4);
        }
    }
    assert!(lost > 900, "{lost} packets were given up");
    // One packet that does not fit at all.
    let limits = Limits { fragment_bytes: 3000, ..limits };
    let mut reassembly = Reassembly::new(&limits);
    for piece in split(&packet(false, &[1; 9000]), 1500, 0) {
        assert!(whole(add(&mut reassembly, &piece, Instant::BOOT)).is_none());
        assert!(reassembly.bytes <= 3000);
    }
}

#[test]
fn no_packet_is_longer_than_packets_are() {
    // "Ping of death": a last piece that ends beyond 65535.
    let mut piece = packet(false, &[1; 64]);
    let fragment = Fragment { id: 1, offset_bytes: 65_528, more: false };
    let parsed = parse(&piece);
    let header = Header {
        source: parsed.source,
        dest: parsed.dest,
        protocol: 17,
        hop_limit: 1,
        payload_bytes: 64,
        fragment: Some(fragment),
    };
    header.emit(&mut piece);
    assert!(matches!(add(&mut new(), &piece, Instant::BOOT).0, Outcome::Nonsense));
}

proptest! {
    #[test]
    fn any_order_makes_the_packet_whole(
        ipv6: bool,
        payload in proptest::collection::vec(any::<u8>(), 1600..9000),
        mtu in 600usize..1500,
        keys in proptest::collection::vec(any::<u32>(), 20),
    ) {
        let packet = packet(ipv6, &payload);
        let pieces = split(&packet, mtu, 77);
        prop_assert!(pieces.iter().all(|piece| piece.len() <= mtu));
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|&n| keys[n % keys.len()]);
        let mut reassembly = new();
        let mut result = None;
        for n in order {
            prop_assert!(result.is_none());
            result = whole(add(&mut reassembly, &pieces[n], Instant::BOOT));
        }
        prop_assert_eq!(result, Some(packet));
        prop_assert_eq!(reassembly.bytes, 0);
    }

    #[test]
    fn hostile_pieces_end_somehow(
        pieces in proptest::collection::vec(
            (0u32..2, 0u16..40, 1usize..200, any::<bool>()), 1..200
        ),
    ) {
        let mut reassembly = new();
        for (id, offset, len, more) in pieces {
            let fragment = Fragment { id, offset_bytes: offset * 8, more };
            let bytes = packet(false, &std::vec![offset as u8; len]);
            let parsed = parse(&bytes);
            let (outcome, _) = reassembly.add(&parsed, fragment, Instant::BOOT);
            if let Outcome::Whole(packet) = outcome {
                prop_assert!(Packet::parse_ipv4(&packet).is_some());
            }
        }
        prop_assert!(reassembly.partials.len() <= 2);
    }
}
