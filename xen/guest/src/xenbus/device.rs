//! What both ends of a device have in common: looking at the two states, and carrying out the
//! steps.

use super::error::{DeviceError, KeyFault};
use super::keys::{Key, Keys};
use super::machine::{Goal, Side, Step};
use crate::xenstore::{Nodes, StoreError, TRANSACTION_TRIES, Transaction, Watch, Xenstore};
use alloc::format;
use alloc::string::String;
use core::future::poll_fn;
use core::task::Poll;
use xen_abi::DomId;
use xen_abi::xenbus::XenbusState;
use xen_abi::xs_wire::{StorePath, decimal, is_node_name};

/// Most bytes of the path to the other end.
const LINK_MAX_BYTES: usize = 256;

/// What happens to a device that is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The other end, or the toolstack, asks to close: finish what is under way, then
    /// [`Device::close`].
    Closing,
    /// The other end is gone or has begun anew: nothing that is under way will be finished.
    /// [`Device::close`], then prepare again if the device is still wanted.
    Closed,
    /// The device does not exist any more.
    Gone,
    /// This key of the other end may have changed.
    Changed(String),
}

/// One end of a device, ours.
pub struct Device {
    store: Xenstore,
    side: Side,
    /// Our end's directory, relative to our domain's.
    path: String,
    /// The last part of it.
    id: u32,
    peer: Peer,
    /// Fires when the link to the other end changes; for a backend, at any of its keys.
    own_watch: Watch,
    peer_watch: Watch,
}

/// The other end.
struct Peer {
    path: String,
    domain: DomId,
}

/// The two states.
#[derive(Clone, Copy)]
struct Seen {
    own: XenbusState,
    peer: XenbusState,
}

impl Device {
    pub(super) async fn open(
        store: &Xenstore,
        side: Side,
        path: String,
        id: u32,
    ) -> Result<Self, DeviceError> {
        let watched = match side {
            // Most of a frontend's keys are written by us.
            Side::Frontend => format!("{path}/{}", side.link()),
            Side::Backend => path.clone(),
        };
        let own_watch = store.watch(&watched).await?;
        let link = link(store, side, &path).await?;
        let peer = find_peer(store, side, &path, id, link).await?;
        let peer_watch = store.watch(&peer.path).await?;
        Ok(Self { store: store.clone(), side, path, id, peer, own_watch, peer_watch })
    }

    /// The keys of our own end.
    pub fn own(&self) -> Keys<'_> {
        Keys { nodes: &self.store, path: &self.path }
    }

    /// The keys of the other end, written by another domain.
    pub fn peer(&self) -> Keys<'_> {
        Keys { nodes: &self.store, path: &self.peer.path }
    }

    /// The domain of the other end.
    pub fn peer_domain(&self) -> DomId {
        self.peer.domain
    }

    /// Goes towards `goal` until it is reached, or until the other end closes. `keys` are written
    /// together with the state InitWait.
    pub(super) async fn drive(&mut self, goal: Goal, keys: &[Key<'_>]) -> Result<(), DeviceError> {
        loop {
            let seen = self.look(goal).await?;
            let step = self.next_step(goal, seen).await?;
            match step {
                Step::Wait => drop(self.changed().await?),
                Step::Write(state) => {
                    let keys = if state == XenbusState::InitWait { keys } else { &[] };
                    self.write_if(goal, step, keys, state).await?;
                }
                Step::Reached => return Ok(()),
                Step::PeerClosing | Step::PeerClosed => return Err(DeviceError::Closing),
            }
        }
    }

    /// The step of the table, unless the toolstack is about to remove the device.
    async fn next_step(&self, goal: Goal, seen: Seen) -> Result<Step, DeviceError> {
        let step = self.side.step(goal, seen.own, seen.peer);
        match (self.side, goal, step) {
            (Side::Backend, Goal::Close, _) => Ok(step),
            (Side::Backend, _, _) if is_offline(self.own()).await? => Ok(Step::PeerClosing),
            (Side::Frontend, Goal::Prepare, Step::Write(XenbusState::Initialising))
                if is_offline(self.peer()).await? =>
            {
                Ok(Step::Wait)
            }
            _ => Ok(step),
        }
    }

    /// Waits until something happens to the device while it is in use.
    ///
    /// # Errors
    ///
    /// A state of the other end that makes no sense, or a store that does not work.
    ///
    /// # Cancellation
    ///
    /// Safe, but a [`Event::Changed`] may be lost.
    pub async fn event(&mut self) -> Result<Event, DeviceError> {
        loop {
            let seen = match self.look(Goal::Stay).await {
                Err(DeviceError::Gone) => return Ok(Event::Gone),
                seen => seen?,
            };
            match self.next_step(Goal::Stay, seen).await? {
                Step::PeerClosing => return Ok(Event::Closing),
                Step::PeerClosed => return Ok(Event::Closed),
                _ => {}
            }
            if let Some(key) = self.changed().await? {
                return Ok(Event::Changed(key));
            }
        }
    }

    /// Closes the device, whatever state it is in, and waits until the other end has closed it too
    /// or is gone. From then on it uses nothing of ours any more that it had been given.
    ///
    /// A peer that does not answer leaves this pending: the caller sets the limit.
    ///
    /// # Cancellation
    ///
    /// Safe: to be called again.
    pub async fn close(&mut self) -> Result<(), DeviceError> {
        match self.drive(Goal::Close, &[]).await {
            Err(DeviceError::Gone) => Ok(()),
            other => other,
        }
    }

    /// Writes a text for humans to where the toolstack's users look for it, and closes the device.
    ///
    /// # Cancellation
    ///
    /// As for [`Self::close`].
    pub async fn fail(&mut self, error: &DeviceError) -> Result<(), DeviceError> {
        let path = format!("error/{}/error", self.path);
        // To be told is good; not to be told must not keep the device open.
        let _ = self.store.write(&path, format!("{error}").as_bytes()).await;
        self.close().await
    }

    /// Writes keys and a new state, provided that the goal is reached and still is when they take
    /// effect.
    pub(super) async fn tell(
        &self,
        goal: Goal,
        keys: &[Key<'_>],
        state: XenbusState,
    ) -> Result<(), DeviceError> {
        let told = self.write_if(goal, Step::Reached, keys, state).await?;
        if told { Ok(()) } else { Err(DeviceError::Closing) }
    }

    /// Writes keys and a new state in one transaction, provided that `step` is what both states
    /// call for then; whether it was. To decide and to write apart would let two ends chase each
    /// other for ever.
    async fn write_if(
        &self,
        goal: Goal,
        step: Step,
        keys: &[Key<'_>],
        state: XenbusState,
    ) -> Result<bool, DeviceError> {
        // Not by `Xenstore::transaction`: the compiler does not see that a future with an async
        // closure inside is `Send`, and drivers are tasks.
        for _ in 0..TRANSACTION_TRIES {
            let transaction = self.store.begin().await?;
            let written = self.write_in(&transaction, (goal, step), keys, state).await;
            let written = match written {
                Ok(written) => {
                    transaction.commit().await.map(|()| written).map_err(DeviceError::from)
                }
                Err(error) => Err(error),
            };
            if written != Err(DeviceError::Store(StoreError::AGAIN)) {
                return written;
            }
        }
        Err(DeviceError::Store(StoreError::AGAIN))
    }

    async fn write_in(
        &self,
        transaction: &Transaction,
        (goal, step): (Goal, Step),
        keys: &[Key<'_>],
        state: XenbusState,
    ) -> Result<bool, DeviceError> {
        let seen = self.states(transaction, goal).await?;
        if self.side.step(goal, seen.own, seen.peer) != step {
            return Ok(false);
        }
        for (name, value) in keys {
            let path = format!("{}/{name}", self.path);
            transaction.write(&path, value.text().as_bytes()).await?;
        }
        let path = format!("{}/state", self.path);
        transaction.write(&path, state.text().as_bytes()).await?;
        Ok(true)
    }

    /// Reads both states. A link that leads elsewhere than before is followed when a new beginning
    /// is made anyway.
    async fn look(&mut self, goal: Goal) -> Result<Seen, DeviceError> {
        if goal == Goal::Prepare {
            let link = link(&self.store, self.side, &self.path).await?;
            if link != self.peer.path {
                self.peer = find_peer(&self.store, self.side, &self.path, self.id, link).await?;
                self.peer_watch = self.store.watch(&self.peer.path).await?;
            }
        }
        self.states(&self.store, goal).await
    }

    /// Reads both states. A link that leads elsewhere than before means that the other end is gone.
    async fn states(&self, nodes: &Nodes, goal: Goal) -> Result<Seen, DeviceError> {
        let link = link(nodes, self.side, &self.path).await?;
        let (own, peer) = (Keys { nodes, path: &self.path }, Keys { nodes, path: &self.peer.path });
        // What an earlier user left may be anything.
        let own = match own.state().await {
            Err(DeviceError::Key { .. }) => XenbusState::Unknown,
            own => own?,
        };
        let peer = match peer.state().await {
            _ if link != self.peer.path => XenbusState::Unknown,
            // To be closed, a device needs no sensible peer.
            Err(DeviceError::Key { .. }) if goal == Goal::Close => XenbusState::Unknown,
            peer => peer?,
        };
        Ok(Seen { own, peer })
    }

    /// Waits until something may have changed; the name of the key, if it is one of the other end's
    /// and not its state.
    async fn changed(&mut self) -> Result<Option<String>, DeviceError> {
        let (own_watch, peer_watch) = (&mut self.own_watch, &mut self.peer_watch);
        let path = poll_fn(|context| match own_watch.poll_next(context) {
            Poll::Ready(path) => Poll::Ready(path.map(|_| None)),
            Poll::Pending => peer_watch.poll_next(context).map(|path| path.map(Some)),
        })
        .await?;
        if path.is_none() {
            self.own_watch.forget();
        }
        let key = path.as_deref().and_then(|path| path.strip_prefix(self.peer.path.as_str()));
        let key = key.and_then(|key| key.strip_prefix('/')).filter(|key| *key != "state");
        Ok(key.map(String::from))
    }
}

impl Side {
    /// The key that holds the path of the other end.
    pub(super) fn link(self) -> &'static str {
        match self {
            Self::Frontend => "backend",
            Self::Backend => "frontend",
        }
    }

    /// The key that holds the other end's domain.
    fn link_domain(self) -> &'static str {
        match self {
            Self::Frontend => "backend-id",
            Self::Backend => "frontend-id",
        }
    }
}

/// Where the other end is, by our own directory; [`DeviceError::Gone`] if it does not say.
async fn link(nodes: &Nodes, side: Side, path: &str) -> Result<String, DeviceError> {
    let own = Keys { nodes, path };
    own.text(side.link(), LINK_MAX_BYTES).await?.ok_or(DeviceError::Gone)
}

async fn find_peer(
    store: &Xenstore,
    side: Side,
    path: &str,
    id: u32,
    link: String,
) -> Result<Peer, DeviceError> {
    let own = Keys { nodes: store, path };
    let number = own.required(side.link_domain()).await?;
    let domain = u16::try_from(number).map(DomId);
    let domain = domain.map_err(|_| own.fault(side.link_domain(), KeyFault::Malformed))?;
    let myself = store.domid().await?;
    if !leads_to_peer(&link, side, domain, myself, id) {
        return Err(own.fault(side.link(), KeyFault::Malformed));
    }
    Ok(Peer { path: link, domain })
}

/// Whether a path is that of the other end: `/local/domain/BACK/backend/CLASS/FRONT/ID` or
/// `/local/domain/FRONT/device/CLASS/ID`. The class may differ from ours: a `vbd` can have a
/// backend of the class `qdisk`.
fn leads_to_peer(link: &str, side: Side, domain: DomId, myself: DomId, id: u32) -> bool {
    let is = |part: Option<&str>, number: u32| {
        part.and_then(|part| decimal(part.as_bytes())) == Some(u64::from(number))
    };
    let Some(rest) = link.strip_prefix("/local/domain/") else { return false };
    let mut parts = rest.split('/');
    let found = is(parts.next(), domain.0.into())
        && parts.next() == Some(if side == Side::Frontend { "backend" } else { "device" })
        && parts.next().is_some_and(is_node_name)
        && (side == Side::Backend || is(parts.next(), myself.0.into()))
        && is(parts.next(), id);
    found && parts.next().is_none() && StorePath::new(link).is_ok()
}

/// Whether the toolstack is about to remove a device, by the keys of its backend.
async fn is_offline(backend: Keys<'_>) -> Result<bool, DeviceError> {
    Ok(backend.number("online").await? == Some(0))
}
