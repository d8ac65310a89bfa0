//! The watches of a connection: what each waits for, and what has changed.
//!
//! Nothing runs when an event arrives; the changed path is put down until someone asks. A path that
//! is already there is not put down twice, and of more than [`CHANGES_MAX`] nothing is kept but
//! that something changed, so that no flood of events takes memory.

use super::error::StoreError;
use super::protocol::Wakers;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use xen_abi::xs_wire::{StorePath, decimal};

/// Most paths that are put down for one watch.
pub const CHANGES_MAX: usize = 8;

/// Names a watch to the store. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(pub u32);

struct Entry {
    token: Token,
    path: String,
    /// Whether the store has it; or why not.
    registered: Result<bool, StoreError>,
    changed: Vec<String>,
    waker: Option<Waker>,
}

impl Entry {
    fn wake(&mut self, wakers: &mut Wakers) {
        wakers.wake.extend(self.waker.take());
    }
}

/// All watches.
#[derive(Default)]
pub(super) struct Watches {
    entries: Vec<Entry>,
    last_token: u32,
}

impl Watches {
    /// A new one, not registered yet.
    pub fn add(&mut self, path: &str) -> Token {
        self.last_token = self.last_token.wrapping_add(1);
        let token = Token(self.last_token);
        let (changed, waker) = (Vec::new(), None);
        self.entries.push(Entry {
            token,
            path: path.into(),
            registered: Ok(false),
            changed,
            waker,
        });
        token
    }

    pub fn remove(&mut self, token: Token, wakers: &mut Wakers) -> Option<String> {
        let at = self.entries.iter().position(|entry| entry.token == token)?;
        let entry = self.entries.swap_remove(at);
        wakers.old.extend(entry.waker);
        Some(entry.path)
    }

    /// All of them, to be registered with a new connection.
    pub fn renew(&mut self) -> Vec<(Token, String)> {
        for entry in self.entries.iter_mut().filter(|entry| entry.registered.is_err()) {
            entry.registered = Ok(false);
        }
        self.entries.iter().map(|entry| (entry.token, entry.path.clone())).collect()
    }

    fn find(&mut self, token: Token) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.token == token)
    }

    /// What the store says of a registration.
    pub fn registered(
        &mut self,
        token: Token,
        outcome: Result<(), StoreError>,
        wakers: &mut Wakers,
    ) {
        if let Some(entry) = self.find(token) {
            entry.registered = outcome.map(|()| true);
            entry.wake(wakers);
        }
    }

    /// No watch will ever fire again.
    pub fn fail(&mut self, error: StoreError, wakers: &mut Wakers) {
        for entry in &mut self.entries {
            entry.registered = Err(error);
            entry.wake(wakers);
        }
    }

    /// An event. Tokens that we do not know are of watches that are gone, ours or an earlier
    /// kernel's.
    pub fn event(&mut self, path: &[u8], token: &[u8], wakers: &mut Wakers) {
        let token = decimal(token).and_then(|token| u32::try_from(token).ok());
        let Some(entry) = token.and_then(|token| self.find(Token(token))) else { return };
        let path = core::str::from_utf8(path).ok().filter(|path| lies_within(path, &entry.path));
        let path = path.unwrap_or(&entry.path);
        if !entry.changed.iter().any(|changed| changed == path) {
            let (mut path, full) = (path, entry.changed.len() >= CHANGES_MAX);
            if full {
                entry.changed.clear();
                path = &entry.path;
            }
            entry.changed.push(path.into());
        }
        entry.wake(wakers);
    }

    /// What has changed so far is not to be told any more.
    pub fn forget(&mut self, token: Token) {
        if let Some(entry) = self.find(token) {
            entry.changed.clear();
        }
    }

    pub fn poll_registered(
        &mut self,
        token: Token,
        waker: &Waker,
        wakers: &mut Wakers,
    ) -> Poll<Result<(), StoreError>> {
        let Some(entry) = self.find(token) else { return Poll::Pending };
        match entry.registered {
            Ok(true) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
            Ok(false) => {
                wakers.park(&mut entry.waker, waker);
                Poll::Pending
            }
        }
    }

    /// The path that changed first of those that nobody has asked for yet.
    pub fn poll_changed(
        &mut self,
        token: Token,
        waker: &Waker,
        wakers: &mut Wakers,
    ) -> Poll<Result<String, StoreError>> {
        let Some(entry) = self.find(token) else { return Poll::Pending };
        if !entry.changed.is_empty() {
            return Poll::Ready(Ok(entry.changed.remove(0)));
        }
        if let Err(error) = entry.registered {
            return Poll::Ready(Err(error));
        }
        wakers.park(&mut entry.waker, waker);
        Poll::Pending
    }
}

/// Whether the path of an event can belong to a watch.
fn lies_within(path: &str, watched: &str) -> bool {
    match (StorePath::new(path), StorePath::new(watched)) {
        (Ok(path), Ok(watched)) => path.is_within(watched),
        _ => false,
    }
}
