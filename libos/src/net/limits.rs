//! What the stack may take: memory and table entries, each with a bound. Reaching one costs a
//! packet, a connection or an answer, never the domain.

use core::time::Duration;

/// The bounds. All can be set from the boot line: see [`super::config`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// TCP connections, waiting to be accepted or in use.
    pub connections: u32,
    /// TCP connections of which only the first segment has come. Above it the answer to a first
    /// segment carries all that is known of it (a SYN cookie), and nothing is kept.
    pub half_open: u32,
    /// TCP connections that are over but may still be spoken to. Above it they are forgotten at
    /// once.
    pub time_wait: u32,
    /// Bytes that the buffers of all connections together have.
    pub tcp_buffer_bytes: usize,
    /// For how long a connection goes on that the app has dropped, if the peer takes nothing; ten
    /// times that at most.
    pub orphan_time: Duration,
    /// For how long a connection that is over may still be spoken to (RFC 9293 asks for four
    /// minutes; others take a quarter of that).
    pub time_wait_time: Duration,
    /// Bytes that each UDP socket queues.
    pub udp_queue_bytes: usize,
    /// Datagrams that each UDP socket queues.
    pub udp_queue_datagrams: usize,
    /// Bytes of fragments that wait for their missing pieces, on each interface.
    pub fragment_bytes: usize,
    /// Packets that wait for their missing pieces, on each interface.
    pub fragmented_packets: usize,
    /// Neighbours whose Ethernet addresses are known or sought, on each interface.
    pub neighbors: usize,
    /// Datagrams that wait for a neighbour's address, for each neighbour.
    pub neighbor_queue: usize,
    /// Addresses of each interface.
    pub addresses: usize,
    /// ICMP errors and resets to who speaks to no one, in a second.
    pub errors_per_s: u32,
    /// Destinations whose path is known to be narrower than the link.
    pub narrow_paths: usize,
    /// Frames that are taken from an interface before it is another's turn.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 65_536,
            half_open: 1024,
            time_wait: 4096,
            tcp_buffer_bytes: 1 << 30,
            orphan_time: Duration::from_secs(60),
            time_wait_time: Duration::from_secs(60),
            udp_queue_bytes: 64 << 10,
            udp_queue_datagrams: 256,
            fragment_bytes: 256 << 10,
            fragmented_packets: 16,
            neighbors: 1024,
            neighbor_queue: 3,
            addresses: 16,
            errors_per_s: 1000,
            narrow_paths: 64,
            batch: 64,
        }
    }
}

/// How many of something may be done: so many in a second, and as many at once after a quiet
/// second.
#[derive(Debug)]
pub struct Allowance {
    per_s: u32,
    left: u32,
    /// When `left` was counted up last.
    at: crate::time::Instant,
}

impl Allowance {
    /// An allowance that is full.
    pub const fn new(per_s: u32) -> Self {
        Self { per_s, left: per_s, at: crate::time::Instant::BOOT }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: crate::time::Instant) -> bool {
        let passed_ns = (now - self.at).as_nanos().min(1_000_000_000) as u64;
        let more = (passed_ns * u64::from(self.per_s) / 1_000_000_000) as u32;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(self.per_s);
            self.at = now;
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let mut allowance = Allowance::new(10);
        let now = Instant::BOOT + Duration::from_secs(5);
        assert_eq!((0..20).filter(|_| allowance.take(now)).count(), 10);
        let later = now + Duration::from_millis(250);
        assert_eq!((0..20).filter(|_| allowance.take(later)).count(), 2);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| allowance.take(much_later)).count(), 10);
    }
}
