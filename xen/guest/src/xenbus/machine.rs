//! What an end of a device does in each pair of states. Pure: states in, a decision out.
//!
//! A peer whose `state` node does not exist counts as [`XenbusState::Unknown`]; it is gone, which
//! is like Closed. Peers may jump over states, and states seen late may be skipped; the tables hold
//! for that.

use xen_abi::xenbus::XenbusState::{
    self, Closed, Closing, Connected, InitWait, Initialised, Initialising, Reconfigured,
    Reconfiguring, Unknown,
};

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Side {
    /// The one that uses the device.
    Frontend,
    /// The one that provides it.
    Backend,
}

/// What an end wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Goal {
    /// That the other end is ready for the rings (frontend) or has told them (backend), after
    /// whatever an earlier user of the device left has been closed.
    Prepare,
    /// That the other end is connected, after this one has told all it has to tell.
    Connect,
    /// To stay connected.
    Stay,
    /// That both ends are closed.
    Close,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Step {
    /// Nothing before something changes.
    Wait,
    /// Write this into our own `state`.
    Write(XenbusState),
    /// The goal is reached.
    Reached,
    /// The other end asks to close: finish what is under way, then close.
    PeerClosing,
    /// The other end is not connected any more: nothing that is under way will be finished.
    PeerClosed,
}

impl Side {
    /// The next step of this side, given both states.
    pub fn step(self, goal: Goal, own: XenbusState, peer: XenbusState) -> Step {
        match self {
            Self::Frontend => frontend(goal, own, peer),
            Self::Backend => backend(goal, own, peer),
        }
    }
}

fn frontend(goal: Goal, own: XenbusState, peer: XenbusState) -> Step {
    match (goal, own, peer) {
        (Goal::Prepare, Initialising, InitWait | Initialised | Connected) => Step::Reached,
        // Unplugged before it was used, or closed behind an earlier user.
        (Goal::Prepare, Initialising, Closing) => Step::Write(Closed),
        (Goal::Prepare, Initialising, _) => Step::Wait,
        (Goal::Prepare, Unknown, _) => Step::Write(Initialising),
        (Goal::Prepare | Goal::Close, Closing, Unknown | Closing | Closed) => Step::Write(Closed),
        (Goal::Prepare | Goal::Close, Closing, _) => Step::Wait,
        // The backend has yet to see that we are closed.
        (Goal::Prepare | Goal::Close, Closed, Initialised | Connected | Closing) => Step::Wait,
        (Goal::Prepare | Goal::Close, Closed, Reconfiguring | Reconfigured) => Step::Wait,
        (Goal::Prepare, Closed, _) => Step::Write(Initialising),
        // An earlier user of the device has left it in use.
        (Goal::Prepare, _, _) => Step::Write(Closing),

        (Goal::Connect, Initialised | Connected, Connected) => Step::Reached,
        (Goal::Stay, Initialised | Connected, Connected | Reconfiguring | Reconfigured) => {
            Step::Wait
        }
        (Goal::Connect | Goal::Stay, Initialised | Connected, Closing) => Step::PeerClosing,
        (Goal::Connect, Initialised | Connected, Unknown | Closed) => Step::PeerClosed,
        (Goal::Connect, Initialised | Connected, _) => Step::Wait,
        // The backend began anew, or somebody made the device anew.
        (Goal::Connect | Goal::Stay, _, _) => Step::PeerClosed,

        (Goal::Close, Closed, _) => Step::Reached,
        // Nothing has been told, so there is nothing to be given back.
        (Goal::Close, Unknown | Initialising, _) => Step::Write(Closed),
        (Goal::Close, _, _) => Step::Write(Closing),
    }
}

fn backend(goal: Goal, own: XenbusState, peer: XenbusState) -> Step {
    match (goal, own, peer) {
        (Goal::Prepare, Unknown | Initialising, _) => Step::Write(InitWait),
        (Goal::Prepare, InitWait, Initialised | Connected) => Step::Reached,
        (Goal::Prepare, InitWait, Closing) => Step::Write(Closing),
        (Goal::Prepare, InitWait, _) => Step::Wait,
        // The frontend still uses what it has told us.
        (Goal::Prepare | Goal::Close, Closing, Initialised | Connected | Closing) => Step::Wait,
        (Goal::Prepare | Goal::Close, Closing, Reconfiguring | Reconfigured) => Step::Wait,
        (Goal::Prepare | Goal::Close, Closing, _) => Step::Write(Closed),
        (Goal::Prepare, Closed, Initialising) => Step::Write(InitWait),
        (Goal::Prepare, Closed, _) => Step::Wait,
        (Goal::Prepare, _, _) => Step::Write(Closing),

        (Goal::Connect, Connected, Initialised | Connected) => Step::Reached,
        (Goal::Stay, Connected, Initialised | Connected) => Step::Wait,
        (Goal::Connect | Goal::Stay, Connected, Reconfiguring | Reconfigured) => Step::Wait,
        (Goal::Connect | Goal::Stay, Connected, Closing) => Step::PeerClosing,
        (Goal::Connect | Goal::Stay, _, _) => Step::PeerClosed,

        (Goal::Close, Closed, _) => Step::Reached,
        (Goal::Close, _, _) => Step::Write(Closing),
    }
}
