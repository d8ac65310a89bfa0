//! Any requests, split, joined, done in any order and sent again over new connections, have the
//! effect that they would have one after another.

use super::*;
use proptest::prelude::*;

const UNITS: u64 = 40;

#[derive(Clone, Debug)]
enum Step {
    /// Place and length in sectors of the disk's; whether the data lies in a slice.
    Write {
        first: u64,
        count: u64,
        durable: bool,
        slice: bool,
    },
    Read {
        first: u64,
        count: u64,
        slice: bool,
    },
    Flush,
    Service,
    /// The backend does one of the waiting requests, and answers unless it is about to die.
    Answer {
        which: usize,
        silent: bool,
    },
    /// Nobody waits for one of the jobs any more.
    Abandon(usize),
    Reconnect {
        offer: Offer,
        ending: Ending,
    },
}

fn offers() -> impl Strategy<Value = Offer> {
    let segments = prop_oneof![Just(0u16), Just(13), Just(300)];
    (any::<bool>(), any::<bool>(), segments).prop_map(|(flush, persistent, indirect_segments)| {
        Offer { flush, barrier: true, persistent, indirect_segments, ..Offer::ALL }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = || prop_oneof![3 => 1u64..4, 1 => 4u64..30];
    let step = prop_oneof![
        6 => (0..UNITS, count(), any::<bool>(), any::<bool>())
            .prop_map(|(first, count, durable, slice)| {
                Step::Write { first, count, durable, slice }
            }),
        4 => (0..UNITS, count(), any::<bool>())
            .prop_map(|(first, count, slice)| Step::Read { first, count, slice }),
        1 => Just(Step::Flush),
        6 => Just(Step::Service),
        8 => (any::<usize>(), prop::bool::weighted(0.1))
            .prop_map(|(which, silent)| Step::Answer { which, silent }),
        1 => any::<usize>().prop_map(Step::Abandon),
        1 => (offers(), any::<bool>()).prop_map(|(offer, dead)| Step::Reconnect {
            offer,
            ending: if dead { Ending::Death } else { Ending::Orderly },
        }),
    ];
    proptest::collection::vec(step, 1..120)
}

/// A job that was submitted.
struct Asked {
    id: JobId,
    /// What a read is to give.
    expected: Option<Vec<u8>>,
    slice: bool,
}

/// The rig, and what the disk is to look like.
struct Model {
    rig: Rig,
    contents: Vec<u8>,
    sector_bytes: usize,
    asked: Vec<Asked>,
    writes: u64,
}

impl Model {
    fn submit(&mut self, action: Action, first: u64, count: u64, slice: bool) {
        let count = count.min(UNITS - first) as usize;
        let (at, len) = (first as usize * self.sector_bytes, count * self.sector_bytes);
        let sector = Sector((at / 512) as u64);
        let mut data = Vec::new();
        if action != Action::Read {
            self.writes += 1;
            data = pattern(self.writes, len);
        }
        let id = if slice {
            let (what, mut place) = ((len, Source::Bytes(&data)), None);
            let asker = (&mut place, Waker::noop());
            let Poll::Ready(id) = self.rig.engine.poll_submit_slice(action, sector, what, asker)
            else {
                // No pages: whoever cannot wait leaves.
                self.rig.engine.leave_line(&mut place);
                return;
            };
            id.unwrap()
        } else {
            let mut buffer = DmaBuffer::allocate(len).unwrap();
            buffer.write(0, &data);
            self.rig.engine.submit_buffer(action, sector, buffer).map_err(|e| e.0).unwrap()
        };
        let there = &mut self.contents[at..at + len];
        let expected = (action == Action::Read).then(|| there.to_vec());
        if action != Action::Read {
            there.copy_from_slice(&data);
        }
        self.asked.push(Asked { id, expected, slice });
    }

    /// Takes the results of jobs that are done; all of them are to be.
    fn take_results(&mut self) {
        for asked in core::mem::take(&mut self.asked) {
            let len = asked.expected.as_ref().map_or(0, Vec::len);
            let mut bytes = vec![0; len];
            let result = if asked.slice {
                let Poll::Ready(result) =
                    self.rig.engine.poll_slice(asked.id, &mut bytes, Waker::noop())
                else {
                    panic!("not done")
                };
                result
            } else {
                let (result, buffer) = self.rig.result(asked.id).unwrap();
                buffer.read(0, &mut bytes);
                result
            };
            assert_eq!(result, Ok(()));
            if let Some(expected) = asked.expected {
                assert!(bytes == expected, "a read sees what was submitted before it");
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write { first, count, durable, slice } => {
                self.submit(Action::Write { durable }, first, count, slice);
            }
            Step::Read { first, count, slice } => self.submit(Action::Read, first, count, slice),
            Step::Flush => {
                let range = SectorRange::default();
                let id = self.rig.engine.submit_plain(Action::Flush, range).unwrap();
                self.asked.push(Asked { id, expected: None, slice: false });
            }
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
            Step::Abandon(which) => {
                if !self.asked.is_empty() {
                    let which = which % self.asked.len();
                    self.rig.engine.abandon(self.asked.swap_remove(which).id);
                }
            }
            Step::Reconnect { offer, ending } => {
                self.rig.disconnect(ending);
                let sector_bytes = self.sector_bytes as u32;
                self.rig.backend.offer = Offer { sector_bytes, ..offer };
                self.rig.connect();
            }
        }
        self.rig.engine.take_wakers();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn requests_take_effect_one_after_another(
        steps in steps(),
        offer in offers(),
        large_sectors: bool,
        (persistent, merge, trusted) in any::<(bool, bool, bool)>(),
        (order, queues) in (0u8..3, 1u8..4),
        start in prop_oneof![Just(u32::MAX - 5), any::<u32>()],
        (pool_pages, grants_max) in (prop_oneof![Just(40usize), Just(400)], 120u32..400),
    ) {
        let sector_bytes = if large_sectors { 4096 } else { 512 };
        let config = Config {
            persistent, merge, pool_pages, grants_max, idle_pages: 10, indirect_segments_max: 64,
            ..Config::DEFAULT
        };
        let offer = Offer { sector_bytes: sector_bytes as u32, ..offer };
        let mut rig = Rig::detached(config, offer, UNITS * sector_bytes / 512);
        (rig.layout, rig.trusted, rig.start) = ((order, queues), trusted, start);
        rig.connect();
        let sector_bytes = sector_bytes as usize;
        let contents = vec![0; UNITS as usize * sector_bytes];
        let mut model = Model { rig, contents, sector_bytes, asked: Vec::new(), writes: 0 };
        for step in steps {
            model.step(step);
        }
        model.rig.settle();
        model.take_results();
        for (sector, expected) in model.contents.chunks(512).enumerate() {
            prop_assert_eq!(&model.rig.disk.read(sector as u64)[..], expected, "sector {}", sector);
        }
        prop_assert_eq!(model.rig.engine.work.jobs.len(), 0);
        prop_assert_eq!(model.rig.engine.work.pool.budget.out(), 0);
        model.rig.check_clean();
    }
}
