//! A domain with a disk: hypervisor, store, driver task, apps as tasks, and the backend.

use super::super::{BlockDevice, Connecting, new};
use crate::Domain;
use crate::blkfront::testing::{Blkback, Offer, RamDisk};
use crate::blkfront::{CloseReason, Config, Vdev};
use crate::timer::Timer;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::vec::Vec;
use xen::Hypervisor as _;
use xen::evtchn::{Events, Interface};
use xen::gnttab::{Grants, Version};
use xen::page::SharedPage;
use xen::testing::FakeXen;
use xen::testing::store::{FakeStore, Guest};
use xen::testing::tasks::Tasks;
use xen::window::{Sizes, Window};
use xen_abi::DomId;
use xen_abi::shared_info::{EVTCHN_MASK, EVTCHN_PENDING, PENDING_SEL, UPCALL_PENDING};

pub(super) const FRONT: DomId = DomId(7);
pub(super) const BACK: DomId = DomId(3);
pub(super) const VDEV: Vdev = Vdev(51712);

/// Time that passes when the test says so.
#[derive(Clone, Default)]
pub(super) struct FakeTimer(Arc<Mutex<Clock>>);

#[derive(Default)]
struct Clock {
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

/// A task that is done, or was dropped, when it is gone.
type Droppable<T> = Rc<RefCell<Option<Pin<Box<dyn Future<Output = T>>>>>>;

impl FakeTimer {
    pub fn advance(&self, by: Duration) {
        let mut clock = self.0.lock().unwrap();
        clock.now += by;
        let now = clock.now;
        let (due, later): (Vec<_>, Vec<_>) =
            clock.sleepers.drain(..).partition(|(at, _)| *at <= now);
        clock.sleepers = later;
        drop(clock);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Timer for FakeTimer {
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let clock = self.0.clone();
        let due = clock.lock().unwrap().now + duration;
        poll_fn(move |context| {
            let mut clock = clock.lock().unwrap();
            if clock.now >= due {
                return Poll::Ready(());
            }
            clock.sleepers.push((due, context.waker().clone()));
            Poll::Pending
        })
    }
}

/// A task's result, once it has one.
pub(super) struct Outcome<T>(Rc<RefCell<Option<T>>>);

impl<T> Outcome<T> {
    pub fn take(&self) -> Option<T> {
        self.0.borrow_mut().take()
    }

    /// The result of a task that is done by now.
    pub fn get(&self) -> T {
        self.take().expect("the task is done")
    }
}

pub(super) struct World {
    pub xen: FakeXen,
    pub events: Events<FakeXen>,
    shared_info: Arc<SharedPage>,
    pub grants: Grants<FakeXen>,
    /// The disk's own share.
    pub disk_grants: Grants<FakeXen>,
    pub store: FakeStore,
    guest: Guest,
    pub back: Blkback,
    pub connecting: Connecting<FakeXen>,
    pub timer: FakeTimer,
    tasks: Tasks<'static>,
    /// How the driver has ended.
    pub ended: Outcome<CloseReason>,
}

impl World {
    /// A domain whose driver has begun. `prepare` may change what the backend says.
    pub fn new(
        config: Config,
        (disk, offer): (RamDisk, Offer),
        prepare: impl FnOnce(&mut Blkback),
    ) -> Self {
        let xen = FakeXen::new();
        let sizes = Sizes { grant_frames: 16, foreign_slots: 0 };
        let window = Window::new(&xen.memory_map(), sizes, 48).unwrap();
        let grants = Grants::new(xen.clone(), &window, Version::One).unwrap();
        let shared_info = Arc::new(xen.shared_info());
        let events = Events::new(xen.clone(), shared_info.clone(), Interface::TwoLevel);
        let store = FakeStore::new();
        let guest = Guest::new(&store, FRONT);
        let paths = store.add_device("vbd", VDEV.0, FRONT, BACK);
        store.write(&std::format!("{}/device-type", paths.0), "disk");
        let mut back = Blkback::new(xen.peer(BACK), store.clone(), paths, VDEV, (disk, offer));
        prepare(&mut back);
        let disk_grants = grants.for_owner("xvda", config.grants_max);
        let domain = Domain {
            store: guest.store.clone(),
            grants: disk_grants.clone(),
            events: events.clone(),
        };
        let timer = FakeTimer::default();
        let (connecting, driver) = new(VDEV, config, domain, timer.clone());
        let ended = Outcome(Rc::default());
        let mut world = Self {
            xen,
            events,
            shared_info,
            grants,
            disk_grants,
            store,
            guest,
            back,
            connecting,
            timer,
            tasks: Tasks::new(),
            ended,
        };
        world.ended = world.spawn(driver.run());
        world
    }

    /// The same, and a device that is connected.
    pub fn connected(config: Config, disk: (RamDisk, Offer)) -> (Self, BlockDevice<FakeXen>) {
        let mut world = Self::new(config, disk, |_| ());
        let device = world.device().unwrap();
        (world, device)
    }

    /// The device, once it can be used.
    pub fn device(&mut self) -> Result<BlockDevice<FakeXen>, CloseReason> {
        let connecting = self.connecting.clone();
        self.run(async move { connecting.ready().await })
    }

    /// Begins a task.
    pub fn spawn<T: 'static>(&mut self, task: impl Future<Output = T> + 'static) -> Outcome<T> {
        let outcome = Outcome(Rc::default());
        let result = outcome.0.clone();
        self.tasks.spawn(async move {
            let output = task.await;
            *result.borrow_mut() = Some(output);
        });
        outcome
    }

    /// Begins a task that can be dropped before it is done.
    pub fn spawn_droppable<T: 'static>(
        &mut self,
        task: impl Future<Output = T> + 'static,
    ) -> (Outcome<T>, Box<dyn FnOnce()>) {
        let slot: Droppable<T> = Rc::new(RefCell::new(Some(Box::pin(task))));
        let inner = slot.clone();
        let outcome = Outcome(Rc::default());
        let result = outcome.0.clone();
        self.tasks.spawn(poll_fn(move |context| {
            let mut slot = inner.borrow_mut();
            let Some(task) = slot.as_mut() else { return Poll::Ready(()) };
            task.as_mut().poll(context).map(|output| *result.borrow_mut() = Some(output))
        }));
        (outcome, Box::new(move || drop(slot.borrow_mut().take())))
    }

    /// Runs a task to its end; nothing else is needed for that.
    pub fn run<T: 'static>(&mut self, task: impl Future<Output = T> + 'static) -> T {
        let outcome = self.spawn(task);
        self.settle();
        outcome.get()
    }

    /// Polls the tasks that were woken; how many.
    pub fn poll_tasks(&mut self) -> usize {
        self.tasks.poll()
    }

    /// Lets everything happen that can.
    pub fn settle(&mut self) {
        loop {
            self.carry_events();
            self.events.dispatch();
            let mut work = self.tasks.poll() > 0;
            work |= self.guest.turn();
            work |= self.back.turn();
            if !work {
                return;
            }
        }
    }

    /// The same, and what takes the pause before a new connection.
    pub fn settle_anew(&mut self) {
        self.settle();
        self.timer.advance(Duration::from_millis(50));
        self.settle();
    }

    /// A guest maps the shared info page of a new domain where the old one was. On the host the two
    /// are different memory, so what Xen writes into the new one is carried over.
    fn carry_events(&self) {
        let xens = self.xen.shared_info();
        if xens.gfn() == self.shared_info.gfn() {
            return;
        }
        for word in [PENDING_SEL, EVTCHN_PENDING] {
            let bits = xens.u64_at(word).swap(0, Ordering::SeqCst);
            self.shared_info.u64_at(word).fetch_or(bits, Ordering::SeqCst);
        }
        let mask = xens.u64_at(EVTCHN_MASK).load(Ordering::SeqCst);
        self.shared_info.u64_at(EVTCHN_MASK).store(mask, Ordering::SeqCst);
        let upcall = xens.u8_at(UPCALL_PENDING).swap(0, Ordering::SeqCst);
        self.shared_info.u8_at(UPCALL_PENDING).fetch_or(upcall, Ordering::SeqCst);
    }

    /// Saves the domain and restores it: another store and another backend with new directories,
    /// all ports closed, all grants void.
    pub fn resume(&mut self) {
        let _ = self.xen.suspend().unwrap();
        self.store = FakeStore::new();
        self.guest.resume(&self.store, FRONT, 0, 3);
        let paths = self.store.add_device("vbd", VDEV.0, FRONT, BACK);
        self.grants.resume().unwrap();
        self.events.resume();
        let (disk, offer) = (self.back.disk.clone(), self.back.backend.offer);
        let peer = self.xen.peer(BACK);
        self.back = Blkback::new(peer, self.store.clone(), paths, VDEV, (disk, offer));
    }

    /// A driver domain that was started again, with another number.
    pub fn restart_backend(&mut self, domid: DomId) {
        let paths = self.store.add_device("vbd", VDEV.0, FRONT, domid);
        let (disk, offer) = (self.back.disk.clone(), self.back.backend.offer);
        let peer = self.xen.peer(domid);
        self.back = Blkback::new(peer, self.store.clone(), paths, VDEV, (disk, offer));
    }

    /// Grants that are not ended, and those among them that a backend keeps.
    pub fn grants_in_use(&self) -> (u32, u32) {
        let counters = self.grants.table_counters();
        (counters.in_use, counters.quarantined)
    }
}

/// Bytes that differ from place to place and from `seed` to `seed`.
pub(super) fn pattern(seed: usize, len_bytes: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| (seed * 31 + at / 512 * 7 + at * 3) as u8 | 1).collect()
}
