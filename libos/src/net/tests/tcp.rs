//! Streams from one stack to the other.

use super::support::*;
use crate::net::testing::{Faults, Kind};
use crate::net::{Error, Limits, Net};
use crate::spawn;
use crate::time::{Duration, Instant, timeout};
use proptest::prelude::*;

/// Sends bytes there and back, in pieces; the time that it took.
async fn there_and_back(nets: &[Net; 2], ipv6: bool, len: usize, seed: u64) -> Duration {
    let mut listener = nets[1].listen(7).unwrap();
    let server = spawn(async move {
        let mut stream = listener.accept().await.unwrap();
        let copied = stream.copy_to_self().await.unwrap();
        stream.shutdown();
        copied
    });
    let start = Instant::now();
    let stream = loop {
        match nets[0].connect(echo(ipv6, 1)).await {
            Ok(stream) => break stream,
            // Three requests for the neighbour's address may well be lost.
            Err(error) => assert_eq!(error, Error::Unreachable),
        }
    };
    let (mut reader, mut writer) = stream.split();
    let sent = bytes(seed, len);
    let expected = sent.clone();
    spawn(async move {
        let mut rest = &sent[..];
        let mut piece = 1;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            writer.write_all(now).await.unwrap();
            rest = later;
            piece = piece * 7 % 10_007 + 1;
        }
    });
    let mut received = std::vec::Vec::new();
    let mut buffer = [0; 3000];
    loop {
        let len = reader.read(&mut buffer).await.unwrap();
        if len == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..len]);
    }
    assert_eq!(received.len(), expected.len());
    assert!(received == expected);
    assert_eq!(server.await, Ok(len as u64));
    start.elapsed()
}

#[test]
fn a_byte_goes_there_and_back() {
    let pair = Pair::new(Kind::Wire, 1500, NONE, 0);
    pair.world.run(there_and_back(&pair.nets, false, 1, 0));
    pair.world.run(there_and_back(&pair.nets, true, 1, 0));
}

#[test]
fn all_links_carry_all_bytes() {
    for kind in [Kind::Wire, Kind::Local] {
        for offload in [NONE, ALL] {
            for mtu in [1280, 1500, 9000] {
                let pair = Pair::new(kind, mtu, offload, 1);
                for ipv6 in [false, true] {
                    pair.world.run(there_and_back(&pair.nets, ipv6, 300_000, 5));
                }
            }
        }
    }
}

#[test]
fn nobody_listens() {
    let pair = Pair::new(Kind::Wire, 1500, NONE, 0);
    let refused = pair.world.run(async { pair.nets[0].connect(echo(false, 1)).await });
    assert_eq!(refused.err(), Some(Error::Refused));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn streams_survive_faults(
        seed: u64, ipv6: bool, local: bool, offloaded: bool,
        lost in 0u16..60, doubled in 0u16..60, changed in 0u16..40, late in 0u16..200,
        delay_us in 0u64..20_000,
    ) {
        let kind = if local { Kind::Local } else { Kind::Wire };
        // On such links even a farewell may take long.
        let limits =
            Limits { orphan_time: Duration::from_secs(3600), ..Limits::default() };
        let offload = if offloaded { ALL } else { NONE };
        let pair = Pair::with_limits(kind, 1500, offload, seed, [limits.clone(), limits]);
        let faults = Faults {
            lost, doubled, late,
            // Between domains nothing is changed, and nobody would notice.
            changed: if local { 0 } else { changed },
            delay: Duration::from_micros(delay_us),
        };
        pair.cable.set_faults(faults);
        let limit = Duration::from_secs(3600);
        let nets = pair.nets.clone();
        let took = pair.world.run(timeout(limit, there_and_back(&nets, ipv6, 100_000, seed)));
        prop_assert!(took.is_ok(), "seed {seed}, {faults:?}");
    }
}
