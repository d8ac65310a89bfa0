//! Packets for the tests of this folder and of the driver.

use super::Transport;
use std::vec::Vec;

/// A frame from 10.0.0.2 port 40000 to 10.0.0.1 port 7, or from fd00::2 to fd00::1. The transport's
/// checksum is 0.
pub(crate) fn frame(v6: bool, transport: Transport, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::from([2; 12]);
    let header_bytes = if transport == Transport::Tcp { 20 } else { 8 };
    let transport_bytes = (header_bytes + payload.len()) as u16;
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(transport_bytes.to_be_bytes());
        frame.extend([transport.number(), 64]);
        for last in [2, 1] {
            frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((20 + transport_bytes).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, transport.number(), 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        let sum = super::checksum::ipv4_header(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame.extend([0x9c, 0x40, 0, 7]);
    match transport {
        Transport::Tcp => {
            frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0])
        }
        Transport::Udp => {
            frame.extend(transport_bytes.to_be_bytes());
            frame.extend([0, 0]);
        }
    }
    frame.extend(payload);
    frame
}

pub(crate) fn tcp_v4(payload: &[u8]) -> Vec<u8> {
    frame(false, Transport::Tcp, payload)
}

pub(crate) fn tcp_v6(payload: &[u8]) -> Vec<u8> {
    frame(true, Transport::Tcp, payload)
}

pub(crate) fn udp_v4(payload: &[u8]) -> Vec<u8> {
    frame(false, Transport::Udp, payload)
}
