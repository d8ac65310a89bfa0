//! What a backend does for its frontend: fills checksums in, and cuts long frames into segments.

use crate::net::device::{ETHERNET_HEADER_BYTES, Segments, TxFrame};
use crate::net::port::Transport;
use crate::net::wire::checksum::Sum;
use crate::net::wire::tcp::{self, flag};
use crate::net::wire::{ip, put, u16_at, u32_at};
use alloc::vec::Vec;

/// The frames that go over a wire for a frame that was sent, their checksums filled in.
pub fn on_the_wire(frame: &TxFrame, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    match frame.segments {
        Some(segments) => cut(&bytes, segments),
        None => {
            let mut bytes = bytes;
            if let Some(checksum) = frame.checksum {
                fill(&mut bytes, checksum.start.into(), checksum.field.into());
            }
            alloc::vec![bytes]
        }
    }
}

/// Fills a checksum in as a network card does: its field holds the pseudo header's sum.
fn fill(bytes: &mut [u8], start: usize, field: usize) {
    let mut checksum = Sum::default().add(&bytes[start..]).finish();
    if checksum == [0, 0] {
        checksum = [0xff, 0xff];
    }
    put(bytes, field, &checksum);
}

fn cut(bytes: &[u8], segments: Segments) -> Vec<Vec<u8>> {
    let ip_bytes = if segments.ipv6 { ip::IPV6_HEADER_BYTES } else { ip::IPV4_HEADER_BYTES };
    let start = ETHERNET_HEADER_BYTES + ip_bytes;
    let header = tcp::Header::parse(&bytes[start..]).expect("a TCP segment");
    let (headers, payload) = bytes.split_at(start + header.header_bytes);
    let size = usize::from(segments.size.get());
    assert!(payload.len() > size, "a frame of one segment need not be cut");
    let count = payload.len().div_ceil(size);
    let pieces = payload.chunks(size).enumerate();
    let piece = |(n, payload): (usize, &[u8])| {
        let mut bytes = headers.to_vec();
        bytes.extend_from_slice(payload);
        let len = bytes.len() - ETHERNET_HEADER_BYTES;
        if segments.ipv6 {
            put(&mut bytes, 18, &((len - ip_bytes) as u16).to_be_bytes());
        } else {
            put(&mut bytes, 16, &(len as u16).to_be_bytes());
            let id = u16_at(&bytes, 18).unwrap_or(0).wrapping_add(n as u16);
            put(&mut bytes, 18, &id.to_be_bytes());
            put(&mut bytes, 24, &[0, 0]);
            let checksum = Sum::default().add(&bytes[14..34]).finish();
            put(&mut bytes, 24, &checksum);
        }
        let seq = u32_at(&bytes, start + 4).unwrap_or(0).wrapping_add((n * size) as u32);
        put(&mut bytes, start + 4, &seq.to_be_bytes());
        if n + 1 < count {
            bytes[start + 13] &= !(flag::FIN | 0x08);
        }
        Transport::tcp(ip_bytes).fill_checksum(&mut bytes[ETHERNET_HEADER_BYTES..], false);
        bytes
    };
    pieces.map(piece).collect()
}
