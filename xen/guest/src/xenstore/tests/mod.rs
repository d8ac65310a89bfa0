//! The client against a store that speaks the real protocol on the real bytes.

mod hostile;
mod requests;
mod resume;
mod transactions;
mod watches;

use crate::page::SharedPage;
use crate::testing::store::{FakeStore, Guest, StoreServer};
use crate::testing::tasks;
use core::future::Future;
use core::ops::Deref;
use std::format;
use std::string::String;
use xen_abi::DomId;

const GUEST: DomId = DomId(7);

/// A domain with its store.
struct Lab {
    fake: FakeStore,
    guest: Guest,
}

impl Deref for Lab {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Lab {
    fn new() -> Self {
        Self::with_ring(0, 3)
    }

    /// A ring whose indices all begin at `index`, and a store with these features.
    fn with_ring(index: u32, features: u32) -> Self {
        let fake = FakeStore::new();
        let guest = Guest::with_ring(&fake, GUEST, index, features);
        Self { fake, guest }
    }

    fn on(fake: FakeStore, server: StoreServer, page: SharedPage) -> Self {
        Self { fake, guest: Guest::on(server, page) }
    }

    /// Runs a future with the store at work.
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        tasks::run(future, || self.turn()).expect("the future waits for ever")
    }

    fn home(&self, path: &str) -> String {
        format!("/local/domain/7/{path}")
    }
}
