//! The power goes at any moment, or the backend dies: what was said to be on stable storage is
//! there.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SECTORS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Write {
        first: u64,
        count: u64,
        durable: bool,
    },
    Flush,
    Service,
    Answer {
        which: usize,
        silent: bool,
    },
    /// One of the next requests of the disk's fails.
    Bad(u64, bool),
    /// The backend dies, with what it had in its cache.
    Death(u64),
    /// The backend goes and comes, and nothing is lost.
    Orderly,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..SECTORS, 1u64..5, any::<bool>())
            .prop_map(|(first, count, durable)| Step::Write { first, count, durable }),
        3 => Just(Step::Flush),
        6 => Just(Step::Service),
        9 => (any::<usize>(), prop::bool::weighted(0.1))
            .prop_map(|(which, silent)| Step::Answer { which, silent }),
        1 => (0..SECTORS, any::<bool>()).prop_map(|(sector, bad)| Step::Bad(sector, bad)),
        1 => any::<u64>().prop_map(Step::Death),
        1 => Just(Step::Orderly),
    ];
    proptest::collection::vec(step, 1..100)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Plain,
    Durable,
    Flush,
}

struct Asked {
    id: JobId,
    kind: Kind,
    /// Writes before this one, in the order of submission.
    number: usize,
    first: u64,
    count: u64,
}

struct Model {
    rig: Rig,
    /// For each sector, the numbers of all writes to it; 0 is what the disk held at first.
    versions: Vec<Vec<usize>>,
    /// For each sector, the oldest version that may be left.
    floors: Vec<usize>,
    asked: Vec<Asked>,
    writes: usize,
    /// Writes that were said to have failed.
    failed: BTreeSet<usize>,
    /// Losses that were told, and the writes that had been submitted by then.
    losses_told: u32,
    told_at: usize,
}

impl Model {
    fn submit(&mut self, first: u64, count: u64, durable: bool) {
        let count = count.min(SECTORS - first);
        self.writes += 1;
        let data = pattern(self.writes as u64, count as usize * 512);
        let data: Vec<u8> = data.chunks(512).flat_map(|_| version(self.writes)).collect();
        let id = self.rig.submit_write(first, &data, durable).unwrap();
        for sector in first..first + count {
            self.versions[sector as usize].push(self.writes);
        }
        let kind = if durable { Kind::Durable } else { Kind::Plain };
        self.asked.push(Asked { id, kind, number: self.writes, first, count });
    }

    fn flush(&mut self) {
        let id = self.rig.engine.submit_plain(Action::Flush, SectorRange::default()).unwrap();
        let (number, first, count) = (self.writes, 0, SECTORS);
        self.asked.push(Asked { id, kind: Kind::Flush, number, first, count });
    }

    /// Takes what is done, and notes what it promises.
    fn take_results(&mut self) {
        for asked in core::mem::take(&mut self.asked) {
            let Some((result, _)) = self.rig.result(asked.id) else {
                self.asked.push(asked);
                continue;
            };
            // As a device handle does it.
            let losses = self.rig.engine.losses();
            let lost = losses != self.losses_told && asked.kind == Kind::Flush;
            if lost {
                (self.losses_told, self.told_at) = (losses, self.writes);
            }
            if result.is_err() && asked.kind != Kind::Flush {
                self.failed.insert(asked.number);
            }
            if result.is_err() || lost || asked.kind == Kind::Plain {
                continue;
            }
            for sector in asked.first..asked.first + asked.count {
                let sector = sector as usize;
                let good = |number: &usize| !self.failed.contains(number);
                let promised = self.versions[sector].iter().copied().filter(good);
                let promised = promised.filter(|number| match asked.kind {
                    Kind::Durable => *number == asked.number,
                    _ => *number <= asked.number && *number > self.told_at,
                });
                let promised = promised.max().unwrap_or(0);
                self.floors[sector] = self.floors[sector].max(promised);
            }
        }
    }

    /// Every sector holds a version that it may hold.
    fn check(&self) {
        for (sector, versions) in self.versions.iter().enumerate() {
            let left = self.rig.disk.read(sector as u64);
            let floor = self.floors[sector];
            let mut allowed = versions.iter().filter(|number| **number >= floor);
            assert!(
                allowed.any(|number| left[..] == version(*number)[..]),
                "sector {sector} holds version {:?}, at least {floor} was promised",
                versions.iter().find(|number| left[..] == version(**number)[..]),
            );
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { first, count, durable } => self.submit(first, count, durable),
            Step::Flush => self.flush(),
            Step::Service => {
                self.rig.engine.service().unwrap();
            }
            Step::Answer { which, silent } => {
                let waiting = self.rig.backend.take();
                if waiting > 0 && silent {
                    self.rig.backend.execute_only(which % waiting);
                } else if waiting > 0 {
                    self.rig.backend.answer(which % waiting);
                }
            }
            Step::Bad(sector, bad) => self.rig.disk.set_bad(sector, bad),
            Step::Death(seed) => {
                self.power_cut(seed);
                self.rig.disconnect(Ending::Death);
                self.rig.connect();
            }
            Step::Orderly => {
                self.rig.disconnect(Ending::Orderly);
                self.rig.connect();
            }
        }
        self.take_results();
        self.rig.engine.take_wakers();
    }

    fn power_cut(&mut self, mut seed: u64) {
        self.rig.disk.power_cut(|choices| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % choices
        });
    }
}

/// What the write of that number puts into a sector.
fn version(number: usize) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..8].copy_from_slice(&number.to_le_bytes());
    sector
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_was_promised_is_there(
        steps in steps(), flush: bool, persistent: bool, seed: u64, queues in 1u8..3,
    ) {
        let config = Config { persistent, ..Config::DEFAULT };
        let offer = Offer { flush, persistent, ..Offer::ALL };
        let mut rig = Rig::detached(config, offer, SECTORS);
        rig.layout = (0, queues);
        rig.connect();
        let mut model = Model {
            rig,
            versions: vec![vec![0]; SECTORS as usize],
            floors: vec![0; SECTORS as usize],
            asked: Vec::new(),
            writes: 0,
            failed: BTreeSet::new(),
            losses_told: 0,
            told_at: 0,
        };
        for step in steps {
            model.step(step);
        }
        model.power_cut(seed);
        model.check();
    }
}

#[test]
fn a_flush_after_a_death_tells_that_writes_are_lost_once() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    rig.write(0, &[1; 512]).unwrap();
    assert_eq!(rig.plain(Action::Flush, 0, 0), Ok(()));
    rig.disconnect(Ending::Death);
    rig.connect();
    assert_eq!(rig.engine.losses(), 0, "all was flushed");
    rig.write(0, &[2; 512]).unwrap();
    rig.disconnect(Ending::Orderly);
    rig.connect();
    assert_eq!(rig.engine.losses(), 0, "a backend that closes brings its cache home");
    rig.disk.power_cut(|_| 0);
    rig.disconnect(Ending::Death);
    rig.connect();
    assert_eq!(rig.engine.losses(), 1);
}

#[test]
fn a_durable_write_outlives_its_backend() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    let id = rig.submit_write(0, &[1; 512], true).unwrap();
    rig.engine.service().unwrap();
    rig.backend.run();
    rig.engine.service().unwrap();
    assert_eq!(rig.backend.take(), 1, "the flush is on its way");
    rig.disk.power_cut(|_| 0);
    rig.disconnect(Ending::Death);
    rig.connect();
    assert!(rig.result(id).is_none());
    rig.settle();
    assert_eq!(rig.result(id).unwrap().0, Ok(()));
    rig.disk.power_cut(|_| 0);
    assert_eq!(rig.disk.read(0), [1; 512]);
}

#[test]
fn many_durable_writes_share_a_flush() {
    let mut rig = Rig::new(Config { merge: false, ..Config::DEFAULT }, Offer::ALL, 64);
    let jobs: Vec<_> =
        (0..16).map(|n| rig.submit_write(n, &[n as u8; 512], true).unwrap()).collect();
    rig.settle();
    assert!(jobs.into_iter().all(|job| rig.result(job).unwrap().0 == Ok(())));
    assert_eq!(rig.engine.counters().flushes, 1);
}

#[test]
fn a_failed_flush_fails_whom_it_was_for() {
    let mut rig = Rig::new(Config::DEFAULT, Offer::ALL, 64);
    let write = rig.submit_write(0, &[1; 512], true).unwrap();
    rig.engine.service().unwrap();
    rig.backend.run();
    rig.engine.service().unwrap();
    let flush = rig.engine.submit_plain(Action::Flush, SectorRange::default()).unwrap();
    rig.backend.take();
    let (ring, slot) = rig.backend.steal(0);
    let mut error = super::hostile::answer_to(&slot);
    error.status = xen_abi::blkif::Status::ERROR;
    rig.backend.respond(ring, &error);
    rig.settle();
    assert_eq!(rig.result(write).unwrap().0, Err(BlockError::Io));
    assert_eq!(rig.result(flush).unwrap().0, Ok(()), "it had a flush of its own");
    assert_eq!(rig.engine.losses(), 1, "but its handle tells of the loss");
}
