//! Every way that two ends can go, from every pair of states: they never stand still in a wrong
//! place, and never go round for ever.

use super::super::machine::{Goal, Side, Step};
use std::collections::HashMap;
use std::format;
use std::string::String;
use std::vec::Vec;
use xen_abi::xenbus::XenbusState::{self, Closed, Closing, Connected, InitWait, Initialised};
use xen_abi::xenbus::XenbusState::{Initialising, Unknown};

/// One end: its state in the store, and where its driver is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct End {
    side: Side,
    state: XenbusState,
    /// Nothing once the driver has ended.
    goal: Option<Goal>,
    /// What it is about to tell once it has made its rings ready.
    telling: Option<XenbusState>,
    /// Whether it closes for good.
    leaving: bool,
    /// Whether it passes Initialised on its way to Connected.
    by_initialised: bool,
    /// Whether it is not ours.
    foreign: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct World {
    front: End,
    back: End,
    offline: bool,
    /// What may happen once, at any time.
    surprise: Option<Surprise>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Surprise {
    /// The toolstack unplugs the device.
    Unplug,
    /// The driver of this side wants to close for good.
    Leave(Side),
    /// The driver of this side begins anew, with its state as it is.
    Restart(Side),
    /// The backend's directory is deleted, its driver dead.
    Vanish,
}

fn end(side: Side, state: XenbusState, by_initialised: bool) -> End {
    End {
        side,
        state,
        goal: Some(Goal::Prepare),
        telling: None,
        leaving: false,
        by_initialised,
        foreign: false,
    }
}

impl End {
    /// What the driver does next; nothing if it waits. To look, to decide and to write is one move,
    /// as it is one transaction.
    fn advance(mut self, peer: XenbusState, offline: bool) -> Option<Self> {
        if self.foreign {
            self.state = foreign_backend(self.state, peer)?;
            return Some(self);
        }
        let goal = self.goal?;
        let mut step = self.side.step(goal, self.state, peer);
        if let Some(state) = self.telling.take() {
            if step == Step::Reached {
                self.told(state);
            } else {
                self.goal = Some(Goal::Close);
            }
            return Some(self);
        }
        if offline && self.side == Side::Backend && goal != Goal::Close {
            step = Step::PeerClosing;
        }
        if offline && self.side == Side::Frontend && step == Step::Write(Initialising) {
            step = Step::Wait;
        }
        match step {
            Step::Wait => return None,
            Step::Write(state) => self.state = state,
            Step::PeerClosing | Step::PeerClosed => self.goal = Some(Goal::Close),
            Step::Reached => self.reached(goal, offline),
        }
        Some(self)
    }

    fn reached(&mut self, goal: Goal, offline: bool) {
        let front = self.side == Side::Frontend;
        match goal {
            Goal::Prepare if front && self.by_initialised => self.telling = Some(Initialised),
            Goal::Prepare => self.telling = Some(Connected),
            Goal::Connect if self.state == Initialised => self.telling = Some(Connected),
            Goal::Connect | Goal::Stay => self.goal = Some(Goal::Stay),
            Goal::Close if self.leaving || (offline && !front) => self.goal = None,
            Goal::Close => self.goal = Some(Goal::Prepare),
        }
    }

    fn told(&mut self, state: XenbusState) {
        let more = self.side == Side::Frontend && self.state == Initialising;
        self.state = state;
        self.goal = Some(if more { Goal::Connect } else { Goal::Stay });
    }
}

/// A backend as other systems have them: it reacts to what the frontend's state is, and to nothing
/// else.
fn foreign_backend(own: XenbusState, peer: XenbusState) -> Option<XenbusState> {
    match (own, peer) {
        (Initialising, _) => Some(InitWait),
        (Closed, Initialising) => Some(InitWait),
        (InitWait, Initialised | Connected) => Some(Connected),
        (InitWait | Connected, Closing) => Some(Closing),
        (InitWait | Connected | Closing, Closed | Unknown) => Some(Closed),
        _ => None,
    }
}

impl World {
    fn moves(self) -> Vec<World> {
        let (front, back) = (self.front, self.back);
        let mut moves = Vec::new();
        moves.extend(front.advance(back.state, self.offline).map(|front| World { front, ..self }));
        moves.extend(back.advance(front.state, self.offline).map(|back| World { back, ..self }));
        moves.extend(self.surprise.map(|surprise| self.surprised(surprise)));
        moves
    }

    fn surprised(mut self, surprise: Surprise) -> World {
        self.surprise = None;
        let leave = |end: &mut End| {
            end.telling = None;
            end.leaving = true;
            end.goal = Some(Goal::Close);
        };
        match surprise {
            Surprise::Unplug => {
                self.offline = true;
                self.back.state = Closing;
            }
            Surprise::Leave(Side::Frontend) => leave(&mut self.front),
            Surprise::Leave(Side::Backend) => leave(&mut self.back),
            Surprise::Restart(side) => {
                let end = if side == Side::Frontend { &mut self.front } else { &mut self.back };
                (end.goal, end.telling) = (Some(Goal::Prepare), None);
            }
            Surprise::Vanish => {
                self.back.state = Unknown;
                (self.back.goal, self.back.telling) = (None, None);
            }
        }
        self
    }
}

/// Goes every way on from the last world of `path`; the worlds in which nothing moves any more. To
/// meet a world of the path again would be a round.
fn explore(path: &mut Vec<World>, seen: &mut HashMap<World, bool>, ends: &mut Vec<World>) {
    let world = path[path.len() - 1];
    match seen.get(&world) {
        Some(true) => {
            let round = path.iter().skip_while(|other| **other != world);
            let round: Vec<String> = round.map(|world| format!("\n  {world:?}")).collect();
            panic!("the two go round for ever: {}", round.concat());
        }
        Some(false) => return,
        None => {}
    }
    seen.insert(world, true);
    let moves = world.moves();
    if moves.is_empty() {
        ends.push(world);
    }
    for next in moves {
        path.push(next);
        explore(path, seen, ends);
        path.pop();
    }
    seen.insert(world, false);
}

/// All ends from all pairs of states.
fn all_ends(surprise: Option<Surprise>, mut check: impl FnMut(&World)) -> usize {
    let (mut seen, mut ends) = (HashMap::new(), Vec::new());
    for front in XenbusState::ALL {
        for back in XenbusState::ALL {
            for by_initialised in [false, true] {
                let front = end(Side::Frontend, front, by_initialised);
                let back = end(Side::Backend, back, false);
                let start = World { front, back, offline: false, surprise };
                explore(&mut Vec::from([start]), &mut seen, &mut ends);
            }
        }
    }
    ends.iter().for_each(&mut check);
    seen.len()
}

fn connected(world: &World) -> bool {
    let good = |end: &End| end.state == Connected && end.goal == Some(Goal::Stay);
    good(&world.front) && good(&world.back)
}

#[test]
fn from_every_pair_of_states_the_two_connect() {
    let worlds = all_ends(None, |world| assert!(connected(world), "{world:?}"));
    assert!(worlds > 200, "only {worlds} worlds");
}

#[test]
fn our_frontend_connects_to_a_foreign_backend() {
    for surprise in [None, Some(Surprise::Restart(Side::Frontend))] {
        let (mut seen, mut ends) = (HashMap::new(), Vec::new());
        for front in XenbusState::ALL {
            for back in [Initialising, InitWait, Connected, Closing, Closed] {
                for by_initialised in [false, true] {
                    let front = end(Side::Frontend, front, by_initialised);
                    let back = End { foreign: true, ..end(Side::Backend, back, false) };
                    let start = World { front, back, offline: false, surprise };
                    explore(&mut Vec::from([start]), &mut seen, &mut ends);
                }
            }
        }
        for world in ends {
            let states = (world.front.state, world.back.state, world.front.goal);
            assert_eq!(states, (Connected, Connected, Some(Goal::Stay)), "{world:?}");
        }
    }
}

#[test]
fn a_driver_that_begins_anew_at_any_time_connects_again() {
    for side in [Side::Frontend, Side::Backend] {
        all_ends(Some(Surprise::Restart(side)), |world| assert!(connected(world), "{world:?}"));
    }
}

#[test]
fn a_device_unplugged_at_any_time_is_closed_on_both_ends() {
    all_ends(Some(Surprise::Unplug), |world| {
        assert_eq!((world.back.state, world.back.goal), (Closed, None), "{world:?}");
        // Told nothing, or closed.
        let front = world.front;
        assert!(matches!(front.state, Unknown | Initialising | Closed), "{world:?}");
        assert_eq!(front.goal, Some(Goal::Prepare), "{world:?}");
    });
}

#[test]
fn a_frontend_that_leaves_at_any_time_is_let_go() {
    all_ends(Some(Surprise::Leave(Side::Frontend)), |world| {
        assert_eq!((world.front.state, world.front.goal), (Closed, None), "{world:?}");
        assert!(matches!(world.back.state, InitWait | Closed), "{world:?}");
        assert_eq!(world.back.goal, Some(Goal::Prepare), "{world:?}");
    });
}

#[test]
fn a_backend_that_leaves_at_any_time_is_let_go() {
    all_ends(Some(Surprise::Leave(Side::Backend)), |world| {
        assert_eq!((world.back.state, world.back.goal), (Closed, None), "{world:?}");
        // The frontend is ready for the next backend.
        assert_eq!(world.front.state, Initialising, "{world:?}");
        assert_eq!(world.front.goal, Some(Goal::Prepare), "{world:?}");
    });
}

#[test]
fn a_backend_that_vanishes_at_any_time_is_waited_for() {
    all_ends(Some(Surprise::Vanish), |world| {
        assert_eq!(world.front.state, Initialising, "{world:?}");
        assert_eq!(world.front.goal, Some(Goal::Prepare), "{world:?}");
    });
}
