//! A xenstore for tests: a tree with permissions, quotas, watches and transactions, and a server
//! that speaks the wire protocol on the bytes of the ring page.
//!
//! ```text
//!   client under test ── SharedPage ── StoreServer ──┐
//!   client under test ── SharedPage ── StoreServer ──┴── FakeStore ── the test itself, as dom0
//! ```

mod guest;
mod requests;
mod server;
mod tree;

pub use guest::Guest;
pub use server::StoreServer;
pub use tree::Quota;

use crate::page::SharedPage;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use spin::Mutex;
use tree::{Changed, Node, Nodes, View, is_within};
use xen_abi::DomId;
use xen_abi::xs_wire::{Access, ErrorName, Permission};

/// A watch of a connection.
struct Watch {
    /// What it watches, absolute.
    path: String,
    /// The part of `path` that events do not repeat: those of a relative watch are relative.
    hidden: usize,
    token: Vec<u8>,
}

/// A transaction of a connection: the nodes as they were, and as they are in it.
struct Transaction {
    origin: Nodes,
    nodes: Nodes,
    seen: BTreeSet<String>,
    changed: Vec<Changed>,
}

/// What the store keeps for each ring.
struct Connection {
    domain: DomId,
    watches: Vec<Watch>,
    transactions: BTreeMap<u32, Transaction>,
    last_transaction: u32,
    /// Payloads of events that have not been sent.
    events: VecDeque<Vec<u8>>,
}

struct World {
    nodes: Nodes,
    generation: u64,
    connections: BTreeMap<u32, Connection>,
    last_connection: u32,
    quota: Quota,
}

/// The store. Clones are handles to the same one. Its methods act as dom0 and need no ring.
#[derive(Clone)]
pub struct FakeStore(Arc<Mutex<World>>);

impl Default for FakeStore {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeStore {
    /// A store with a root that dom0 owns.
    pub fn new() -> Self {
        let permissions = Vec::from([Permission { domain: DomId::ZERO, access: Access::Read }]);
        let root = Node { value: Vec::new(), permissions, generation: 0 };
        Self(Arc::new(Mutex::new(World {
            nodes: BTreeMap::from([(String::from("/"), root)]),
            generation: 1,
            connections: BTreeMap::new(),
            last_connection: 0,
            quota: Quota::default(),
        })))
    }

    /// Changes the limits.
    pub fn set_quota(&self, quota: Quota) {
        self.0.lock().quota = quota;
    }

    /// Makes a domain's directory as libxl does, and serves its ring.
    pub fn add_domain(&self, domain: DomId, page: SharedPage) -> StoreServer {
        let home = home(domain);
        let number = format!("{}", domain.0);
        let own = [Permission { domain, access: Access::None }];
        let dom0 = Permission { domain: DomId::ZERO, access: Access::None };
        let readable = [dom0, Permission { domain, access: Access::Read }];
        let nodes = [
            ("", "", &readable[..]),
            ("/domid", number.as_str(), &readable),
            ("/name", "guest", &readable),
            ("/device", "", &readable),
            ("/backend", "", &readable),
            ("/control", "", &readable),
            ("/control/shutdown", "", &own),
            ("/data", "", &own),
            ("/error", "", &own),
        ];
        for (node, value, permissions) in nodes {
            let path = format!("{home}{node}");
            self.write(&path, value);
            self.set_permissions(&path, permissions);
        }
        self.serve(domain, page)
    }

    /// Serves another ring of a domain.
    pub fn serve(&self, domain: DomId, page: SharedPage) -> StoreServer {
        let mut world = self.0.lock();
        world.last_connection += 1;
        let key = world.last_connection;
        world.connections.insert(key, Connection::new(domain));
        StoreServer::new(self.clone(), key, page)
    }

    /// Makes a device as libxl does: both ends Initialising, each readable by the other. The paths
    /// of the frontend and of the backend.
    pub fn add_device(&self, class: &str, id: u32, front: DomId, back: DomId) -> (String, String) {
        let front_path = format!("{}/device/{class}/{id}", home(front));
        let back_path = format!("{}/backend/{class}/{}/{id}", home(back), front.0);
        for (path, owner, reader) in [(&front_path, front, back), (&back_path, back, front)] {
            self.remove(path);
            self.write(path, "");
            let owner = Permission { domain: owner, access: Access::None };
            let reader = Permission { domain: reader, access: Access::Read };
            self.set_permissions(path, &[owner, reader]);
        }
        let mut keys = Vec::from([
            (format!("{front_path}/backend-id"), format!("{}", back.0)),
            (format!("{front_path}/handle"), format!("{id}")),
            (format!("{front_path}/state"), "1".into()),
            (format!("{back_path}/frontend-id"), format!("{}", front.0)),
            (format!("{back_path}/online"), "1".into()),
            (format!("{back_path}/state"), "1".into()),
        ]);
        // What discovery looks for comes last, as in a transaction.
        keys.push((format!("{front_path}/backend"), back_path.clone()));
        keys.push((format!("{back_path}/frontend"), front_path.clone()));
        for (path, value) in keys {
            let owner = self.permissions(tree::parent(&path));
            self.write(&path, &value);
            self.set_permissions(&path, &owner);
        }
        (front_path, back_path)
    }

    /// Asks for a device to be closed as `xl` does when it is detached.
    pub fn unplug(&self, back_path: &str) {
        self.write(&format!("{back_path}/online"), "0");
        self.write(&format!("{back_path}/state"), "5");
    }

    /// Sets a value.
    pub fn write(&self, path: &str, value: &str) {
        let _ = self.0.lock().outside(DomId::ZERO, |view| view.write(path, value.as_bytes()));
    }

    /// Removes a node and all below it.
    pub fn remove(&self, path: &str) {
        let _ = self.0.lock().outside(DomId::ZERO, |view| view.rm(path));
    }

    /// A value; nothing if there is no such node.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().nodes.get(path).map(|node| node.value.clone())
    }

    /// A value as text; nothing if there is no such node.
    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Sets permissions.
    pub fn set_permissions(&self, path: &str, permissions: &[Permission]) {
        let permissions = Vec::from(permissions);
        let _ = self.0.lock().outside(DomId::ZERO, |view| view.set_permissions(path, permissions));
    }

    /// A node's permissions; none if there is no such node.
    pub fn permissions(&self, path: &str) -> Vec<Permission> {
        self.0.lock().nodes.get(path).map(|node| node.permissions.clone()).unwrap_or_default()
    }

    /// Whether events wait to be sent on a connection.
    fn has_events(&self, key: u32) -> bool {
        self.0.lock().connections.get(&key).is_some_and(|c| !c.events.is_empty())
    }

    /// Watches of all connections.
    pub fn watch_count(&self) -> usize {
        self.0.lock().connections.values().map(|connection| connection.watches.len()).sum()
    }

    /// Open transactions of all connections.
    pub fn transaction_count(&self) -> usize {
        self.0.lock().connections.values().map(|connection| connection.transactions.len()).sum()
    }
}

/// A domain's own directory.
pub fn home(domain: DomId) -> String {
    format!("/local/domain/{}", domain.0)
}

impl Connection {
    fn new(domain: DomId) -> Self {
        Self {
            domain,
            watches: Vec::new(),
            transactions: BTreeMap::new(),
            last_transaction: 0,
            events: VecDeque::new(),
        }
    }
}

impl World {
    /// Does something outside of any transaction.
    fn outside<R>(
        &mut self,
        domain: DomId,
        act: impl FnOnce(&mut View<'_>) -> Result<R, ErrorName>,
    ) -> Result<R, ErrorName> {
        let (mut seen, mut changed) = (BTreeSet::new(), Vec::new());
        let result = act(&mut View {
            nodes: &mut self.nodes,
            domain,
            quota: self.quota,
            generation: &mut self.generation,
            seen: &mut seen,
            changed: &mut changed,
        });
        self.fire(&changed);
        result
    }

    /// Does something in a transaction.
    fn inside<R>(
        &mut self,
        key: u32,
        transaction: u32,
        act: impl FnOnce(&mut View<'_>) -> Result<R, ErrorName>,
    ) -> Result<R, ErrorName> {
        let quota = self.quota;
        let connection = self.connections.get_mut(&key).ok_or(ErrorName::Io)?;
        let domain = connection.domain;
        let transaction =
            connection.transactions.get_mut(&transaction).ok_or(ErrorName::NoEntry)?;
        act(&mut View {
            nodes: &mut transaction.nodes,
            domain,
            quota,
            generation: &mut self.generation,
            seen: &mut transaction.seen,
            changed: &mut transaction.changed,
        })
    }

    /// Makes a transaction's changes everybody's, unless what it saw has changed.
    fn commit(&mut self, transaction: Transaction) -> Result<(), ErrorName> {
        let generation = |nodes: &Nodes, path: &str| nodes.get(path).map(|node| node.generation);
        for path in &transaction.seen {
            if generation(&self.nodes, path) != generation(&transaction.origin, path) {
                return Err(ErrorName::Again);
            }
        }
        for path in transaction.seen {
            match transaction.nodes.get(&path) {
                Some(node) => self.nodes.insert(path, node.clone()),
                None => self.nodes.remove(&path),
            };
        }
        self.fire(&transaction.changed);
        Ok(())
    }

    fn fire(&mut self, changed: &[Changed]) {
        for connection in self.connections.values_mut() {
            for watch in &connection.watches {
                let told = |changed: &&Changed| match changed.exact {
                    true => changed.path == watch.path,
                    false => is_within(&changed.path, &watch.path),
                };
                for changed in changed.iter().filter(told) {
                    let path = &changed.path[watch.hidden..];
                    connection.events.push_back(event(path, &watch.token));
                }
            }
        }
    }
}

/// The payload of a watch event.
fn event(path: &str, token: &[u8]) -> Vec<u8> {
    [path.as_bytes(), b"\0", token, b"\0"].concat()
}
