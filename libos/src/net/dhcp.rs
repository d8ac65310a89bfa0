//! The DHCP client (RFC 2131, section 4.4): what to say next, and what an answer means.
//!
//! ```text
//!               offer              ack                 half of the lease
//!   (1) asking ──────▶ (2) taking ─────▶ (3) having ─────────────────────▶ (4) renewing ──╮
//!        ▲                │ nak, silence      ▲              ack               │  │ │      │ 7/8:
//!        ╰────────────────╯                   ╰────────────────────────────────╯  │ ╰──────╯ all
//!        ╰──────────────────────────── nak, end of the lease ─────────────────────╯
//! ```
//!
//! It neither sends nor reads the clock: the interface does both.

use super::addresses::Cidr;
use super::device::MacAddr;
use super::wire::dhcp::{BYTES, Kind, Reply, Request};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

/// Time until the first repetition; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest time between two questions.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// Questions before an offer is given up.
const TAKING_TRIES: u32 = 4;
/// No lease is taken to be shorter.
const SHORTEST_LEASE_S: u32 = 60;

/// What a server has given us.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Our address and its network.
    pub cidr: Cidr,
    /// Where packets to other networks go.
    pub router: Option<Ipv4Addr>,
    /// Who is to be asked for names.
    pub name_servers: Vec<IpAddr>,
    /// Until when all this is ours.
    pub until: Instant,
}

/// What has come of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// We have an address, or may keep it.
    Leased(Lease),
    /// We have none any more.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asking,
    Taking { address: Ipv4Addr, server: Ipv4Addr },
    Having { address: Ipv4Addr, server: Ipv4Addr, renew: Instant, rebind: Instant, end: Instant },
}

/// The client of one interface.
pub struct Client {
    state: State,
    exchange: u32,
    tries: u32,
    next: Instant,
    began: Instant,
}

impl Client {
    /// A client that begins to ask at once. `exchange` should be random.
    pub fn new(exchange: u32, now: Instant) -> Self {
        Self { state: State::Asking, exchange, tries: 0, next: now, began: now }
    }

    /// When [`Self::poll`] has something to do.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Begins anew: the link was away. An address that we have is asked for again.
    pub fn restart(&mut self, now: Instant) {
        if let State::Having { end, .. } = self.state
            && now < end
        {
            // Any server may say whether it is still right here.
            let State::Having { renew, rebind, .. } = &mut self.state else { return };
            (*renew, *rebind) = (now, now);
        } else {
            self.ask(now);
        }
        (self.next, self.tries) = (now, 0);
    }

    fn ask(&mut self, now: Instant) {
        self.exchange = self.exchange.wrapping_mul(0x915f_77f5).wrapping_add(1);
        (self.state, self.tries, self.began, self.next) = (State::Asking, 0, now, now);
    }

    /// The next question and whom it is for, if it is time; and what time alone has changed.
    pub fn poll(
        &mut self,
        mac: MacAddr,
        now: Instant,
        message: &mut [u8; BYTES],
    ) -> (Option<Ipv4Addr>, Option<Event>) {
        if now < self.next {
            return (None, None);
        }
        let mut event = None;
        match self.state {
            State::Taking { .. } if self.tries >= TAKING_TRIES => self.ask(now),
            State::Having { end, .. } if now >= end => {
                self.ask(now);
                event = Some(Event::Lost);
            }
            _ => {}
        }
        let seconds = (now - self.began).as_secs().min(u16::MAX.into()) as u16;
        let mut request = Request {
            kind: Kind::Request,
            exchange: self.exchange,
            seconds,
            mac,
            address: None,
            wanted: None,
            server: None,
        };
        let mut to = Ipv4Addr::BROADCAST;
        let wait = FIRST_WAIT.saturating_mul(1 << self.tries.min(6)).min(LONGEST_WAIT);
        self.next = now + wait;
        match self.state {
            State::Asking => request.kind = Kind::Discover,
            State::Taking { address, server } => {
                (request.wanted, request.server) = (Some(address), Some(server));
            }
            State::Having { address, server, rebind, end, .. } => {
                request.address = Some(address);
                if now < rebind {
                    to = server;
                }
                // RFC 2131, section 4.4.5: ever more often, but not without pause.
                let left = if now < rebind { rebind - now } else { end - now };
                self.next = now + (left / 2).max(wait.min(left));
            }
        }
        self.tries += 1;
        request.emit(message);
        (Some(to), event)
    }

    /// Takes a server's message.
    pub fn receive(
        &mut self,
        payload: &[u8],
        from: Ipv4Addr,
        mac: MacAddr,
        now: Instant,
    ) -> Option<Event> {
        let reply = Reply::parse(payload, mac)?;
        if reply.exchange != self.exchange {
            return None;
        }
        let server = reply.server.unwrap_or(from);
        match (self.state, reply.kind) {
            (State::Asking, Kind::Offer) => {
                is_usable(&reply).then_some(())?;
                self.state = State::Taking { address: reply.address, server };
                (self.tries, self.next) = (0, now);
                None
            }
            (State::Taking { address, .. } | State::Having { address, .. }, Kind::Ack)
                if reply.address == address && is_usable(&reply) =>
            {
                Some(Event::Leased(self.take(&reply, server, now)))
            }
            (State::Taking { server: known, .. }, Kind::Nak) if known == server => {
                self.ask(now + FIRST_WAIT);
                None
            }
            (State::Having { renew, .. }, Kind::Nak) if now >= renew => {
                self.ask(now + FIRST_WAIT);
                Some(Event::Lost)
            }
            _ => None,
        }
    }

    fn take(&mut self, reply: &Reply, server: Ipv4Addr, now: Instant) -> Lease {
        let lease_s = reply.lease_s.unwrap_or(3600).max(SHORTEST_LEASE_S);
        let after = |seconds: u32| match seconds {
            u32::MAX => Instant::FAR_FUTURE,
            seconds => now + Duration::from_secs(seconds.into()),
        };
        let rebind_s = reply.rebind_s.unwrap_or(lease_s / 8 * 7).min(lease_s);
        let renew_s = reply.renew_s.unwrap_or(lease_s / 2).min(rebind_s);
        let (renew, end) = (after(renew_s), after(lease_s));
        let address = reply.address;
        self.state = State::Having { address, server, renew, rebind: after(rebind_s), end };
        (self.tries, self.next) = (0, renew);
        let servers = reply.name_servers.iter().flatten();
        Lease {
            cidr: Cidr { address: address.into(), bits: bits_of(reply) },
            router: reply.router,
            name_servers: servers.map(|&server| server.into()).collect(),
            until: end,
        }
    }
}

/// The network's bits; without a mask those of the address's class (RFC 950).
fn bits_of(reply: &Reply) -> u8 {
    match (reply.bits, reply.address.octets()[0]) {
        (0, ..128) => 8,
        (0, ..192) => 16,
        (0, _) => 24,
        (bits, _) => bits,
    }
}

/// Whether an offer is of an address that a host can have.
fn is_usable(reply: &Reply) -> bool {
    let address = reply.address;
    !address.is_unspecified()
        && !address.is_multicast()
        && !address.is_broadcast()
        && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

    fn at(seconds: u64) -> Instant {
        Instant::BOOT + Duration::from_secs(seconds)
    }

    /// A server's answer in the client's exchange.
    fn answer(client: &Client, kind: u8, address: Ipv4Addr, lease_s: u32) -> Vec<u8> {
        let mut bytes = [0; 240].to_vec();
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&client.exchange.to_be_bytes());
        bytes[16..20].copy_from_slice(&address.octets());
        bytes[28..34].copy_from_slice(&MAC.0);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([53, 1, kind, 54, 4, 10, 0, 0, 1, 1, 4, 255, 255, 255, 0, 51, 4]);
        bytes.extend(lease_s.to_be_bytes());
        bytes
    }

    fn poll(client: &mut Client, now: Instant) -> (Option<Ipv4Addr>, Option<Event>) {
        client.poll(MAC, now, &mut [0; BYTES])
    }

    fn leased(lease_s: u32) -> Client {
        let mut client = Client::new(7, at(0));
        assert_eq!(poll(&mut client, at(0)), (Some(Ipv4Addr::BROADCAST), None));
        let offer = answer(&client, 2, ADDRESS, lease_s);
        assert_eq!(client.receive(&offer, SERVER, MAC, at(0)), None);
        assert_eq!(poll(&mut client, at(0)), (Some(Ipv4Addr::BROADCAST), None));
        let ack = answer(&client, 5, ADDRESS, lease_s);
        match client.receive(&ack, SERVER, MAC, at(0)) {
            Some(Event::Leased(lease)) => {
                assert_eq!(lease.cidr, Cidr { address: ADDRESS.into(), bits: 24 });
                assert_eq!(lease.until, at(lease_s.into()));
            }
            other => panic!("{other:?}"),
        }
        client
    }

    #[test]
    fn who_gets_no_answer_asks_ever_more_seldom() {
        let mut client = Client::new(1, at(0));
        let mut times = Vec::new();
        for _ in 0..9 {
            let now = client.deadline();
            assert_eq!(poll(&mut client, now), (Some(Ipv4Addr::BROADCAST), None));
            times.push((now - at(0)).as_secs());
        }
        assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 127, 191]);
    }

    #[test]
    fn a_lease_is_renewed_by_its_server_then_by_any() {
        let mut client = leased(1000);
        assert_eq!(client.deadline(), at(500));
        assert_eq!(poll(&mut client, at(499)), (None, None));
        assert_eq!(poll(&mut client, at(500)), (Some(SERVER), None));
        let ack = answer(&client, 5, ADDRESS, 1000);
        assert!(matches!(client.receive(&ack, SERVER, MAC, at(501)), Some(Event::Leased(_))));
        assert_eq!(client.deadline(), at(1001));
        assert_eq!(poll(&mut client, at(1001)), (Some(SERVER), None));
        assert_eq!(poll(&mut client, at(1400)), (Some(Ipv4Addr::BROADCAST), None));
        let mut polls = 0;
        while client.deadline() < at(1501) {
            let now = client.deadline();
            assert_eq!(poll(&mut client, now).1, None);
            polls += 1;
            assert!(polls < 20);
        }
        assert_eq!(poll(&mut client, at(1501)), (Some(Ipv4Addr::BROADCAST), Some(Event::Lost)));
    }

    #[test]
    fn a_refusal_begins_anew() {
        let mut client = leased(1000);
        let nak = answer(&client, 6, ADDRESS, 0);
        // Not asked for, so it is somebody's trick.
        assert_eq!(client.receive(&nak, SERVER, MAC, at(10)), None);
        poll(&mut client, at(500));
        assert_eq!(client.receive(&nak, SERVER, MAC, at(500)), Some(Event::Lost));
        assert_eq!(client.receive(&nak, SERVER, MAC, at(500)), None);
    }

    #[test]
    fn other_exchanges_and_bad_addresses_are_ignored() {
        let mut client = Client::new(7, at(0));
        poll(&mut client, at(0));
        let mut offer = answer(&client, 2, ADDRESS, 100);
        offer[7] ^= 1;
        client.receive(&offer, SERVER, MAC, at(0));
        for address in [Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 1)] {
            let offer = answer(&client, 2, address, 100);
            client.receive(&offer, SERVER, MAC, at(0));
        }
        assert_eq!(client.state, State::Asking);
        assert_eq!(client.deadline(), at(1));
    }

    #[test]
    fn after_the_link_was_away_the_address_is_asked_for_again() {
        let mut client = leased(1000);
        client.restart(at(20));
        assert_eq!(poll(&mut client, at(20)), (Some(Ipv4Addr::BROADCAST), None));
        let ack = answer(&client, 5, ADDRESS, 1000);
        assert!(matches!(client.receive(&ack, SERVER, MAC, at(20)), Some(Event::Leased(_))));
    }
}
