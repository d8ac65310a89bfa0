//! The client's side of the protocol without any I/O: messages in, decisions, bytes out.
//!
//! It calls no waker. Those that are due, and those that are not needed any more, are put into
//! [`Wakers`]; whoever drives the protocol wakes or drops them when no lock is held, because either
//! may run code of the executor's that comes back here.

use super::error::{BadReply, StoreError};
use super::request::{Epoch, Fate, OutstandingRequest, Owner, Request, Scope, Ticket};
use super::watches::{Token, Watches};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::{Poll, Waker};
use xen_abi::xs_wire::{
    ErrorName, Message, MessageType, RequestId, TextError, TransactionId, decimal, text,
    watch_event,
};

/// Requests that may be in flight: below the daemon's quota of 20.
pub const IN_FLIGHT_MAX: usize = 16;

/// Wakers taken out of the protocol, to be dealt with when no lock is held.
#[derive(Default)]
pub(super) struct Wakers {
    /// To be woken.
    pub wake: Vec<Waker>,
    /// To be dropped.
    pub old: Vec<Waker>,
}

impl Wakers {
    /// Puts `waker` into `place`, unless one that is as good is there.
    pub fn park(&mut self, place: &mut Option<Waker>, waker: &Waker) {
        if !place.as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            self.old.extend(place.replace(waker.clone()));
        }
    }
}

/// A request that was sent, in part or wholly.
struct Flight {
    id: RequestId,
    request: Request,
    sent_bytes: usize,
}

/// A result that its caller has not taken yet.
struct Done {
    ticket: Ticket,
    kind: MessageType,
    outcome: Result<Vec<u8>, StoreError>,
}

/// A reply, and the connection that it came by.
#[derive(Debug)]
pub(super) struct Reply {
    pub payload: Vec<u8>,
    pub epoch: Epoch,
}

pub(super) struct Protocol {
    waiting: VecDeque<Request>,
    /// Each request's id has its place here in its low bits.
    flights: [Option<Flight>; IN_FLIGHT_MAX],
    /// The flight whose bytes are on their way into the ring.
    sending: Option<usize>,
    done: Vec<Done>,
    /// Why requests that are nowhere to be found have no result.
    lost: StoreError,
    pub watches: Watches,
    pub wakers: Wakers,
    pub epoch: Epoch,
    last_ticket: u64,
    /// High bits of the last request id.
    round: u32,
    /// Whether what an earlier user of the ring left is being cleaned up: replies to its requests
    /// may arrive.
    resetting: bool,
}

impl Protocol {
    /// A protocol whose request ids begin at a place that depends on `seed`.
    pub fn new(seed: u32) -> Self {
        Self {
            waiting: VecDeque::new(),
            flights: [const { None }; IN_FLIGHT_MAX],
            sending: None,
            done: Vec::new(),
            lost: StoreError::AGAIN,
            watches: Watches::default(),
            wakers: Wakers::default(),
            epoch: Epoch::default(),
            last_ticket: 0,
            round: seed,
            resetting: false,
        }
    }

    /// Queues a request for someone who waits.
    pub fn submit(
        &mut self,
        kind: MessageType,
        scope: Scope,
        parts: &[&[u8]],
    ) -> Result<Ticket, StoreError> {
        if scope.transaction != TransactionId::NONE && scope.epoch != self.epoch {
            return Err(StoreError::AGAIN);
        }
        let request = self.request(kind, scope.transaction, Owner::Caller, parts)?;
        let ticket = request.ticket;
        self.waiting.push_back(request);
        Ok(ticket)
    }

    fn request(
        &mut self,
        kind: MessageType,
        transaction: TransactionId,
        owner: Owner,
        parts: &[&[u8]],
    ) -> Result<Request, StoreError> {
        self.last_ticket += 1;
        Request::new(Ticket(self.last_ticket), kind, transaction, owner, parts)
    }

    /// Queues a request of our own.
    fn submit_own(&mut self, kind: MessageType, owner: Owner, parts: &[&[u8]]) {
        // Paths are checked and short, so these fit.
        if let Ok(request) = self.request(kind, TransactionId::NONE, owner, parts) {
            self.waiting.push_back(request);
        }
    }

    /// Ends a transaction that nobody holds any more.
    pub fn end_transaction(&mut self, scope: Scope) {
        if let Ok(ticket) = self.submit(MessageType::TRANSACTION_END, scope, &[b"F\0"]) {
            self.abandon(ticket);
        }
    }

    /// The result of a request, if it is there; otherwise `waker` is woken when it is.
    pub fn poll(&mut self, ticket: Ticket, waker: &Waker) -> Poll<Result<Reply, StoreError>> {
        if let Some(at) = self.done.iter().position(|done| done.ticket == ticket) {
            let epoch = self.epoch;
            let outcome = self.done.swap_remove(at).outcome;
            return Poll::Ready(outcome.map(|payload| Reply { payload, epoch }));
        }
        let flying = self.flights.iter_mut().flatten().map(|flight| &mut flight.request);
        // The newest are asked for most.
        let mut requests = flying.chain(self.waiting.iter_mut().rev());
        match requests.find(|request| request.ticket == ticket) {
            Some(request) => {
                self.wakers.park(&mut request.waker, waker);
                Poll::Pending
            }
            None => Poll::Ready(Err(self.lost)),
        }
    }

    /// Nobody waits for this request any more.
    pub fn abandon(&mut self, ticket: Ticket) {
        let mut flying = self.flights.iter_mut().flatten().map(|flight| &mut flight.request);
        if let Some(request) = flying.find(|request| request.ticket == ticket) {
            request.owner = Owner::Nobody;
            self.wakers.old.extend(request.waker.take());
        } else if let Some(at) = self.waiting.iter().rposition(|r| r.ticket == ticket) {
            let request = &mut self.waiting[at];
            request.owner = Owner::Nobody;
            self.wakers.old.extend(request.waker.take());
            if !request.is_owed() {
                self.waiting.remove(at);
            }
        } else if let Some(at) = self.done.iter().position(|done| done.ticket == ticket) {
            let done = self.done.swap_remove(at);
            self.discard(done.kind, done.outcome);
        }
    }

    /// A result that nobody wants. A transaction must not stay open.
    fn discard(&mut self, kind: MessageType, outcome: Result<Vec<u8>, StoreError>) {
        if kind == MessageType::TRANSACTION_START
            && let Ok(payload) = outcome
            && let Ok(transaction) = transaction_id(&payload)
        {
            self.end_transaction(Scope { transaction, epoch: self.epoch });
        }
    }

    /// The bytes to be sent next. At most one message is on its way at a time.
    pub fn output(&mut self) -> Option<&[u8]> {
        if self.sending.is_none() {
            self.take_off();
        }
        let flight = self.flights[self.sending?].as_ref()?;
        Some(&flight.request.message[flight.sent_bytes..])
    }

    /// That many of them were.
    pub fn sent(&mut self, count: usize) {
        let Some(flight) = self.sending.and_then(|at| self.flights[at].as_mut()) else { return };
        flight.sent_bytes += count;
        if flight.sent_bytes >= flight.request.message.len() {
            self.sending = None;
        }
    }

    /// Gives the request that waited longest a free place and an id.
    fn take_off(&mut self) {
        if self.resetting && self.waiting.front().is_none_or(|r| r.owner != Owner::Reset) {
            return;
        }
        let Some(place) = self.flights.iter().position(Option::is_none) else { return };
        let Some(mut request) = self.waiting.pop_front() else { return };
        // An id is not 0, and is unlike every other in flight by its place.
        self.round = (self.round % (u32::MAX / IN_FLIGHT_MAX as u32)) + 1;
        let id = RequestId(self.round * IN_FLIGHT_MAX as u32 + place as u32);
        request.address(id);
        self.flights[place] = Some(Flight { id, request, sent_bytes: 0 });
        self.sending = Some(place);
    }

    /// A message from the store. An error means that nothing which follows can be trusted.
    pub fn message(&mut self, message: Message<'_>) -> Result<(), BadReply> {
        let header = message.header;
        if header.kind == MessageType::WATCH_EVENT {
            let (path, token) = watch_event(message.payload).map_err(|_| BadReply::Event)?;
            self.watches.event(path, token, &mut self.wakers);
            return Ok(());
        }
        let place = header.request.0 as usize % IN_FLIGHT_MAX;
        let flight = self.flights[place].as_ref();
        let flight = flight.filter(|f| f.id == header.request && self.sending != Some(place));
        let Some(flight) = flight else {
            return if self.resetting {
                Ok(())
            } else {
                Err(BadReply::Unsolicited(header.request))
            };
        };
        let failed = header.kind == MessageType::ERROR;
        if !failed && header.kind != flight.request.kind {
            return Err(BadReply::Type(header.kind.0));
        }
        if header.transaction != flight.request.transaction {
            return Err(BadReply::Transaction(header.transaction.0));
        }
        let outcome = if failed {
            let name = ErrorName::parse(message.payload).ok_or(BadReply::Error)?;
            Err(StoreError::Store(name))
        } else {
            Ok(Vec::from(message.payload))
        };
        if let Some(flight) = self.flights[place].take() {
            self.finish(flight.request, outcome);
        }
        Ok(())
    }

    fn finish(&mut self, request: Request, outcome: Result<Vec<u8>, StoreError>) {
        match request.owner {
            Owner::Caller => {
                self.wakers.wake.extend(request.waker);
                let (ticket, kind) = (request.ticket, request.kind);
                self.done.push(Done { ticket, kind, outcome });
            }
            Owner::Nobody => self.discard(request.kind, outcome),
            Owner::Watch(token) => {
                let outcome = outcome.and_then(|payload| check_ok(&payload));
                self.watches.registered(token, outcome, &mut self.wakers);
            }
            Owner::Reset => self.resetting = false,
        }
    }

    /// Cleans up behind an earlier user of a ring that cannot be started afresh. A store that does
    /// not know this request says so, which is fine too.
    pub fn reset(&mut self) {
        self.resetting = true;
        self.submit_own(MessageType::RESET_WATCHES, Owner::Reset, &[b"\0"]);
        // It comes before all that waits.
        if let Some(request) = self.waiting.pop_back() {
            self.waiting.push_front(request);
        }
    }

    /// The connection is lost and a new one is there or will be: each request meets its [`Fate`],
    /// and every watch is registered again.
    pub fn restart(&mut self) {
        self.epoch.0 = self.epoch.0.wrapping_add(1);
        self.sending = None;
        self.resetting = false;
        let mut requests = Vec::new();
        while let Some(flight) = self.oldest_flight().and_then(|at| self.flights[at].take()) {
            requests.push(flight.request);
        }
        requests.extend(core::mem::take(&mut self.waiting));
        for request in requests {
            match request.fate() {
                Fate::Resend => self.waiting.push_back(request),
                Fate::Again => self.finish(request, Err(StoreError::AGAIN)),
                Fate::Drop => self.wakers.old.extend(request.waker),
            }
        }
        self.forget_unfinished();
        for (token, path) in self.watches.renew() {
            self.register(token, &path);
        }
    }

    /// Every request fails.
    pub fn fail(&mut self, error: StoreError) {
        self.epoch.0 = self.epoch.0.wrapping_add(1);
        self.sending = None;
        self.resetting = false;
        self.lost = error;
        let flights = self.flights.iter_mut().filter_map(Option::take);
        for request in flights.map(|f| f.request).chain(self.waiting.drain(..)) {
            self.wakers.wake.extend(request.waker);
        }
        self.forget_unfinished();
    }

    /// What was begun and is to be continued is gone with its connection, even if its first result
    /// has not been taken yet.
    fn forget_unfinished(&mut self) {
        let begun = [MessageType::TRANSACTION_START, MessageType::DIRECTORY_PART];
        for done in self.done.iter_mut().filter(|done| begun.contains(&done.kind)) {
            done.outcome = Err(StoreError::AGAIN);
        }
    }

    /// Begins a watch.
    pub fn watch(&mut self, path: &str) -> Token {
        let token = self.watches.add(path);
        self.register(token, path);
        token
    }

    fn register(&mut self, token: Token, path: &str) {
        let text = alloc::format!("{path}\0{}\0", token.0);
        self.submit_own(MessageType::WATCH, Owner::Watch(token), &[text.as_bytes()]);
    }

    /// Ends one. A registration that has not been sent is not sent any more.
    pub fn unwatch(&mut self, token: Token) {
        let Some(path) = self.watches.remove(token, &mut self.wakers) else { return };
        let owner = Owner::Watch(token);
        if let Some(at) = self.waiting.iter().rposition(|request| request.owner == owner) {
            self.waiting.remove(at);
            return;
        }
        let text = alloc::format!("{path}\0{}\0", token.0);
        self.submit_own(MessageType::UNWATCH, Owner::Nobody, &[text.as_bytes()]);
    }

    /// The request that has waited longest.
    pub fn oldest(&self) -> Option<OutstandingRequest> {
        let flight = self.oldest_flight().and_then(|at| self.flights[at].as_ref());
        let oldest = flight.map(|flight| &flight.request).or(self.waiting.front());
        oldest.map(Request::describe)
    }

    fn oldest_flight(&self) -> Option<usize> {
        let ticket = |at: &usize| self.flights[*at].as_ref().map(|flight| flight.request.ticket);
        (0..IN_FLIGHT_MAX).filter(|at| ticket(at).is_some()).min_by_key(ticket)
    }
}

/// Checks the reply to a request that has no other result.
pub(super) fn check_ok(payload: &[u8]) -> Result<(), StoreError> {
    if payload == b"OK\0" { Ok(()) } else { Err(StoreError::BadReply(BadReply::NotOk)) }
}

/// The id in the reply to TRANSACTION_START.
pub(super) fn transaction_id(payload: &[u8]) -> Result<TransactionId, StoreError> {
    let number = decimal(text(payload)?).and_then(|number| u32::try_from(number).ok());
    let id = number.filter(|id| *id != 0).map(TransactionId);
    id.ok_or(StoreError::BadReply(BadReply::Text(TextError::Number)))
}
