//! What the fake store does for each kind of request (Xen: docs/misc/xenstore.txt).

use super::tree::View;
use super::{Connection, Transaction, Watch, World, event, home};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use xen_abi::xs_wire::{ErrorName, MessageType, PAYLOAD_MAX_BYTES, Permission, StorePath};

/// A request as it came.
pub(super) struct Request<'a> {
    pub kind: MessageType,
    pub transaction: u32,
    pub payload: &'a [u8],
}

impl World {
    /// Does what is asked; the payload of the reply.
    pub(super) fn handle(&mut self, key: u32, request: &Request<'_>) -> Result<Vec<u8>, ErrorName> {
        match request.kind {
            MessageType::WATCH => self.watch(key, request.payload),
            MessageType::UNWATCH => self.unwatch(key, request.payload),
            MessageType::TRANSACTION_START => self.start(key, request),
            MessageType::TRANSACTION_END => self.end(key, request),
            MessageType::RESET_WATCHES => {
                let connection = self.connection(key)?;
                connection.watches.clear();
                connection.transactions.clear();
                Ok(ok())
            }
            _ => self.on_node(key, request),
        }
    }

    fn connection(&mut self, key: u32) -> Result<&mut Connection, ErrorName> {
        self.connections.get_mut(&key).ok_or(ErrorName::Io)
    }

    fn on_node(&mut self, key: u32, request: &Request<'_>) -> Result<Vec<u8>, ErrorName> {
        let domain = self.connection(key)?.domain;
        let (path, rest) = cut(request.payload)?;
        let path = absolute(&path, &home(domain))?;
        let act = |view: &mut View<'_>| node_request(view, request.kind, &path, rest);
        match request.transaction {
            0 => self.outside(domain, act),
            transaction => self.inside(key, transaction, act),
        }
    }

    fn watch(&mut self, key: u32, payload: &[u8]) -> Result<Vec<u8>, ErrorName> {
        let quota = self.quota.watches;
        let connection = self.connection(key)?;
        let (given, token) = cut(payload)?;
        let token = token.strip_suffix(b"\0").ok_or(ErrorName::Invalid)?;
        let home = home(connection.domain);
        let path = if given.starts_with('@') { given.clone() } else { absolute(&given, &home)? };
        let hidden = path.len() - given.len();
        if connection.watches.iter().any(|watch| watch.path == path && watch.token == token) {
            return Err(ErrorName::Exists);
        }
        if connection.watches.len() >= quota {
            return Err(ErrorName::NoSpace);
        }
        connection.events.push_back(event(&given, token));
        connection.watches.push(Watch { path, hidden, token: token.into() });
        Ok(ok())
    }

    fn unwatch(&mut self, key: u32, payload: &[u8]) -> Result<Vec<u8>, ErrorName> {
        let connection = self.connection(key)?;
        let (given, token) = cut(payload)?;
        let token = token.strip_suffix(b"\0").ok_or(ErrorName::Invalid)?;
        let path = absolute(&given, &home(connection.domain))?;
        let watches = &mut connection.watches;
        let at = watches.iter().position(|watch| watch.path == path && watch.token == token);
        watches.remove(at.ok_or(ErrorName::NoEntry)?);
        Ok(ok())
    }

    fn start(&mut self, key: u32, request: &Request<'_>) -> Result<Vec<u8>, ErrorName> {
        let (quota, nodes) = (self.quota.transactions, self.nodes.clone());
        let connection = self.connection(key)?;
        if request.transaction != 0 || request.payload != b"\0" {
            return Err(ErrorName::Invalid);
        }
        if connection.transactions.len() >= quota {
            return Err(ErrorName::NoSpace);
        }
        connection.last_transaction += 1;
        let transaction = Transaction {
            origin: nodes.clone(),
            nodes,
            seen: BTreeSet::new(),
            changed: Vec::new(),
        };
        connection.transactions.insert(connection.last_transaction, transaction);
        Ok(format!("{}\0", connection.last_transaction).into_bytes())
    }

    fn end(&mut self, key: u32, request: &Request<'_>) -> Result<Vec<u8>, ErrorName> {
        let ended = self.connection(key)?.transactions.remove(&request.transaction);
        let transaction = ended.ok_or(ErrorName::NoEntry)?;
        match request.payload {
            b"T\0" => self.commit(transaction)?,
            b"F\0" => {}
            _ => return Err(ErrorName::Invalid),
        }
        Ok(ok())
    }
}

fn node_request(
    view: &mut View<'_>,
    kind: MessageType,
    path: &str,
    rest: &[u8],
) -> Result<Vec<u8>, ErrorName> {
    let reply = match kind {
        MessageType::READ => view.read(path)?,
        MessageType::WRITE => return view.write(path, rest).map(|()| ok()),
        MessageType::MKDIR => return view.mkdir(path).map(|()| ok()),
        MessageType::RM => return view.rm(path).map(|()| ok()),
        MessageType::DIRECTORY => list(&view.directory(path)?.0),
        MessageType::DIRECTORY_PART => {
            let (names, generation) = view.directory(path)?;
            part(&list(&names), generation, rest)?
        }
        MessageType::GET_PERMS => {
            let texts = view.permissions(path)?;
            list(&texts.iter().map(|permission| format!("{permission}")).collect::<Vec<_>>())
        }
        MessageType::SET_PERMS => {
            let texts = rest.strip_suffix(b"\0").ok_or(ErrorName::Invalid)?;
            let permissions = texts.split(|byte| *byte == 0).map(Permission::parse);
            let permissions = permissions.collect::<Option<_>>().ok_or(ErrorName::Invalid)?;
            return view.set_permissions(path, permissions).map(|()| ok());
        }
        _ => return Err(ErrorName::NotImplemented),
    };
    if reply.len() > PAYLOAD_MAX_BYTES { Err(ErrorName::TooBig) } else { Ok(reply) }
}

/// The part of a list of names that begins at an offset and fits into a reply.
fn part(names: &[u8], generation: u64, rest: &[u8]) -> Result<Vec<u8>, ErrorName> {
    let offset = core::str::from_utf8(rest).ok().and_then(|text| text.strip_suffix('\0'));
    let offset: usize = offset.and_then(|text| text.parse().ok()).ok_or(ErrorName::Invalid)?;
    let names = names.get(offset..).ok_or(ErrorName::Invalid)?;
    let mut reply = format!("{generation}\0").into_bytes();
    let room = PAYLOAD_MAX_BYTES - reply.len() - 1;
    let fits = names.len().min(room);
    let whole = names[..fits].iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1);
    reply.extend(&names[..whole]);
    if whole == names.len() {
        reply.push(0);
    }
    Ok(reply)
}

fn ok() -> Vec<u8> {
    b"OK\0".to_vec()
}

fn list(names: &[String]) -> Vec<u8> {
    names.iter().flat_map(|name| name.bytes().chain([0])).collect()
}

/// Splits off the first text.
fn cut(payload: &[u8]) -> Result<(String, &[u8]), ErrorName> {
    let nul = payload.iter().position(|byte| *byte == 0).ok_or(ErrorName::Invalid)?;
    let text = String::from_utf8(payload[..nul].into()).map_err(|_| ErrorName::Invalid)?;
    Ok((text, &payload[nul + 1..]))
}

fn absolute(path: &str, home: &str) -> Result<String, ErrorName> {
    let checked = StorePath::new(path).map_err(|_| ErrorName::Invalid)?;
    if checked.is_absolute() { Ok(path.into()) } else { Ok(format!("{home}/{path}")) }
}
