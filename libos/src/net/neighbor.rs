//! Neighbours: which Ethernet address belongs to which IP address (RFC 826; RFC 4861, section 7.3).
//!
//! ```text
//!              lookup                    told                   time is up, lookup
//!   unknown ───────────▶ sought ───────────────▶ known ───────────────────────────▶ probed
//!      ▲                   │ asked 3 times          ▲                 told            │  │
//!      ╰───────────────────╯                        ╰────────────────────────────────╯  │
//!      ╰────────────────────────────────── asked 3 times ──────────────────────────────╯
//! ```
//!
//! A probed neighbour is still sent to. What waits for a sought one are a few datagrams, and
//! connections, which are told when it is found or given up.

use super::device::MacAddr;
use super::hash::{Secret, address_number};
use super::index::Index;
use super::port::Transport;
use crate::exec::slab::Slab;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

/// For how long an answer counts.
const KNOWN_TIME: Duration = Duration::from_secs(60);
/// Time between two requests (RFC 4861, section 10: RETRANS_TIMER).
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Requests before a neighbour is given up (RFC 4861, section 10: MAX_MULTICAST_SOLICIT).
const REQUESTS: u8 = 3;

/// A datagram that waits for its destination's address: an IP packet.
pub struct Queued {
    pub packet: Vec<u8>,
    pub transport: Option<Transport>,
}

enum State {
    Sought { asked: u8, again: Instant },
    Known { mac: MacAddr, until: Instant },
    Probed { mac: MacAddr, asked: u8, again: Instant },
}

struct Neighbor {
    address: IpAddr,
    state: State,
    queued: Vec<Queued>,
    /// Connections that wait.
    waiting: Vec<u32>,
}

impl Neighbor {
    fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Sought { .. } => None,
            State::Known { mac, .. } | State::Probed { mac, .. } => Some(mac),
        }
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Where it is, and until when that need not be asked again.
    Known(MacAddr, Instant),
    /// It is being sought; the number is its for [`Neighbors::wait`] and [`Neighbors::queue`].
    Sought(u32),
    /// There is no room for it.
    Full,
}

/// A request to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Who is asked for.
    pub address: IpAddr,
    /// Where it was last; everyone is asked if that is not known.
    pub mac: Option<MacAddr>,
}

/// What has come of a search.
pub enum Outcome {
    /// Datagrams that can go out now.
    Found { mac: MacAddr, queued: Vec<Queued>, waiting: Vec<u32> },
    /// It does not answer; so many datagrams are lost.
    Lost { queued: usize, waiting: Vec<u32> },
}

/// The neighbours of an interface.
pub struct Neighbors {
    entries: Slab<Neighbor>,
    index: Index,
    secret: Secret,
    limit: usize,
    queue_limit: usize,
    /// Counts up whenever an address has changed or is not valid any more.
    pub generation: u32,
    /// Requests that are due now.
    pub requests: Vec<Request>,
    /// No entry needs attention before.
    next: Instant,
}

impl Neighbors {
    /// No neighbours; at most `limit` of them, with at most `queue_limit` datagrams for each.
    pub fn new(secret: Secret, limit: usize, queue_limit: usize) -> Self {
        Self {
            entries: Slab::new(),
            index: Index::default(),
            secret,
            limit: limit.max(1),
            queue_limit,
            generation: 0,
            requests: Vec::new(),
            next: Instant::FAR_FUTURE,
        }
    }

    /// How many are known or sought.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Looks a neighbour up, and has it asked for if need be.
    pub fn lookup(&mut self, address: IpAddr, now: Instant) -> Answer {
        let Some(number) = self.find(address) else {
            let state = State::Sought { asked: 1, again: now + ASK_AGAIN };
            let Some(number) = self.insert(address, state, now) else { return Answer::Full };
            self.requests.push(Request { address, mac: None });
            return Answer::Sought(number);
        };
        let Some(neighbor) = self.entries.get_mut(number) else { return Answer::Full };
        match neighbor.state {
            State::Sought { .. } => Answer::Sought(number),
            State::Known { mac, until } if now < until => Answer::Known(mac, until),
            State::Known { mac, .. } => {
                let again = now + ASK_AGAIN;
                neighbor.state = State::Probed { mac, asked: 1, again };
                self.next = self.next.min(again);
                self.requests.push(Request { address, mac: Some(mac) });
                Answer::Known(mac, again)
            }
            State::Probed { mac, again, .. } => Answer::Known(mac, again),
        }
    }

    /// Has a connection told what comes of the search.
    pub fn wait(&mut self, number: u32, connection: u32) {
        if let Some(neighbor) = self.entries.get_mut(number) {
            neighbor.waiting.push(connection);
        }
    }

    /// Keeps a datagram until the neighbour is found; whether there was room.
    pub fn queue(&mut self, number: u32, queued: Queued) -> bool {
        let limit = self.queue_limit;
        let neighbor = self.entries.get_mut(number);
        let room = neighbor.filter(|neighbor| neighbor.queued.len() < limit);
        room.map(|neighbor| neighbor.queued.push(queued)).is_some()
    }

    /// A neighbour tells where it is. Who is not known is noted if `is_new_welcome`: it talks to
    /// us.
    pub fn told(
        &mut self,
        address: IpAddr,
        mac: MacAddr,
        now: Instant,
        is_new_welcome: bool,
    ) -> Option<Outcome> {
        if mac.is_group() {
            return None;
        }
        let state = State::Known { mac, until: now + KNOWN_TIME };
        let Some(number) = self.find(address) else {
            if is_new_welcome {
                self.insert(address, state, now);
            }
            return None;
        };
        let neighbor = self.entries.get_mut(number)?;
        let before = neighbor.mac();
        neighbor.state = state;
        let (queued, waiting) =
            (core::mem::take(&mut neighbor.queued), core::mem::take(&mut neighbor.waiting));
        if before.is_some_and(|before| before != mac) {
            self.generation += 1;
        }
        before.is_none().then_some(Outcome::Found { mac, queued, waiting })
    }

    /// Asks again where there was no answer, and gives up where there was none for long.
    pub fn poll(&mut self, now: Instant) -> Vec<Outcome> {
        if now < self.next {
            return Vec::new();
        }
        self.next = Instant::FAR_FUTURE;
        let mut lost = Vec::new();
        let numbers: Vec<u32> = self.index.numbers().collect();
        for number in numbers {
            let Some(neighbor) = self.entries.get_mut(number) else { continue };
            let mac = neighbor.mac();
            let (State::Sought { asked, again } | State::Probed { asked, again, .. }) =
                &mut neighbor.state
            else {
                continue;
            };
            if *again <= now {
                if *asked >= REQUESTS {
                    lost.extend(self.remove(number));
                    continue;
                }
                *asked += 1;
                *again = now + ASK_AGAIN;
                self.requests.push(Request { address: neighbor.address, mac });
            }
            self.next = self.next.min(*again);
        }
        lost
    }

    /// When [`Self::poll`] has something to do.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Forgets everyone: the link is another.
    pub fn clear(&mut self) -> Vec<Outcome> {
        let numbers: Vec<u32> = self.index.numbers().collect();
        self.next = Instant::FAR_FUTURE;
        self.generation += 1;
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    fn hash(secret: &Secret, address: IpAddr) -> u64 {
        let number = address_number(address);
        secret.table_hash([number as u64, (number >> 64) as u64, 0, 0])
    }

    fn find(&mut self, address: IpAddr) -> Option<u32> {
        let Self { entries, index, secret, .. } = self;
        let hash = Self::hash(secret, address);
        index.find(hash, |number| {
            entries.get_mut(number).is_some_and(|neighbor| neighbor.address == address)
        })
    }

    /// Adds a neighbour. If there are too many, the one that is known for the longest goes.
    fn insert(&mut self, address: IpAddr, state: State, now: Instant) -> Option<u32> {
        if self.index.len() >= self.limit {
            self.evict()?;
        }
        if matches!(state, State::Sought { .. }) {
            self.next = self.next.min(now + ASK_AGAIN);
        }
        let neighbor = Neighbor { address, state, queued: Vec::new(), waiting: Vec::new() };
        let number = self.entries.insert(neighbor);
        self.index.insert(Self::hash(&self.secret, address), number);
        Some(number)
    }

    #[cold]
    fn evict(&mut self) -> Option<()> {
        let known =
            self.index.numbers().filter_map(|number| match self.entries.get_mut(number)?.state {
                State::Known { until, .. } => Some((until, number)),
                _ => None,
            });
        let (_, oldest) = known.min()?;
        self.remove(oldest);
        self.generation += 1;
        Some(())
    }

    fn remove(&mut self, number: u32) -> Option<Outcome> {
        let neighbor = self.entries.remove(number)?;
        let hash = Self::hash(&self.secret, neighbor.address);
        self.index.remove(hash, number);
        self.generation += 1;
        Some(Outcome::Lost { queued: neighbor.queued.len(), waiting: neighbor.waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn at(seconds: u64) -> Instant {
        Instant::BOOT + Duration::from_secs(seconds)
    }

    fn neighbors(limit: usize) -> Neighbors {
        Neighbors::new(Secret::new(&[7; 32]), limit, 2)
    }

    #[test]
    fn who_waits_is_told_once_it_is_found() {
        let mut table = neighbors(8);
        let Answer::Sought(number) = table.lookup(address(1), at(0)) else { panic!() };
        assert_eq!(table.requests, [Request { address: address(1), mac: None }]);
        table.wait(number, 42);
        let queued = |byte| Queued { packet: [byte].to_vec(), transport: None };
        let kept: Vec<bool> = (0..3).map(|byte| table.queue(number, queued(byte))).collect();
        assert_eq!(kept, [true, true, false]);
        match table.told(address(1), MAC, at(1), false) {
            Some(Outcome::Found { mac, queued, waiting }) => {
                assert_eq!((mac, queued.len(), waiting), (MAC, 2, [42].to_vec()));
            }
            _ => panic!("not found"),
        }
        assert_eq!(table.lookup(address(1), at(2)), Answer::Known(MAC, at(61)));
        assert!(table.told(address(1), MAC, at(2), false).is_none());
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        let mut table = neighbors(8);
        let Answer::Sought(number) = table.lookup(address(1), at(0)) else { panic!() };
        table.wait(number, 7);
        for second in 1..3 {
            assert!(table.poll(at(second)).is_empty());
            assert_eq!(table.requests.len(), 1 + second as usize);
            assert_eq!(table.deadline(), at(second + 1));
        }
        match &table.poll(at(3))[..] {
            [Outcome::Lost { queued: 0, waiting }] => assert_eq!(waiting, &[7]),
            _ => panic!("not given up"),
        }
        assert_eq!((table.len(), table.deadline()), (0, Instant::FAR_FUTURE));
    }

    #[test]
    fn an_old_answer_is_used_while_it_is_probed() {
        let mut table = neighbors(8);
        table.told(address(1), MAC, at(0), true);
        assert_eq!(table.lookup(address(1), at(59)), Answer::Known(MAC, at(60)));
        assert_eq!(table.lookup(address(1), at(60)), Answer::Known(MAC, at(61)));
        assert_eq!(table.requests, [Request { address: address(1), mac: Some(MAC) }]);
        let generation = table.generation;
        assert!(table.told(address(1), MAC, at(60), false).is_none());
        assert_eq!(table.generation, generation);
        let moved = MacAddr([2, 0, 0, 0, 0, 9]);
        table.told(address(1), moved, at(61), false);
        assert_ne!(table.generation, generation);
        assert_eq!(table.lookup(address(1), at(61)), Answer::Known(moved, at(121)));
    }

    #[test]
    fn strangers_do_not_fill_the_table() {
        let mut table = neighbors(4);
        assert!(table.told(address(9), MAC, at(0), false).is_none());
        assert_eq!(table.len(), 0);
        for last in 0..100 {
            table.told(address(last), MAC, at(last.into()), true);
        }
        assert_eq!(table.len(), 4);
        assert_eq!(table.lookup(address(99), at(99)), Answer::Known(MAC, at(159)));
        table.told(address(1), MacAddr::BROADCAST, at(0), true);
        assert_eq!(table.len(), 4);
        // A table full of searches takes no more.
        let mut table = neighbors(2);
        table.lookup(address(1), at(0));
        table.lookup(address(2), at(0));
        assert_eq!(table.lookup(address(3), at(0)), Answer::Full);
    }
}
