//! An interface's device with what surrounds every frame: Ethernet header, checksum, counters,
//! capture.
//!
//! ```text
//!   open ──▶ [ Ethernet header | packet … ]   the device's memory; the caller writes the packet
//!   close ─▶ checksum filled in or left to the device; copy to the capture
//!   commit ▶ the device's
//! ```

use super::counters::InterfaceCounters;
use super::device::{Device, ETHERNET_HEADER_BYTES, MacAddr, Segments, TxChecksum, TxFrame};
use super::pcap::Tap;
use super::wire::checksum::Sum;
use super::wire::ethernet::{EtherType, Header};
use super::wire::{protocol, put, tcp, udp};
use alloc::boxed::Box;

/// The device and its surroundings.
pub struct Port {
    pub device: Box<dyn Device>,
    pub counters: InterfaceCounters,
    /// Where copies of all frames go.
    pub tap: Option<Tap>,
    /// Whether something waits for the end of the batch.
    pub unflushed: bool,
}

/// A packet that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// To which station.
    pub to: MacAddr,
    /// What it is.
    pub kind: EtherType,
    /// Its length.
    pub len_bytes: usize,
    /// Where its checksum is, if it has one that is not filled in yet.
    pub transport: Option<Transport>,
    /// How it is cut apart.
    pub segments: Option<Segments>,
}

/// A TCP or UDP header in a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    protocol: u8,
    /// Where in the packet it begins.
    start: u16,
}

impl Transport {
    /// TCP behind `header_bytes` bytes.
    pub fn tcp(header_bytes: usize) -> Self {
        Self { protocol: protocol::TCP, start: header_bytes as u16 }
    }

    /// UDP behind `header_bytes` bytes.
    pub fn udp(header_bytes: usize) -> Self {
        Self { protocol: protocol::UDP, start: header_bytes as u16 }
    }

    /// Where in the packet the checksum is.
    fn field(self) -> u16 {
        let field = match self.protocol {
            protocol::TCP => tcp::CHECKSUM_AT,
            _ => udp::CHECKSUM_AT,
        };
        self.start + field as u16
    }

    /// Fills the checksum in; `blank` leaves all but the pseudo header to others.
    pub fn fill_checksum(self, packet: &mut [u8], blank: bool) {
        let start = usize::from(self.start);
        // The addresses are the last fields of both headers, or of IPv6's before its extensions.
        let addresses = if packet[0] >> 4 == 4 { 12..20 } else { 8..40 };
        let mut tail = [0; 8];
        tail[..4].copy_from_slice(&((packet.len() - start) as u32).to_be_bytes());
        tail[7] = self.protocol;
        let pseudo = Sum::default().add(&tail).add(&packet[addresses]);
        let field = usize::from(self.field());
        if blank {
            return put(packet, field, &pseudo.fold());
        }
        put(packet, field, &[0, 0]);
        let mut checksum = pseudo.add(&packet[start..]).finish();
        if checksum == [0, 0] && self.protocol == protocol::UDP {
            // Zero says that there is none (RFC 768).
            checksum = [0xff, 0xff];
        }
        put(packet, field, &checksum);
    }
}

/// A frame that is being written.
pub struct Open<'a> {
    header: Header,
    tap: Option<&'a mut Tap>,
    blank: bool,
}

impl Open<'_> {
    /// The packet is written.
    pub fn close(self, packet: &mut [u8], transport: Option<Transport>) {
        if let Some(transport) = transport {
            transport.fill_checksum(packet, self.blank);
        }
        if let Some(tap) = self.tap {
            let mut header = [0; ETHERNET_HEADER_BYTES];
            self.header.emit(&mut header);
            tap.note(&header, packet);
        }
    }
}

impl Port {
    /// A device without anything sent or received yet.
    pub fn new(device: Box<dyn Device>) -> Self {
        Self { device, counters: InterfaceCounters::default(), tap: None, unflushed: false }
    }

    /// Begins a frame: the packet's memory, and what closes it. Only while the device has room.
    pub fn open(&mut self, out: &Outgoing) -> (&mut [u8], Open<'_>) {
        let link = self.device.link();
        let header = Header { dest: out.to, source: link.mac, kind: out.kind };
        let blank = match out.kind {
            EtherType::IPV4 => link.offload.checksum_ipv4,
            _ => link.offload.checksum_ipv6,
        };
        let checksum = out.transport.filter(|_| blank).map(|transport| TxChecksum {
            start: transport.start + ETHERNET_HEADER_BYTES as u16,
            field: transport.field() + ETHERNET_HEADER_BYTES as u16,
        });
        let len_bytes = out.len_bytes + ETHERNET_HEADER_BYTES;
        let frame = TxFrame { len_bytes, checksum, segments: out.segments };
        let packet = header.emit(self.device.begin_frame(frame));
        (packet, Open { header, tap: self.tap.as_mut(), blank })
    }

    /// Sends the frame that is written.
    pub fn commit(&mut self, out: &Outgoing) {
        self.device.commit_frame();
        self.unflushed = true;
        self.counters.frames_out += 1;
        self.counters.bytes_out += (out.len_bytes + ETHERNET_HEADER_BYTES) as u64;
        self.counters.large_out += u64::from(out.segments.is_some());
    }

    /// Sends a packet that `write` writes; whether there was room.
    pub fn send(&mut self, out: &Outgoing, write: impl FnOnce(&mut [u8])) -> bool {
        if !self.device.can_transmit() {
            self.counters.dropped_out += 1;
            return false;
        }
        let (packet, open) = self.open(out);
        write(packet);
        open.close(packet, out.transport);
        self.commit(out);
        true
    }

    /// Ends a batch.
    pub fn flush(&mut self) {
        if core::mem::take(&mut self.unflushed) {
            self.device.flush();
        }
    }
}
