//! The nodes of the fake store: values, permissions, generations (Xen: docs/misc/xenstore.txt).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use xen_abi::DomId;
use xen_abi::xs_wire::{Access, ErrorName, Permission};

/// Limits for a guest: those of the C daemon.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Nodes that a domain owns.
    pub nodes: usize,
    /// Watches.
    pub watches: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Open transactions.
    pub transactions: usize,
    /// Permissions of a node.
    pub permissions: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self { nodes: 1000, watches: 128, value_bytes: 2048, transactions: 10, permissions: 5 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Vec<u8>,
    pub permissions: Vec<Permission>,
    /// Changes with every change of the node or of the list of its children.
    pub generation: u64,
}

/// A change that watches may be told of.
pub(super) struct Changed {
    pub path: String,
    /// Whether only watches of this very node are.
    pub exact: bool,
}

/// All nodes by their absolute path; the root is "/".
pub(super) type Nodes = BTreeMap<String, Node>;

/// What one request does to the nodes, on behalf of one domain.
pub(super) struct View<'a> {
    pub nodes: &'a mut Nodes,
    pub domain: DomId,
    pub quota: Quota,
    pub generation: &'a mut u64,
    /// Paths that the request depends on.
    pub seen: &'a mut BTreeSet<String>,
    /// Paths that it changed.
    pub changed: &'a mut Vec<Changed>,
}

pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// Whether `path` is `ancestor` or lies below it.
pub(super) fn is_within(path: &str, ancestor: &str) -> bool {
    let rest = path.strip_prefix(ancestor);
    ancestor == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn access(node: &Node, domain: DomId) -> Access {
    let owner = node.permissions[0];
    if domain == DomId::ZERO || owner.domain == domain {
        return Access::Both;
    }
    let own = node.permissions[1..].iter().find(|permission| permission.domain == domain);
    own.unwrap_or(&owner).access
}

impl View<'_> {
    /// The node for reading. A missing node is only told to who may read its nearest ancestor.
    fn readable(&mut self, path: &str) -> Result<&Node, ErrorName> {
        self.seen.insert(path.into());
        let mut at = path;
        while !self.nodes.contains_key(at) {
            at = parent(at);
        }
        let allowed = access(&self.nodes[at], self.domain).reads();
        match self.nodes.get(path) {
            _ if !allowed => Err(ErrorName::Access),
            Some(node) => Ok(node),
            None => Err(ErrorName::NoEntry),
        }
    }

    /// Checks that the node may be written, or created below its nearest ancestor, which is
    /// returned.
    fn writable(&mut self, path: &str) -> Result<String, ErrorName> {
        self.seen.insert(path.into());
        let mut at = path;
        while !self.nodes.contains_key(at) {
            at = parent(at);
        }
        let allowed = access(&self.nodes[at], self.domain).writes();
        if allowed { Ok(at.into()) } else { Err(ErrorName::Access) }
    }

    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, ErrorName> {
        self.readable(path).map(|node| node.value.clone())
    }

    /// The children's names, and the node's generation.
    pub fn directory(&mut self, path: &str) -> Result<(Vec<String>, u64), ErrorName> {
        let generation = self.readable(path)?.generation;
        let below = self.nodes.keys().filter(|key| *key != "/" && parent(key) == path);
        let names = below.filter_map(|key| key.rsplit('/').next().map(String::from));
        Ok((names.collect(), generation))
    }

    pub fn permissions(&mut self, path: &str) -> Result<Vec<Permission>, ErrorName> {
        self.readable(path).map(|node| node.permissions.clone())
    }

    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<(), ErrorName> {
        if self.domain != DomId::ZERO && value.len() > self.quota.value_bytes {
            return Err(ErrorName::NoSpace);
        }
        self.create(path)?;
        let generation = self.next_generation();
        if let Some(node) = self.nodes.get_mut(path) {
            node.value = value.into();
            node.generation = generation;
        }
        self.changed.push(Changed { path: path.into(), exact: false });
        Ok(())
    }

    pub fn mkdir(&mut self, path: &str) -> Result<(), ErrorName> {
        if self.create(path)? {
            self.changed.push(Changed { path: path.into(), exact: false });
        }
        Ok(())
    }

    /// Creates the node and its parents, with the permissions of the nearest ancestor but owned by
    /// the domain; whether it was missing.
    fn create(&mut self, path: &str) -> Result<bool, ErrorName> {
        let ancestor = self.writable(path)?;
        if ancestor == path {
            return Ok(false);
        }
        let mut permissions = self.nodes[&ancestor].permissions.clone();
        if self.domain != DomId::ZERO {
            permissions[0].domain = self.domain;
        }
        let mut missing = Vec::new();
        let mut at = path;
        while at != ancestor {
            missing.push(String::from(at));
            at = parent(at);
        }
        let owned = self.nodes.values().filter(|n| n.permissions[0].domain == self.domain).count();
        if self.domain != DomId::ZERO && owned + missing.len() > self.quota.nodes {
            return Err(ErrorName::NoSpace);
        }
        self.touch(&ancestor);
        for path in missing {
            let generation = self.next_generation();
            let node = Node { value: Vec::new(), permissions: permissions.clone(), generation };
            self.seen.insert(path.clone());
            self.nodes.insert(path, node);
        }
        Ok(true)
    }

    pub fn rm(&mut self, path: &str) -> Result<(), ErrorName> {
        if path == "/" {
            return Err(ErrorName::Invalid);
        }
        let ancestor = self.writable(path)?;
        if ancestor != path {
            let parent_is_there = ancestor == parent(path);
            return if parent_is_there { Ok(()) } else { Err(ErrorName::NoEntry) };
        }
        let gone: Vec<String> =
            self.nodes.keys().filter(|key| is_within(key, path)).cloned().collect();
        for gone in gone {
            self.nodes.remove(&gone);
            self.seen.insert(gone.clone());
            // One event for the node that is removed; those below concern their own watches alone.
            let below = gone != path;
            self.changed.push(Changed { path: gone, exact: below });
        }
        self.touch(parent(path));
        Ok(())
    }

    pub fn set_permissions(
        &mut self,
        path: &str,
        permissions: Vec<Permission>,
    ) -> Result<(), ErrorName> {
        let generation = self.next_generation();
        let (domain, quota) = (self.domain, self.quota);
        self.readable(path)?;
        let node = self.nodes.get_mut(path).ok_or(ErrorName::NoEntry)?;
        let owner = node.permissions[0].domain;
        if domain != DomId::ZERO {
            if owner != domain {
                return Err(ErrorName::Access);
            }
            if permissions.first().is_some_and(|first| first.domain != owner) {
                return Err(ErrorName::NotPermitted);
            }
            if permissions.len() > quota.permissions {
                return Err(ErrorName::NoSpace);
            }
        }
        if permissions.is_empty() {
            return Err(ErrorName::Invalid);
        }
        node.permissions = permissions;
        node.generation = generation;
        self.changed.push(Changed { path: path.into(), exact: false });
        Ok(())
    }

    /// The list of a node's children has changed: a change for transactions, but not for watches.
    fn touch(&mut self, path: &str) {
        let generation = self.next_generation();
        self.seen.insert(path.into());
        if let Some(node) = self.nodes.get_mut(path) {
            node.generation = generation;
        }
    }

    fn next_generation(&mut self) -> u64 {
        *self.generation += 1;
        *self.generation
    }
}
