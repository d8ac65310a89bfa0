//! The client against a store that speaks the real protocol on the real bytes.

mod hostile;
mod requests;
mod resume;
mod transactions;
mod watches;

use super::Xenstore;
use crate::page::SharedPage;
use crate::testing::store::{FakeStore, StoreServer};
use crate::testing::tasks;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use xen_abi::DomId;

const GUEST: DomId = DomId(7);

/// A domain with its store. The server only looks at the ring when it is rung for.
struct Lab {
    fake: FakeStore,
    store: Xenstore,
    server: RefCell<StoreServer>,
    rung: Arc<AtomicBool>,
    busy: Cell<bool>,
}

impl Lab {
    fn new() -> Self {
        Self::with_ring(0, 3)
    }

    /// A ring whose indices all begin at `index`, and a store with these features.
    fn with_ring(index: u32, features: u32) -> Self {
        let page = SharedPage::allocate().unwrap();
        StoreServer::prepare(&page, index, features);
        let fake = FakeStore::new();
        let server = fake.add_domain(GUEST, page.peer());
        Self::on(fake, server, page)
    }

    fn on(fake: FakeStore, server: StoreServer, page: SharedPage) -> Self {
        let rung = Arc::new(AtomicBool::new(false));
        let bell = rung.clone();
        let store = Xenstore::new(page, move || bell.store(true, Ordering::SeqCst));
        Self { fake, store, server: RefCell::new(server), rung, busy: Cell::new(false) }
    }

    /// A doorbell for another ring.
    fn bell(&self) -> impl Fn() + Send + Sync + 'static {
        let bell = self.rung.clone();
        move || bell.store(true, Ordering::SeqCst)
    }

    /// Lets the store do one thing; whether it did.
    fn turn(&self) -> bool {
        let mut server = self.server.borrow_mut();
        if !(self.rung.swap(false, Ordering::SeqCst) || self.busy.get() || server.has_events()) {
            return false;
        }
        self.busy.set(server.serve());
        drop(server);
        self.store.on_event();
        self.busy.get() || self.rung.load(Ordering::SeqCst)
    }

    /// Lets the store do all it can.
    fn settle(&self) {
        while self.turn() {}
    }

    /// Runs a future with the store at work; `None` if it waits for what never comes.
    fn try_run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tasks::run(future, || self.turn())
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.try_run(future).expect("the future waits for ever")
    }

    fn home(&self, path: &str) -> std::string::String {
        std::format!("/local/domain/7/{path}")
    }
}
