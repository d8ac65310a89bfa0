//! Which devices there are: told now, and whenever one is plugged or unplugged.

use super::machine::Side;
use crate::xenstore::{StoreError, Watch, Xenstore};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use xen_abi::DomId;
use xen_abi::xs_wire::decimal;

/// Most devices of a class that are looked at.
pub const DEVICES_MAX: usize = 256;

/// A device of a class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The domain that uses it; [`DomId::SELF`] for a device of our own.
    pub frontend: DomId,
    /// Its number.
    pub id: u32,
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// There is a new device.
    Added(Place),
    /// A device is gone.
    Removed(Place),
}

/// Follows the devices of one class. A device that was replaced between two looks is told by
/// itself, as [`super::Event::Closed`].
pub struct Discovery {
    store: Xenstore,
    side: Side,
    path: String,
    watch: Watch,
    /// Whether the watch has fired since the last look.
    due: bool,
    known: Vec<Place>,
    changes: VecDeque<Change>,
}

impl Discovery {
    /// The devices of `class` that we use.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn frontends(store: &Xenstore, class: &str) -> Result<Self, StoreError> {
        Self::new(store, Side::Frontend, format!("device/{class}")).await
    }

    /// The devices of `class` that we provide.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn backends(store: &Xenstore, class: &str) -> Result<Self, StoreError> {
        Self::new(store, Side::Backend, format!("backend/{class}")).await
    }

    async fn new(store: &Xenstore, side: Side, path: String) -> Result<Self, StoreError> {
        let watch = store.watch(&path).await?;
        let (known, changes) = (Vec::new(), VecDeque::new());
        Ok(Self { store: store.clone(), side, path, watch, due: false, known, changes })
    }

    /// Waits for the next change. Those that are there at the beginning are told first.
    ///
    /// # Cancellation
    ///
    /// Safe: a change that was not told will be.
    pub async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(change);
            }
            if !self.due {
                self.watch.next().await?;
                self.watch.forget();
                self.due = true;
            }
            self.look().await?;
            self.due = false;
        }
    }

    /// Those that are there now.
    ///
    /// # Cancellation
    ///
    /// Safe.
    pub async fn list(&self) -> Result<Vec<Place>, StoreError> {
        let mut places = Vec::new();
        match self.side {
            Side::Frontend => self.collect(&self.path, DomId::SELF, &mut places).await?,
            Side::Backend => {
                for name in self.directory(&self.path).await? {
                    let domain = decimal(name.as_bytes()).and_then(|n| u16::try_from(n).ok());
                    if let Some(domain) = domain {
                        let path = format!("{}/{name}", self.path);
                        self.collect(&path, DomId(domain), &mut places).await?;
                    }
                }
            }
        }
        Ok(places)
    }

    /// Adds the devices below `path` whose directories are complete.
    async fn collect(
        &self,
        path: &str,
        frontend: DomId,
        places: &mut Vec<Place>,
    ) -> Result<(), StoreError> {
        for name in self.directory(path).await? {
            let id = decimal(name.as_bytes()).and_then(|id| u32::try_from(id).ok());
            let Some(id) = id.filter(|_| places.len() < DEVICES_MAX) else { continue };
            match self.store.read(&format!("{path}/{name}/{}", self.side.link())).await {
                Ok(_) => places.push(Place { frontend, id }),
                // Not yet, or not any more.
                Err(StoreError::NO_ENTRY) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn directory(&self, path: &str) -> Result<Vec<String>, StoreError> {
        match self.store.directory(path).await {
            Err(StoreError::NO_ENTRY) => Ok(Vec::new()),
            names => names,
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let places = self.list().await?;
        let gone = self.known.iter().filter(|place| !places.contains(place));
        let new = places.iter().filter(|place| !self.known.contains(place));
        self.changes.extend(gone.map(|place| Change::Removed(*place)));
        self.changes.extend(new.map(|place| Change::Added(*place)));
        self.known = places;
        Ok(())
    }
}
