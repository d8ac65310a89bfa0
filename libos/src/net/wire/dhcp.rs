//! DHCP messages (RFC 2131, RFC 2132): what a client writes and reads.

use super::put;
use crate::net::device::MacAddr;
use core::net::Ipv4Addr;

/// Port of servers.
pub const SERVER_PORT: u16 = 67;
/// Port of clients.
pub const CLIENT_PORT: u16 = 68;

/// Bytes of the messages that we send, options padded (RFC 1542, section 2.1: at least 300).
pub const BYTES: usize = 300;

/// Where the options begin, behind the magic cookie.
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a message says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// "Servers, what do you offer?"
    Discover,
    /// "You may have this."
    Offer,
    /// "I take this."
    Request,
    /// "It is yours."
    Ack,
    /// "You cannot have it."
    Nak,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Ack => 5,
            Self::Nak => 6,
        }
    }
}

/// A message of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// [`Kind::Discover`] or [`Kind::Request`].
    pub kind: Kind,
    /// The same in all messages of an exchange.
    pub exchange: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// Who asks.
    pub mac: MacAddr,
    /// The address that the client has, to be renewed.
    pub address: Option<Ipv4Addr>,
    /// The address that the client wants.
    pub wanted: Option<Ipv4Addr>,
    /// The server whose offer is taken.
    pub server: Option<Ipv4Addr>,
}

impl Request {
    /// Writes the message.
    pub fn emit(&self, bytes: &mut [u8; BYTES]) {
        *bytes = [0; BYTES];
        // A request over Ethernet.
        put(bytes, 0, &[1, 1, 6, 0]);
        put(bytes, 4, &self.exchange.to_be_bytes());
        put(bytes, 8, &self.seconds.to_be_bytes());
        if let Some(address) = self.address {
            put(bytes, 12, &address.octets());
        }
        put(bytes, 28, &self.mac.0);
        put(bytes, OPTIONS_AT - 4, &COOKIE);
        let mut at = OPTIONS_AT;
        let mut option = |kind: u8, value: &[u8]| {
            put(bytes, at, &[kind, value.len() as u8]);
            put(bytes, at + 2, value);
            at += 2 + value.len();
        };
        option(53, &[self.kind.number()]);
        let MacAddr([a, b, c, d, e, f]) = self.mac;
        option(61, &[1, a, b, c, d, e, f]);
        if let Some(wanted) = self.wanted {
            option(50, &wanted.octets());
        }
        if let Some(server) = self.server {
            option(54, &server.octets());
        }
        // Subnet mask, router, name servers, MTU, lease and renewal times.
        option(55, &[1, 3, 6, 26, 51, 58, 59]);
        // The longest answer that we take.
        option(57, &1400u16.to_be_bytes());
        put(bytes, at, &[255]);
    }
}

/// A message of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// What it says.
    pub kind: Kind,
    /// Whose exchange it belongs to.
    pub exchange: u32,
    /// The address that is offered or given.
    pub address: Ipv4Addr,
    /// Who says so.
    pub server: Option<Ipv4Addr>,
    /// How many bits of the address are the network's.
    pub bits: u8,
    /// Where packets to other networks go.
    pub router: Option<Ipv4Addr>,
    /// At most three name servers.
    pub name_servers: [Option<Ipv4Addr>; 3],
    /// For how many seconds the address is given.
    pub lease_s: Option<u32>,
    /// After how many seconds to ask the server again.
    pub renew_s: Option<u32>,
    /// After how many seconds to ask any server.
    pub rebind_s: Option<u32>,
}

impl Reply {
    /// Parses a message to `mac`; [`None`] if it is not one, or makes no sense.
    pub fn parse(bytes: &[u8], mac: MacAddr) -> Option<Self> {
        let header = bytes.first_chunk::<OPTIONS_AT>()?;
        let ours = header[..3] == [2, 1, 6] && header[28..34] == mac.0;
        if !ours || header[OPTIONS_AT - 4..] != COOKIE {
            return None;
        }
        let mut reply = Self {
            kind: Kind::Nak,
            exchange: super::u32_at(bytes, 4)?,
            address: address(&header[16..20])?,
            server: None,
            bits: 0,
            router: None,
            name_servers: [None; 3],
            lease_s: None,
            renew_s: None,
            rebind_s: None,
        };
        let mut kind = None;
        let mut rest = &bytes[OPTIONS_AT..];
        while let Some((&option, after)) = rest.split_first() {
            if option == 0 {
                rest = after;
                continue;
            }
            if option == 255 {
                break;
            }
            let (&len, after) = after.split_first()?;
            let (value, after) = after.split_at_checked(len.into())?;
            rest = after;
            match option {
                53 => kind = Some(*value.first()?),
                _ => reply.note(option, value),
            }
        }
        reply.kind = match kind? {
            2 => Kind::Offer,
            5 => Kind::Ack,
            6 => Kind::Nak,
            _ => return None,
        };
        Some(reply)
    }

    fn note(&mut self, option: u8, value: &[u8]) {
        match option {
            1 => {
                let mask = super::u32_at(value, 0).unwrap_or(0);
                self.bits = mask.leading_ones() as u8;
            }
            3 => self.router = address(value),
            6 => {
                for (server, bytes) in self.name_servers.iter_mut().zip(value.chunks_exact(4)) {
                    *server = address(bytes);
                }
            }
            51 => self.lease_s = super::u32_at(value, 0),
            54 => self.server = address(value),
            58 => self.renew_s = super::u32_at(value, 0),
            59 => self.rebind_s = super::u32_at(value, 0),
            _ => {}
        }
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const MAC: MacAddr = MacAddr([1, 2, 3, 4, 5, 6]);

    /// A server's message with these options.
    fn message(options: &[u8]) -> Vec<u8> {
        let mut bytes = [0; OPTIONS_AT].to_vec();
        put(&mut bytes, 0, &[2, 1, 6]);
        put(&mut bytes, 4, &[9, 8, 7, 6]);
        put(&mut bytes, 16, &[10, 0, 0, 5]);
        put(&mut bytes, 28, &MAC.0);
        put(&mut bytes, OPTIONS_AT - 4, &COOKIE);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn a_request_says_who_asks_for_what() {
        let request = Request {
            kind: Kind::Request,
            exchange: 0x0102_0304,
            seconds: 3,
            mac: MAC,
            address: None,
            wanted: Some(Ipv4Addr::new(10, 0, 0, 5)),
            server: Some(Ipv4Addr::new(10, 0, 0, 1)),
        };
        let mut bytes = [0xff; BYTES];
        request.emit(&mut bytes);
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 3, 0, 0]);
        assert_eq!(bytes[28..34], MAC.0);
        let options = [
            99, 130, 83, 99, 53, 1, 3, 61, 7, 1, 1, 2, 3, 4, 5, 6, 50, 4, 10, 0, 0, 5, 54, 4, 10,
            0, 0, 1, 55, 7, 1, 3, 6, 26, 51, 58, 59, 57, 2, 5, 120, 255, 0,
        ];
        assert_eq!(bytes[236..236 + options.len()], options);
        // It is not a reply.
        assert_eq!(Reply::parse(&bytes, MAC), None);
    }

    #[test]
    fn an_offer_is_read() {
        let bytes = message(&[
            53, 1, 2, 0, 1, 4, 255, 255, 240, 0, 3, 4, 10, 0, 0, 1, 6, 8, 9, 9, 9, 9, 8, 8, 8, 8,
            51, 4, 0, 0, 1, 0, 54, 4, 10, 0, 0, 2, 77, 2, 0, 0, 255, 99,
        ]);
        let reply = Reply::parse(&bytes, MAC).unwrap();
        assert_eq!((reply.kind, reply.exchange), (Kind::Offer, 0x0908_0706));
        assert_eq!((reply.address, reply.bits), (Ipv4Addr::new(10, 0, 0, 5), 20));
        assert_eq!(reply.router, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(reply.server, Some(Ipv4Addr::new(10, 0, 0, 2)));
        let [first, second, third] = reply.name_servers;
        assert_eq!((first, second), (Some([9; 4].into()), Some([8; 4].into())));
        assert_eq!((third, reply.lease_s, reply.renew_s), (None, Some(256), None));
        assert_eq!(Reply::parse(&bytes, MacAddr([9; 6])), None);
        assert_eq!(Reply::parse(&message(&[53, 2, 2]), MAC), None);
        assert_eq!(Reply::parse(&message(&[51, 4, 0, 0, 0, 1, 255]), MAC), None);
    }

    proptest! {
        #[test]
        fn any_options_are_read_or_not(options in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = message(&[53, 1, 5]);
            bytes.extend(options);
            Reply::parse(&bytes, MAC);
        }
    }
}
