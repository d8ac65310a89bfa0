//! Two stacks and a cable, in a world of the test's own.

use crate::exec::testing::{World, fresh};
use crate::net::device::Offload;
use crate::net::testing::{Cable, Kind, Random};
use crate::net::{Cidr, InterfaceConfig, InterfaceId, Limits, Net};
use crate::spawn;
use std::boxed::Box;
use std::net::{IpAddr, SocketAddr};
use std::vec::Vec;

/// All offloads.
pub const ALL: Offload =
    Offload { checksum_ipv4: true, checksum_ipv6: true, segments_ipv4: true, segments_ipv6: true };

/// No offloads.
pub const NONE: Offload = Offload {
    checksum_ipv4: false,
    checksum_ipv6: false,
    segments_ipv4: false,
    segments_ipv6: false,
};

/// Two stacks and what they need.
pub struct Pair {
    pub world: &'static World,
    pub cable: Cable,
    pub nets: [Net; 2],
    pub interfaces: [InterfaceId; 2],
}

/// The IPv4 address of a side.
pub fn ipv4(side: usize) -> IpAddr {
    [10, 0, 0, 1 + side as u8].into()
}

/// The IPv6 address of a side.
pub fn ipv6(side: usize) -> IpAddr {
    [0xfd00, 0, 0, 0, 0, 0, 0, 1 + side as u16].into()
}

/// Port 7 of a side.
pub fn echo(ipv6: bool, side: usize) -> SocketAddr {
    SocketAddr::new(if ipv6 { self::ipv6(side) } else { ipv4(side) }, 7)
}

impl Pair {
    /// Two stacks on a link of this kind.
    pub fn new(kind: Kind, mtu_bytes: u16, offload: Offload, seed: u64) -> Self {
        Self::with_limits(kind, mtu_bytes, offload, seed, [Limits::default(), Limits::default()])
    }

    /// Two stacks with these bounds.
    pub fn with_limits(
        kind: Kind,
        mtu_bytes: u16,
        offload: Offload,
        seed: u64,
        limits: [Limits; 2],
    ) -> Self {
        let world = fresh();
        let cable = Cable::new(kind, mtu_bytes, offload, seed);
        let mut nets = Vec::new();
        let mut interfaces = Vec::new();
        for (side, limits) in limits.into_iter().enumerate() {
            let net = Net::new(limits, &[(side as u8).wrapping_add(seed as u8); 32]);
            let cidr = |address: IpAddr, bits| Cidr { address, bits };
            let config = InterfaceConfig::fixed(&[cidr(ipv4(side), 24), cidr(ipv6(side), 64)]);
            let device = Box::new(cable.end(side));
            interfaces.push(net.add_interface("eth", device, config).unwrap());
            nets.push(net);
        }
        let nets: [Net; 2] = nets.try_into().ok().unwrap();
        for net in &nets {
            let net = net.clone();
            spawn(async move { net.run().await });
        }
        let interfaces = interfaces.try_into().ok().unwrap();
        Self { world, cable, nets, interfaces }
    }
}

/// Bytes that say where they belong.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..len.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).take(len).collect()
}
