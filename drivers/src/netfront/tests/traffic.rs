//! Packets of all kinds, both ways, with every set of features; and what happens when there is no
//! room.

use super::*;
use crate::netfront::offload::tests::{frame, tcp_v4, tcp_v6};
use crate::netfront::offload::{Headers, Segments, Transport, fill, flow_hash};
use crate::netfront::testing::TxPacket;
use core::num::NonZeroU16;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;
use xen::gnttab::Access;
use xen_abi::gnttab::GrantRef;
use xen_abi::netif::Mac;

/// A packet with what the stack leaves to the device.
#[derive(Clone, Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    offload: TxOffload,
}

/// The sum of the pseudo header, as a stack fills it in: by hand, with the transport's part taken
/// for 0.
fn with_pseudo(mut bytes: Vec<u8>) -> Vec<u8> {
    let headers = Headers::parse(&bytes).unwrap();
    let (start, end) = match bytes[12] {
        8 => (26, 34),
        _ => (22, 54),
    };
    let length = headers.end - headers.transport_at;
    let mut sum = u32::from(headers.transport.number()) + length as u32;
    for word in bytes[start..end].chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word[1]);
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let at = headers.transport_at + if headers.transport == Transport::Tcp { 16 } else { 6 };
    bytes[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
    bytes
}

fn outgoing(bytes: Vec<u8>, mss: Option<u16>) -> Outgoing {
    let headers = Headers::parse(&bytes).unwrap();
    let start = headers.transport_at as u16;
    let field = start + if headers.transport == Transport::Tcp { 16 } else { 6 };
    let checksum = Some(ChecksumPlace { start, field });
    let mss_bytes = mss.and_then(NonZeroU16::new);
    Outgoing { bytes: with_pseudo(bytes), offload: TxOffload { checksum, mss_bytes } }
}

/// What is on the wire in the end.
fn wire(bytes: &[u8], gso: Option<u16>, blank: bool) -> Vec<Vec<u8>> {
    let finish = |mut bytes: Vec<u8>| {
        let headers = Headers::parse(&bytes).unwrap();
        fill(&mut bytes, &headers);
        bytes
    };
    match gso {
        Some(mss) => {
            let segments = Segments::new(bytes, mss).unwrap();
            let write = |index| {
                let mut to = std::vec![0; segments.len_bytes(index)];
                segments.write(index, &mut to);
                finish(to)
            };
            (0..segments.count()).map(write).collect()
        }
        None if blank => Vec::from([finish(bytes.to_vec())]),
        None => Vec::from([bytes.to_vec()]),
    }
}

impl Outgoing {
    fn wire(&self) -> Vec<Vec<u8>> {
        let gso = self.offload.mss_bytes.map(NonZeroU16::get);
        wire(&self.bytes, gso, self.offload.checksum.is_some())
    }
}

fn wire_of(packet: &TxPacket) -> Vec<Vec<u8>> {
    // Before it leaves, a pseudo header's sum has to be the right one.
    assert!(!packet.blank || packet.bytes == with_pseudo(packet.bytes.clone()));
    wire(&packet.bytes, packet.gso.map(|(size, _)| size), packet.blank)
}

fn send(world: &mut World, packet: &Outgoing) {
    world.transmit(&packet.bytes, packet.offload);
}

#[test]
fn one_notification_is_enough_for_a_batch() {
    for split_channels in [false, true] {
        let config = Config { split_channels, ..Config::default() };
        let mut world = World::connected(config, &ALL);
        world.back.take_all();
        world.back.events();
        for number in 0..50 {
            world.transmit(&pattern(number, 60), TxOffload::default());
        }
        assert_eq!(world.back.events(), 0);
        world.device.flush();
        world.device.flush();
        assert_eq!(world.back.events(), 1);
        assert_eq!(world.back.take_all(), 50);
        // The frontend did not ask for an event: it has room.
        while world.ready() {}
        world.transmit(&pattern(0, 60), TxOffload::default());
        world.device.flush();
        world.back.take_all();
        assert!(!world.ready());
    }
}

#[test]
fn pages_are_lent_once_and_for_reading_alone() {
    let mut world = World::connected(Config::default(), &ALL);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..500u32 {
        world.transmit(&pattern(number, 900), TxOffload::default());
        world.device.flush();
        let queue = &mut world.back.queues[0];
        let mut request = [0; 12];
        assert_eq!(queue.tx.ring.pop(&mut request), Ok(true));
        let grant = GrantRef(u32::from_le_bytes(request[..4].try_into().unwrap()));
        assert!(world.back.peer.map(grant, Access::ReadWrite).is_err());
        let mapping = world.back.peer.map(grant, Access::ReadOnly).unwrap();
        let mut page = [0; 4096];
        mapping.page().read(0, &mut page);
        assert_eq!(page[..900], pattern(number, 900));
        assert!(page[900..].iter().all(|byte| *byte == 0), "nothing else is to be seen");
        world.back.peer.unmap(mapping);
        queue.tx.answers.push_back((u16::from_le_bytes([request[8], request[9]]), 0));
        let _ = queue.tx.give_answers(1);
        seen.insert(grant);
    }
    assert!(seen.len() <= 2, "{seen:?}");
}

#[test]
fn the_longest_packets_pass_both_ways() {
    let mut world = World::connected(Config::default(), &ALL);
    let out = outgoing(tcp_v4(&pattern(1, 65_535 - 54)), Some(1448));
    assert_eq!(out.bytes.len(), 65_535);
    send(&mut world, &out);
    world.transmit(&pattern(0, 14), TxOffload::default());
    for length in [13, 65_536] {
        world.transmit(&pattern(0, length), TxOffload::default());
    }
    world.device.flush();
    assert_eq!(world.back.take_all(), 2);
    let packets = world.back.packets();
    assert_eq!(packets[0].slots.len(), 16);
    assert_eq!((packets[0].gso, packets[0].blank), (Some((1448, 1)), true));
    assert!(packets[0].bytes == out.bytes);
    assert_eq!(world.device.counters().tx.bad_length, 2);
    let long = pattern(2, 65_535 + 14);
    world.back.queues[0]
        .rx
        .deliver(&Delivery::plain(long.clone()).flags(3).extra([1, 0, 0xa8, 5, 1, 0, 0, 0]));
    world.back.publish();
    assert!(world.ready());
    assert_eq!(world.receive_all(), [long]);
    assert_eq!(world.device.counters().rx.large, 1);
}

#[test]
fn a_backend_that_cannot_segment_gets_segments() {
    for features in [&[("feature-rx-copy", 1)][..], &ALL[..1], &ALL[3..5]] {
        let mut features = features.to_vec();
        features.push(("feature-rx-copy", 1));
        let mut world = World::connected(Config::default(), &features);
        let out = outgoing(tcp_v6(&pattern(1, 20_000)), Some(1440));
        send(&mut world, &out);
        world.device.flush();
        assert_eq!(world.back.take_all(), 14);
        let wires: Vec<_> = world.back.packets().iter().flat_map(wire_of).collect();
        assert!(wires == out.wire());
        assert_eq!(world.device.counters().tx.cut_here, 1);
    }
}

#[test]
fn queued_packets_suit_the_next_backend() {
    let mut world = World::connected(Config::default(), &ALL);
    let packets = [
        outgoing(tcp_v6(&pattern(1, 20_000)), Some(1440)),
        outgoing(frame(true, Transport::Udp, b"hello"), None),
        outgoing(tcp_v4(b"hello"), None),
    ];
    packets.iter().for_each(|packet| send(&mut world, packet));
    world.device.flush();
    for (key, _) in ALL {
        world.store.remove(&std::format!("{}/{key}", world.back.back_path));
    }
    world.back.features = Vec::from([("feature-rx-copy", 1), ("feature-no-csum-offload", 1)]);
    world.back.set_state(5);
    world.settle_anew();
    assert!(world.ready());
    world.back.take_all();
    let got = world.back.packets();
    assert!(got.iter().all(|packet| !packet.blank && packet.gso.is_none()));
    let wires: Vec<_> = got.iter().flat_map(wire_of).collect();
    let expected: Vec<_> = packets.iter().flat_map(Outgoing::wire).collect();
    assert!(wires == expected);
}

#[test]
fn received_packets_are_served_while_nothing_can_be_sent() {
    let mut world = World::connected(Config::default(), &ALL);
    // The backend takes nothing, and the frontend's ring fills up.
    let mut sent = Vec::new();
    while world.device.can_transmit() {
        sent.push(pattern(sent.len() as u32, 60));
        world.transmit(sent.last().unwrap(), TxOffload::default());
        world.device.flush();
    }
    assert_eq!(sent.len(), 256 - 18);
    // It fills the other ring meanwhile, again and again, and each packet is replied to.
    let mut received = 0;
    for round in 0..20 {
        while world.back.queues[0].rx.deliver(&Delivery::plain(pattern(round, 100))) {}
        world.back.publish();
        assert!(world.ready());
        let packets = world.receive_all();
        assert!(packets.len() >= 64, "round {round}");
        for packet in packets {
            received += 1;
            sent.push(packet.clone());
            world.transmit(&packet, TxOffload::default());
        }
        world.device.flush();
    }
    let counters = world.device.counters();
    assert_eq!(counters.rx.packets, received);
    let kept = 256 - 18 + 256;
    assert_eq!(counters.tx.full as usize, sent.len() - kept);
    while world.ready() {}
    // The backend works again: the stack hears of it, and all that was kept arrives in order.
    let mut got = Vec::new();
    let mut turns = 0;
    while got.len() < kept {
        world.back.take_all();
        got.extend(world.back.packets().into_iter().map(|packet| packet.bytes));
        turns += usize::from(world.ready());
        assert!(turns < 10);
    }
    assert_eq!(got, sent[..kept]);
    assert!(world.device.can_transmit());
}

#[test]
fn the_stack_hears_of_room_once_half_is_answered() {
    let mut world = World::connected(Config::default(), &ALL);
    while world.device.can_transmit() {
        world.transmit(&pattern(0, 60), TxOffload::default());
    }
    world.device.flush();
    while world.ready() {}
    let queue = &mut world.back.queues[0];
    queue.tx.take_all().unwrap();
    let mut heard = 0;
    for answered in 1..=200 {
        let queue = &mut world.back.queues[0];
        if queue.tx.give_answers(1) {
            world.back.peer.notify(queue.ports[0]);
        }
        if world.ready() && heard == 0 {
            heard = answered;
        }
    }
    assert_eq!(heard, (256 - 18) / 2 + 1);
}

#[test]
fn flows_are_spread_over_queues_and_stay_in_order() {
    let config = Config { queues: 4, ..Config::default() };
    let mut world = World::connected(config, &ALL);
    let mut sent: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
    for number in 0..600u32 {
        let port = (number % 40) as u16;
        let mut bytes = tcp_v4(&pattern(number, 20));
        bytes[34..36].copy_from_slice(&port.to_be_bytes());
        world.transmit(&bytes, TxOffload::default());
        sent.entry(port).or_default().push(bytes);
        if number % 50 == 0 {
            world.device.flush();
            world.back.take_all();
        }
    }
    world.device.flush();
    world.back.take_all();
    let mut got: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
    for (index, queue) in world.back.queues.iter().enumerate() {
        assert!(queue.tx.packets.len() > 60, "queue {index}");
        for packet in &queue.tx.packets {
            assert_eq!(flow_hash(&packet.bytes) as usize % 4, index);
            let port = u16::from_be_bytes([packet.bytes[34], packet.bytes[35]]);
            got.entry(port).or_default().push(packet.bytes.clone());
        }
    }
    assert_eq!(got, sent);
    for index in 0..4 {
        world.back.queues[index].rx.deliver(&Delivery::plain(pattern(index as u32, 60)));
        world.back.publish();
        assert!(world.ready(), "queue {index}");
        assert_eq!(world.receive_all(), [pattern(index as u32, 60)]);
        while world.ready() {}
    }
}

#[test]
fn the_multicast_filter_follows_the_stack_and_the_backend() {
    let config = Config { multicast_filter: true, ..Config::default() };
    let mut world = World::connected(config, &ALL);
    let mac = |n| Mac([0x33, 0x33, 0, 0, 0, n]);
    let known = |world: &mut World| {
        world.device.flush();
        world.back.take_all();
        let mut known = world.back.queues[0].tx.multicast.clone();
        known.sort_unstable();
        known
    };
    world.device.set_groups(&[mac(1), mac(2), mac(1)]);
    assert_eq!(known(&mut world), [mac(1).0, mac(2).0]);
    world.device.set_groups(&[mac(2), mac(3)]);
    assert_eq!(known(&mut world), [mac(2).0, mac(3).0]);
    world.back.set_state(5);
    world.settle_anew();
    assert_eq!(known(&mut world), [mac(2).0, mac(3).0], "a new backend knows none");
    let mut world = World::connected(Config::default(), &ALL);
    world.device.set_groups(&[mac(1)]);
    assert!(known(&mut world).is_empty(), "not asked for");
}

#[test]
fn statuses_of_the_backend_are_counted() {
    let mut world = World::connected(Config::default(), &ALL);
    for status in [0, -1, -2] {
        world.back.queues[0].tx.status = status;
        world.transmit(&pattern(0, 5000), TxOffload::default());
        world.device.flush();
        world.back.take_all();
    }
    world.device.flush();
    let counters = world.device.counters().tx;
    assert_eq!((counters.packets, counters.bytes, counters.failed), (1, 5000, 2));
}

/// A packet that a stack with this MTU sends.
fn packet(mtu: usize) -> impl Strategy<Value = Outgoing> {
    let raw = (14..=mtu + 14, any::<u32>()).prop_map(|(len, seed)| {
        let mut bytes = pattern(seed, len);
        bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
        Outgoing { bytes, offload: TxOffload::default() }
    });
    let plain = (any::<bool>(), any::<bool>(), 0..=mtu - 60, any::<u32>()).prop_map(
        |(v6, tcp, len, seed)| {
            let transport = if tcp { Transport::Tcp } else { Transport::Udp };
            outgoing(frame(v6, transport, &pattern(seed, len)), None)
        },
    );
    let large = (any::<bool>(), mtu..=65_000, any::<u32>()).prop_map(move |(v6, len, seed)| {
        let payload = pattern(seed, len);
        let bytes = if v6 { tcp_v6(&payload) } else { tcp_v4(&payload) };
        outgoing(bytes, Some((mtu - 60) as u16))
    });
    prop_oneof![4 => raw, 4 => plain, 1 => large]
}

#[derive(Clone, Debug)]
enum Step {
    Send(Outgoing),
    Flush,
    Backend(usize),
    Deliver(Vec<u8>),
    Receive,
    Tidy,
    Reconnect,
}

fn steps() -> impl Strategy<Value = (u16, Vec<Step>)> {
    (576usize..=9000).prop_flat_map(|mtu| {
        let delivery = (14usize..=65_549, any::<u32>()).prop_map(|(len, seed)| pattern(seed, len));
        let step = prop_oneof![
            12 => packet(mtu).prop_map(Step::Send),
            4 => Just(Step::Flush),
            4 => (0usize..60).prop_map(Step::Backend),
            6 => delivery.prop_map(Step::Deliver),
            4 => Just(Step::Receive),
            1 => Just(Step::Tidy),
            1 => Just(Step::Reconnect),
        ];
        (Just(mtu as u16), proptest::collection::vec(step, 1..120))
    })
}

/// Both streams, as they were given to one end and as they came out of the other.
#[derive(Default)]
struct Streams {
    sent: VecDeque<Vec<u8>>,
    got: Vec<Vec<u8>>,
    delivered: VecDeque<Vec<u8>>,
    received: Vec<Vec<u8>>,
}

impl Streams {
    fn step(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Send(packet) => {
                let mtu = world.device.link().mtu_bytes;
                let mss = packet.offload.mss_bytes;
                let fits = packet.bytes.len() <= usize::from(mtu) + 14
                    || mss.is_some_and(|mss| mss.get() + 60 <= mtu);
                if fits && world.device.can_transmit() {
                    send(world, &packet);
                    self.sent.extend(packet.wire());
                }
            }
            Step::Flush => world.device.flush(),
            Step::Backend(answers) => {
                let queue = &mut world.back.queues[0];
                queue.tx.take_all().unwrap();
                if queue.tx.give_answers(answers) {
                    world.back.peer.notify(queue.ports[0]);
                }
                self.got.extend(world.back.packets().iter().flat_map(wire_of));
            }
            Step::Deliver(bytes) => {
                if world.back.queues[0].rx.deliver(&Delivery::plain(bytes.clone())) {
                    self.delivered.push_back(bytes);
                }
                world.back.publish();
            }
            Step::Receive => {
                if world.ready() {
                    self.received.extend(world.receive_all());
                    world.device.flush();
                }
            }
            Step::Tidy => {
                world.timer.advance(std::time::Duration::from_secs(10));
                world.settle();
            }
            Step::Reconnect => {
                // Nothing needs to come again.
                self.finish(world);
                world.back.set_state(5);
                world.settle_anew();
                assert!(world.device.link().up);
            }
        }
    }

    /// Has everything arrive that is on its way.
    fn finish(&mut self, world: &mut World) {
        world.device.flush();
        while world.back.take_all() > 0 {
            self.got.extend(world.back.packets().iter().flat_map(wire_of));
            world.device.flush();
        }
        self.received.extend(world.receive_all());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// No byte is lost or changed and no packet comes twice, whatever the features, the MTU, and
    /// the order in which the two ends work.
    #[test]
    fn streams_are_what_they_were(
        (mtu, steps) in steps(),
        offered in proptest::collection::vec(any::<bool>(), ALL.len()),
        blank_v4: bool,
        [split_channels, large_receive, segments, checksums]: [bool; 4],
    ) {
        let offered = ALL.iter().zip(offered).filter(|(_, on)| *on);
        let mut features: Vec<_> = offered.map(|(feature, _)| *feature).collect();
        features.push(("feature-rx-copy", 1));
        features.push(("feature-no-csum-offload", (!blank_v4).into()));
        let config =
            Config { split_channels, large_receive, segments, checksums, ..Config::default() };
        let mut world = World::new(config, &features);
        world.set_mtu(mtu);
        world.settle();
        prop_assert!(world.device.link().up);
        let mut streams = Streams::default();
        for step in steps {
            streams.step(&mut world, step);
        }
        streams.finish(&mut world);
        prop_assert_eq!(streams.sent.len(), streams.got.len());
        prop_assert!(streams.sent == streams.got, "what was sent");
        prop_assert!(streams.delivered == streams.received, "what was delivered");
        let counters = world.device.counters();
        prop_assert_eq!((counters.lies, counters.tx.full, counters.tx.failed), (0, 0, 0));
    }
}
