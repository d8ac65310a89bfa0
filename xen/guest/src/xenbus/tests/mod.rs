//! Both ends of a device: the tables by themselves, against each other, and against peers that lie.

mod discovery;
mod handshake;
mod hostile;
mod model;

use super::{Backend, Device, DeviceError, Event, Frontend, Place, Value};
use crate::testing::store::{FakeStore, Guest};
use crate::testing::tasks::{self, Tasks};
use core::future::Future;
use std::format;
use std::string::String;
use xen_abi::DomId;
use xen_abi::xenbus::XenbusState;

const FRONT: DomId = DomId(7);
const BACK: DomId = DomId(3);

/// Two domains, and a device from one to the other.
struct Pair {
    fake: FakeStore,
    front: Guest,
    back: Guest,
    front_path: String,
    back_path: String,
}

impl Pair {
    fn new() -> Self {
        let fake = FakeStore::new();
        let front = Guest::new(&fake, FRONT);
        let back = Guest::new(&fake, BACK);
        let (front_path, back_path) = fake.add_device("vif", 0, FRONT, BACK);
        Self { fake, front, back, front_path, back_path }
    }

    fn turn(&self) -> bool {
        let front = self.front.turn();
        self.back.turn() || front
    }

    /// Runs a future while the store works; nothing if it waits for what never comes.
    fn try_run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tasks::run(future, || self.turn())
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.try_run(future).expect("the future waits for ever")
    }

    /// Runs tasks until none of them, nor the store, has anything to do.
    fn run_all(&self, tasks: &mut Tasks<'_>) {
        while tasks.poll() > 0 || self.turn() {}
    }

    async fn open_front(&self) -> Result<Frontend, DeviceError> {
        Frontend::open(&self.front.store, "vif", 0).await
    }

    async fn open_back(&self) -> Result<Backend, DeviceError> {
        Backend::open(&self.back.store, "vif", Place { frontend: FRONT, id: 0 }).await
    }

    fn states(&self) -> (String, String) {
        let state = |path| self.fake.text(&format!("{path}/state")).unwrap_or_default();
        (state(&self.front_path), state(&self.back_path))
    }

    fn set_states(&self, front: XenbusState, back: XenbusState) {
        for (path, state) in [(&self.front_path, front), (&self.back_path, back)] {
            let path = format!("{path}/state");
            if state == XenbusState::Unknown {
                self.fake.remove(&path);
            } else {
                self.fake.write(&path, state.text());
            }
        }
    }
}

const FRONT_KEYS: [super::Key<'static>; 2] =
    [("ring-ref", Value::Number(8)), ("event-channel", Value::Number(12))];
const BACK_KEYS: [super::Key<'static>; 2] =
    [("feature-x", Value::Number(1)), ("model", Value::Text("fast"))];

/// Uses the device until it is closed.
async fn use_front(front: &mut Frontend, state: XenbusState) -> Result<Event, DeviceError> {
    front.prepare().await?;
    front.publish(&FRONT_KEYS, state).await?;
    front.connect().await?;
    if state == XenbusState::Initialised {
        front.connected().await?;
    }
    closing(front).await
}

/// Provides it until it is closed.
async fn use_back(back: &mut Backend) -> Result<Event, DeviceError> {
    back.offer(&BACK_KEYS).await?;
    back.accept(&[("sectors", Value::Number(1 << 40))]).await?;
    closing(back).await
}

async fn closing(device: &mut Device) -> Result<Event, DeviceError> {
    loop {
        match device.event().await? {
            Event::Changed(_) => {}
            event => return Ok(event),
        }
    }
}
