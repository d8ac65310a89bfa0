//! What is at hand while the stack works: the time, the bounds, and where its results go.

use super::device::MacAddr;
use super::hash::Secret;
use super::limits::{Allowance, Limits};
use super::port::{Outgoing, Port, Transport};
use super::tcp::Reply;
use super::wire::ethernet::EtherType;
use crate::time::Instant;
use alloc::vec::Vec;
use core::task::Waker;
use smoltcp::time::Instant as SmolInstant;

/// What is at hand in a turn.
pub struct Env<'a> {
    pub now: Instant,
    /// The same, as smoltcp counts.
    pub smol: SmolInstant,
    pub limits: &'a Limits,
    pub secret: &'a Secret,
    /// Whom to wake once the stack is not locked any more.
    pub wakes: &'a mut Vec<Waker>,
    /// The answer to the frame that is being received.
    pub answer: &'a mut Answer,
    /// Errors and resets that may be sent.
    pub allowance: &'a mut Allowance,
}

/// A packet that answers the frame that is being received. It leaves when that is no longer in use.
pub struct Answer {
    /// From where the frame came, and where the answer goes.
    pub to: MacAddr,
    /// What the answer is.
    pub kind: EtherType,
    /// Where its checksum is to be filled in.
    pub transport: Option<Transport>,
    /// The packet; empty if there is no answer.
    pub reply: Reply,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            to: MacAddr::default(),
            kind: EtherType::IPV4,
            transport: None,
            reply: Reply::default(),
        }
    }
}

impl Answer {
    /// Begins an answer of this length: its memory.
    pub fn begin(
        &mut self,
        kind: EtherType,
        len_bytes: usize,
        transport: Option<Transport>,
    ) -> &mut [u8] {
        (self.kind, self.transport) = (kind, transport);
        self.reply.begin(len_bytes)
    }

    /// Sends the answer, if there is one.
    pub fn send(&mut self, port: &mut Port) {
        let packet = &self.reply.packet;
        if packet.is_empty() {
            return;
        }
        let outgoing = Outgoing {
            to: self.to,
            kind: self.kind,
            len_bytes: packet.len(),
            transport: self.transport,
            segments: None,
        };
        port.send(&outgoing, |bytes| bytes.copy_from_slice(packet));
        self.reply.packet.clear();
    }
}
