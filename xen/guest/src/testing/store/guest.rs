//! A domain in a test: the client under test, and the server of its ring.

use super::{FakeStore, StoreServer};
use crate::page::SharedPage;
use crate::xenstore::Xenstore;
use alloc::sync::Arc;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, Ordering};
use xen_abi::DomId;

/// The two ends of one ring. The server looks at it only when it is rung for: a notification that
/// is forgotten is a test that stands still.
pub struct Guest {
    /// The client.
    pub store: Xenstore,
    /// The server.
    pub server: RefCell<StoreServer>,
    rung: Arc<AtomicBool>,
    busy: Cell<bool>,
}

impl Guest {
    /// A domain that is added to the store, with a ring whose indices begin beside the wrap.
    pub fn new(fake: &FakeStore, domain: DomId) -> Self {
        Self::with_ring(fake, domain, u32::MAX - 99, 3)
    }

    /// The same with other indices, and with other features of the store's.
    pub fn with_ring(fake: &FakeStore, domain: DomId, index: u32, features: u32) -> Self {
        let page = new_page();
        StoreServer::prepare(&page, index, features);
        Self::on(fake.add_domain(domain, page.peer()), page)
    }

    /// A client on the page that `server` serves.
    pub fn on(server: StoreServer, page: SharedPage) -> Self {
        let rung = Arc::new(AtomicBool::new(false));
        let store = Xenstore::new(page, bell(&rung));
        Self { store, server: RefCell::new(server), rung, busy: Cell::new(false) }
    }

    /// The domain comes back with another number, another ring and another store.
    pub fn resume(&mut self, fake: &FakeStore, domain: DomId, index: u32, features: u32) {
        let page = new_page();
        StoreServer::prepare(&page, index, features);
        self.server = RefCell::new(fake.add_domain(domain, page.peer()));
        self.busy.set(false);
        self.rung.store(false, Ordering::SeqCst);
        self.store.resume(page, bell(&self.rung));
    }

    /// Has the server look at the ring at its next turn even if it is not rung for.
    pub fn poke(&self) {
        self.busy.set(true);
    }

    /// Whether the server has something to do that it knows of.
    pub fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Lets the server do one thing; whether there may be more to do.
    pub fn turn(&self) -> bool {
        let mut server = self.server.borrow_mut();
        if !(self.rung.swap(false, Ordering::SeqCst) || self.busy.get() || server.has_events()) {
            return false;
        }
        self.busy.set(server.serve());
        drop(server);
        self.store.on_event();
        self.busy.get() || self.rung.load(Ordering::SeqCst)
    }

    /// Lets the server do all it can.
    pub fn settle(&self) {
        while self.turn() {}
    }
}

fn new_page() -> SharedPage {
    SharedPage::allocate().unwrap()
}

fn bell(rung: &Arc<AtomicBool>) -> impl Fn() + Send + Sync + 'static {
    let rung = rung.clone();
    move || rung.store(true, Ordering::SeqCst)
}
