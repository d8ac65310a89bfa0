//! The grant state machine against a model of it: all short histories, and long random ones.
//!
//! The model knows what a grant is, who uses it, and what Xen lets whom begin; it knows no entries
//! and no bits. The peers do what harms most: they keep pages for ever, map again what is being
//! taken from them, ask for more than was granted, and try references that are not theirs.

use super::*;
use crate::testing::{Peer, PeerMapping};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use xen_abi::gnttab::{GrantRef, flags};

/// References that the device under test may have.
const LIMIT: u32 = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The guest grants a page to peer 0 or 1.
    Grant(usize, Access),
    /// It drops the grant that has lived longest but so many.
    Drop(usize),
    /// The same, and asks how it went.
    End(usize),
    Reclaim,
    ReclaimTillGivenUp,
    /// The domain is saved and restored.
    Resume,
    /// A peer maps the reference of a grant, living or not.
    Map(usize, usize, Access),
    /// The peers let go what was mapped first but so many.
    Unmap(usize),
    /// A peer copies into a grant's page.
    CopyTo(usize, usize),
    /// A peer writes through everything that it has mapped.
    Scribble,
}

/// Where a grant is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Life {
    Granted,
    Quarantined,
    Leaked,
    /// Granted in a domain that is gone, and not dropped yet.
    Stale,
    Over,
}

/// A grant, by the model.
struct Known {
    grant: GrantRef,
    peer: usize,
    access: Access,
    life: Life,
    /// The page as the other side would see it.
    view: SharedPage,
}

impl Known {
    /// Whether the reference is this grant's now.
    fn has_reference(&self) -> bool {
        matches!(self.life, Life::Granted | Life::Quarantined | Life::Leaked)
    }
}

struct Run {
    version: Version,
    xen: FakeXen,
    grants: Grants<FakeXen>,
    peers: [Peer; 2],
    known: Vec<Known>,
    held: BTreeMap<usize, GrantedPage>,
    /// What peers have mapped: of which grant, and how.
    mapped: Vec<(usize, PeerMapping)>,
}

impl Run {
    fn new(version: Version) -> Self {
        let (xen, grants) = table(version, 1);
        let peers = [xen.peer(DOM0), xen.peer(DomId(1))];
        let grants = grants.for_owner("device", LIMIT);
        let (known, held, mapped) = Default::default();
        Self { version, xen, grants, peers, known, held, mapped }
    }

    fn users(&self, index: usize, access: Access) -> usize {
        let all = self.mapped.iter();
        all.filter(|(of, mapping)| *of == index && mapping.access() == access).count()
    }

    fn is_used(&self, index: usize) -> bool {
        self.mapped.iter().any(|(of, _)| *of == index)
    }

    fn lives(&self, life: Life) -> usize {
        self.known.iter().filter(|known| known.life == life).count()
    }

    /// Whether Xen lets a peer begin to use a reference; the grant that it is of.
    fn may_begin(&self, peer: usize, grant: GrantRef, access: Access) -> Option<usize> {
        let index =
            self.known.iter().position(|known| known.has_reference() && known.grant == grant)?;
        let known = &self.known[index];
        let open = match (known.life, self.version) {
            (Life::Granted, _) => true,
            // An entry of version 1 that is in use cannot be invalidated.
            (_, Version::One) => true,
            // One of version 2 can: who uses it may go on and on, but once over it is over.
            (_, Version::Two) => self.is_used(index),
        };
        let enough = access == Access::ReadOnly || known.access == Access::ReadWrite;
        (open && enough && known.peer == peer).then_some(index)
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Grant(peer, access) => self.grant(peer, access),
            Op::Drop(nth) | Op::End(nth) => {
                let Some(&index) = self.held.keys().nth(nth) else { return };
                let Some(page) = self.held.remove(&index) else { return };
                let busy = self.known[index].life == Life::Granted && self.is_used(index);
                match op {
                    Op::End(_) => assert_eq!(page.end().is_err(), busy),
                    _ => drop(page),
                }
                self.known[index].life = if busy { Life::Quarantined } else { Life::Over };
            }
            Op::Reclaim => {
                self.let_free_ones_go();
                assert_eq!(self.grants.reclaim(), self.lives(Life::Quarantined));
            }
            Op::ReclaimTillGivenUp => {
                self.let_free_ones_go();
                for known in &mut self.known {
                    if known.life == Life::Quarantined {
                        known.life = Life::Leaked;
                    }
                }
                (1..RECLAIM_TRIES).for_each(|_| _ = self.grants.reclaim());
                assert_eq!(self.grants.reclaim(), 0);
            }
            Op::Resume => self.resume(),
            Op::Map(peer, nth, access) => {
                let Some(grant) = self.reference(nth) else { return };
                let expected = self.may_begin(peer, grant, access);
                let mapping = self.peers[peer].map(grant, access);
                assert_eq!(mapping.is_ok(), expected.is_some(), "{grant} by {peer}");
                self.mapped.extend(expected.zip(mapping.ok()));
            }
            Op::Unmap(nth) if nth < self.mapped.len() => {
                let (index, mapping) = self.mapped.remove(nth);
                self.peers[self.known[index].peer].unmap(mapping);
            }
            Op::Unmap(_) => {}
            Op::CopyTo(peer, nth) => {
                let Some(grant) = self.reference(nth) else { return };
                let expected = self.may_begin(peer, grant, Access::ReadWrite).is_some();
                assert_eq!(self.peers[peer].copy_to(grant, 4095, b"x").is_ok(), expected);
            }
            Op::Scribble => {
                let all = self.mapped.iter();
                for (_, mapping) in all.filter(|(_, one)| one.access() == Access::ReadWrite) {
                    mapping.page().u32_at(0).fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// A reference to try: those of living grants and of some that are over.
    fn reference(&self, nth: usize) -> Option<GrantRef> {
        let last = self.known.len().checked_sub(1 + nth)?;
        Some(self.known[last].grant)
    }

    fn grant(&mut self, peer: usize, access: Access) {
        let page = page();
        let view = page.peer();
        let taken = self.known.iter().filter(|known| known.has_reference());
        let expected = taken.count() < LIMIT as usize;
        let result = self.grants.grant(self.peers[peer].domid(), page, access);
        assert_eq!(result.is_ok(), expected, "{:?}", result.err());
        let Ok(granted) = result else { return };
        let grant = granted.reference();
        let clash = |known: &Known| known.has_reference() && known.grant == grant;
        assert!(!self.known.iter().any(clash), "{grant} is given twice");
        assert!(granted.is_zero());
        self.held.insert(self.known.len(), granted);
        self.known.push(Known { grant, peer, access, life: Life::Granted, view });
    }

    /// What is set aside and not in use any more is over when it is looked at.
    fn let_free_ones_go(&mut self) {
        let used: BTreeSet<usize> = self.mapped.iter().map(|(of, _)| *of).collect();
        for (index, known) in self.known.iter_mut().enumerate() {
            if known.life == Life::Quarantined && !used.contains(&index) {
                known.life = Life::Over;
            }
        }
    }

    fn resume(&mut self) {
        self.xen.suspend().unwrap();
        self.grants.resume().unwrap();
        self.mapped.clear();
        for known in &mut self.known {
            known.life = match known.life {
                Life::Granted | Life::Stale => Life::Stale,
                _ => Life::Over,
            };
        }
    }

    /// All that can be seen is as the model says.
    fn check(&self) {
        let counters = self.grants.counters();
        let seen = [counters.in_use, counters.quarantined, counters.leaked].map(|n| n as usize);
        let lives = [Life::Granted, Life::Quarantined, Life::Leaked].map(|life| self.lives(life));
        assert_eq!(seen, lives);
        let all = self.grants.table_counters();
        let sum = all.free + all.in_use + all.quarantined + all.leaked;
        assert_eq!((sum, all.references), (all.references, 512 / self.version.number() - 8));
        for (index, known) in self.known.iter().enumerate() {
            let over = known.life == Life::Over;
            assert_eq!(known.view.is_freed(), over, "{} is {:?}", known.grant, known.life);
            assert!(!(over && self.is_used(index)), "{} is over and in use", known.grant);
            if known.has_reference() {
                assert_eq!(self.xen.grant_flags(known.grant.0), self.flags(index));
            }
        }
    }

    /// An entry's flags, Xen's among them.
    fn flags(&self, index: usize) -> u16 {
        let known = &self.known[index];
        let invalid = self.version == Version::Two && known.life != Life::Granted;
        let permit = if invalid { 0 } else { flags::PERMIT_ACCESS };
        let readonly = if known.access == Access::ReadOnly { flags::READONLY } else { 0 };
        let reading = if self.is_used(index) { flags::READING } else { 0 };
        let writers = self.users(index, Access::ReadWrite);
        permit | readonly | reading | if writers > 0 { flags::WRITING } else { 0 }
    }

    /// The state without what has no future.
    fn key(&self) -> Vec<(u32, usize, bool, Life, usize, usize)> {
        let all = self.known.iter().enumerate();
        let live = all.filter(|(_, known)| known.life != Life::Over);
        live.map(|(index, known)| {
            let [readers, writers] =
                [Access::ReadOnly, Access::ReadWrite].map(|access| self.users(index, access));
            let readonly = known.access == Access::ReadOnly;
            (known.grant.0, known.peer, readonly, known.life, readers, writers)
        })
        .collect()
    }
}

fn run(version: Version, ops: impl IntoIterator<Item = Op>) -> Run {
    let mut run = Run::new(version);
    for op in ops {
        run.step(op);
        run.check();
    }
    run
}

/// What is tried in every state.
const ALPHABET: [Op; 15] = [
    Op::Grant(0, Access::ReadOnly),
    Op::Grant(0, Access::ReadWrite),
    Op::Drop(0),
    Op::End(1),
    Op::Reclaim,
    Op::ReclaimTillGivenUp,
    Op::Resume,
    Op::Map(0, 0, Access::ReadOnly),
    Op::Map(0, 0, Access::ReadWrite),
    Op::Map(0, 1, Access::ReadWrite),
    Op::Map(1, 0, Access::ReadOnly),
    Op::Unmap(0),
    Op::Unmap(1),
    Op::CopyTo(0, 0),
    Op::Scribble,
];

/// Every history of so many steps, whatever state it leads to.
#[test]
fn all_short_histories() {
    const STEPS: u32 = 3;
    for version in BOTH {
        for number in 0..ALPHABET.len().pow(STEPS) {
            let digit = |place| ALPHABET[number / ALPHABET.len().pow(place) % ALPHABET.len()];
            // One grant first: without it most histories are of nothing.
            let first = Op::Grant(0, [Access::ReadOnly, Access::ReadWrite][number % 2]);
            run(version, std::iter::once(first).chain((0..STEPS).map(digit)));
        }
    }
}

/// Every operation in every state that so many steps lead to.
#[test]
fn all_states_within_six_steps() {
    const STEPS: usize = 6;
    const USERS_MAX: usize = 2;
    for version in BOTH {
        let mut seen = BTreeSet::new();
        let mut open = VecDeque::from([Vec::new()]);
        while let Some(path) = open.pop_front() {
            for op in ALPHABET {
                let mut longer = path.clone();
                longer.push(op);
                let end = run(version, longer.iter().copied());
                let key = end.key();
                let crowded = key.iter().any(|state| state.4 + state.5 > USERS_MAX);
                if !crowded && longer.len() < STEPS && seen.insert(key) {
                    open.push_back(longer);
                }
            }
        }
        assert!(seen.len() > 300, "only {} states", seen.len());
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let access = || prop_oneof![Just(Access::ReadOnly), Just(Access::ReadWrite)];
    prop_oneof![
        4 => (0usize..2, access()).prop_map(|(peer, access)| Op::Grant(peer, access)),
        3 => (0usize..2).prop_map(Op::Drop),
        1 => (0usize..2).prop_map(Op::End),
        2 => Just(Op::Reclaim),
        1 => prop_oneof![9 => Just(Op::Reclaim), 1 => Just(Op::ReclaimTillGivenUp)],
        1 => prop_oneof![9 => Just(Op::Scribble), 1 => Just(Op::Resume)],
        5 => (0usize..2, 0usize..4, access()).prop_map(|(peer, nth, how)| Op::Map(peer, nth, how)),
        3 => (0usize..6).prop_map(Op::Unmap),
        2 => (0usize..2, 0usize..4).prop_map(|(peer, nth)| Op::CopyTo(peer, nth)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn long_histories(
        two: bool,
        ops in proptest::collection::vec(any_op(), 1..300),
    ) {
        run(if two { Version::Two } else { Version::One }, ops);
    }
}
