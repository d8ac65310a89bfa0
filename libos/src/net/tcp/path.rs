//! Paths that are narrower than the link: routers say so (RFC 1191, RFC 8201).
//!
//! smoltcp asks the interface for the largest packet. So connections over a narrow path work with
//! an engine that is told of a lower MTU; there are a few such engines, one for each of some MTUs.

use super::engine::{Engine, Path};
use super::{Key, Side, Tcp};
use crate::net::env::Env;
use crate::net::error::Error;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use core::net::IpAddr;
use smoltcp::socket::tcp::State;

/// MTUs that paths are taken to have: what is common (RFC 1191, section 7.1, and tunnels), so that
/// there are few engines.
const MTUS: [u16; 12] = [576, 1006, 1280, 1360, 1400, 1420, 1440, 1460, 1480, 1492, 4352, 8166];

/// For how long a path is remembered to be narrow (RFC 8201, section 4).
const REMEMBERED: Duration = Duration::from_secs(600);

/// The narrow paths of an interface.
#[derive(Default)]
pub struct NarrowPaths {
    engines: Vec<Engine>,
    known: Vec<(IpAddr, u16, Instant)>,
}

impl NarrowPaths {
    /// The engine for an MTU that was noted.
    pub fn engine(&mut self, ipv6: bool, mtu_bytes: u16) -> Option<&mut Engine> {
        let wanted = Path { ipv6, mtu_bytes, large: false };
        self.engines.iter_mut().find(|engine| engine.path() == wanted)
    }

    /// The MTU of the path to a destination, if it is known to be narrow.
    pub fn mtu_to(&self, dest: IpAddr, now: Instant) -> Option<u16> {
        let known = self.known.iter().find(|(known, _, until)| *known == dest && *until > now);
        known.map(|&(_, mtu_bytes, _)| mtu_bytes)
    }

    /// Notes that a path is narrow; the MTU that it is taken to have.
    fn note(&mut self, dest: IpAddr, mtu_bytes: u16, env: &Env<'_>) -> u16 {
        let ipv6 = dest.is_ipv6();
        let fitting = MTUS.iter().rev().find(|&&mtu| mtu <= mtu_bytes);
        let mtu_bytes = fitting.copied().unwrap_or(MTUS[0]).max(if ipv6 { 1280 } else { 576 });
        if self.engine(ipv6, mtu_bytes).is_none() {
            let path = Path { ipv6, mtu_bytes, large: false };
            self.engines.push(Engine::new(path, 0, env.now));
        }
        self.known.retain(|&(known, _, until)| known != dest && until > env.now);
        if self.known.len() >= env.limits.narrow_paths && !self.known.is_empty() {
            self.known.remove(0);
        }
        self.known.push((dest, mtu_bytes, env.now + REMEMBERED));
        mtu_bytes
    }
}

impl Tcp {
    /// A router says that a segment of ours was too long. It quotes the segment's number, which who
    /// does not see our packets cannot know.
    pub fn path_is_narrow(
        &mut self,
        key: &Key,
        seq: u32,
        mtu_bytes: u16,
        side: &mut Side,
        env: &mut Env<'_>,
    ) {
        let Some(number) = self.find(key) else { return };
        let Some((key, connection)) = self.connection(number) else { return };
        let known =
            connection.mtu_bytes.unwrap_or(side.engine(key.is_ipv6(), None).path().mtu_bytes);
        if !connection.has_sent(seq) || mtu_bytes >= known {
            return;
        }
        let mtu_bytes = side.narrow.note(connection.remote, mtu_bytes, env);
        connection.mtu_bytes = Some(mtu_bytes);
        log::debug!("tcp {key}: path takes {mtu_bytes} bytes");
        self.settle(number, side, env, false);
    }

    /// A router says that a segment of ours did not arrive. That may pass, unless the connection is
    /// only being opened (RFC 5927, section 4).
    pub fn host_is_unreachable(&mut self, key: &Key, seq: u32, side: &mut Side, env: &mut Env<'_>) {
        let Some(number) = self.find(key) else { return };
        let Some((_, connection)) = self.connection(number) else { return };
        if connection.state == State::SynSent && connection.has_sent(seq) {
            self.abort(number, Error::Unreachable, side, env);
        }
    }
}
