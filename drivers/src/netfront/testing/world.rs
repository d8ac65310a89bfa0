//! A domain with a network device: hypervisor, store, driver task, and the stack's end in the
//! test's hand.

use super::Netback;
use crate::netfront::{Config, Domain, NetDevice, NetError, TxOffload, new};
use crate::timer::Timer;
use core::future::{Future, poll_fn};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::vec::Vec;
use xen::Hypervisor as _;
use xen::evtchn::{Events, Interface};
use xen::gnttab::{Grants, Version};
use xen::testing::FakeXen;
use xen::testing::store::{FakeStore, Guest};
use xen::testing::tasks::Tasks;
use xen::window::{Sizes, Window};
use xen_abi::DomId;

pub(crate) const FRONT: DomId = DomId(7);
pub(crate) const BACK: DomId = DomId(3);

/// Time that passes when the test says so.
#[derive(Clone, Default)]
pub(crate) struct FakeTimer(Arc<Mutex<Clock>>);

#[derive(Default)]
struct Clock {
    now: Duration,
    wakers: Vec<(Duration, Waker)>,
}

impl FakeTimer {
    pub fn advance(&self, by: Duration) {
        let mut clock = self.0.lock().unwrap();
        clock.now += by;
        let now = clock.now;
        clock.wakers.retain(|(due, waker)| {
            if *due <= now {
                waker.wake_by_ref();
            }
            *due > now
        });
    }
}

impl Timer for FakeTimer {
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let due = self.0.lock().unwrap().now + duration;
        let clock = self.0.clone();
        poll_fn(move |context| {
            let mut clock = clock.lock().unwrap();
            if clock.now >= due {
                return Poll::Ready(());
            }
            clock.wakers.push((due, context.waker().clone()));
            Poll::Pending
        })
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct World {
    pub xen: FakeXen,
    pub events: Events<FakeXen>,
    pub grants: Grants<FakeXen>,
    pub store: FakeStore,
    pub guest: Guest,
    pub back: Netback,
    pub device: NetDevice<FakeXen>,
    pub timer: FakeTimer,
    tasks: Tasks<'static>,
    /// How the driver has ended.
    pub ended: Rc<RefCell<Option<NetError>>>,
    plug: Plugged,
    woken: Arc<Flag>,
}

impl World {
    /// A domain whose driver has begun; the backend offers `features`.
    pub fn new(config: Config, features: &[(&'static str, u32)]) -> Self {
        let xen = FakeXen::new();
        let sizes = Sizes { grant_frames: 16, foreign_slots: 0 };
        let window = Window::new(&xen.memory_map(), sizes, 48).unwrap();
        let grants = Grants::new(xen.clone(), &window, Version::One).unwrap();
        let shared_info = Arc::new(xen.shared_info());
        let events = Events::new(xen.clone(), shared_info, Interface::TwoLevel);
        let store = FakeStore::new();
        let guest = Guest::new(&store, FRONT);
        let paths = store.add_device("vif", 0, FRONT, BACK);
        store.write(&std::format!("{}/mac", paths.0), "00:16:3e:01:02:03");
        let mut back = Netback::new(xen.peer(BACK), store.clone(), paths);
        back.features = features.to_vec();
        let domain = Domain {
            store: guest.store.clone(),
            grants: grants.for_owner("vif", 4000),
            events: events.clone(),
        };
        let timer = FakeTimer::default();
        let (device, mut driver) = new(config, domain, timer.clone());
        let ended = Rc::new(RefCell::new(None));
        let mut tasks = Tasks::new();
        let (end, plug) = (ended.clone(), Plugged::default());
        let plugged = plug.clone();
        tasks.spawn(async move {
            loop {
                let Err(error) = driver.run(0).await;
                *end.borrow_mut() = Some(error);
                plugged.clone().await;
            }
        });
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { xen, events, grants, store, guest, back, device, timer, tasks, ended, plug, woken }
    }

    /// The same, connected.
    pub fn connected(config: Config, features: &[(&'static str, u32)]) -> Self {
        let mut world = Self::new(config, features);
        world.settle();
        assert!(world.device.link().up, "{:?}", world.ended.borrow());
        world.ready();
        world
    }

    /// Says how long packets may be, as the toolstack does before the driver begins.
    pub fn set_mtu(&self, mtu: u16) {
        let path = std::format!("{}/mtu", self.back.front_path);
        self.store.write(&path, &std::format!("{mtu}"));
    }

    /// Lets everything happen but the stack and the backend's rings.
    pub fn settle(&mut self) {
        loop {
            self.events.dispatch();
            let mut work = self.tasks.poll() > 0;
            work |= self.guest.turn();
            work |= self.back.turn();
            if !work {
                return;
            }
        }
    }

    /// The same, and the pause before the driver connects again.
    pub fn settle_anew(&mut self) {
        self.settle();
        self.timer.advance(Duration::from_millis(50));
        self.settle();
    }

    /// Whether the stack would go to work: it is polled only if it was woken.
    pub fn ready(&mut self) -> bool {
        self.events.dispatch();
        if !self.woken.0.swap(false, Ordering::SeqCst) {
            return false;
        }
        let waker = Waker::from(self.woken.clone());
        let ready = self.device.poll_ready(&mut Context::from_waker(&waker)).is_ready();
        if ready {
            // It asks again after its turn.
            self.woken.0.store(true, Ordering::SeqCst);
        }
        ready
    }

    /// Sends a packet as the stack does.
    pub fn transmit(&mut self, bytes: &[u8], offload: TxOffload) {
        let mut called = 0;
        self.device.transmit(bytes.len(), offload, |to| {
            called += 1;
            to.copy_from_slice(bytes);
        });
        assert_eq!(called, 1);
    }

    /// All packets that are there.
    pub fn receive_all(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut buffer = std::vec![0; 65_553];
        while let Some(packet) = self.device.receive(&mut buffer) {
            packets.push(buffer[..packet.len_bytes].to_vec());
        }
        packets
    }

    /// Has the driver run again after it has ended.
    pub fn plug_again(&self) {
        let mut plug = self.plug.0.borrow_mut();
        plug.0 = true;
        plug.1.take().into_iter().for_each(Waker::wake);
    }

    /// Saves the domain and restores it: another store and another backend with new directories,
    /// all ports closed, all grants void.
    pub fn resume(&mut self) {
        let _ = self.xen.suspend().unwrap();
        self.back.dead = true;
        self.store = FakeStore::new();
        self.guest.resume(&self.store, FRONT, 0, 3);
        let paths = self.store.add_device("vif", 0, FRONT, BACK);
        self.store.write(&std::format!("{}/mac", paths.0), "00:16:3e:01:02:03");
        self.grants.resume().unwrap();
        self.events.resume();
        let features = core::mem::take(&mut self.back.features);
        self.back = Netback::new(self.xen.peer(BACK), self.store.clone(), paths);
        self.back.features = features;
    }

    /// Grants of the device that are not ended, those that the backend keeps among them.
    pub fn grants_in_use(&self) -> (u32, u32) {
        let counters = self.grants.table_counters();
        (counters.in_use, counters.quarantined)
    }
}

/// Ready once the test has plugged the device in again.
#[derive(Clone, Default)]
struct Plugged(Rc<RefCell<(bool, Option<Waker>)>>);

impl Future for Plugged {
    type Output = ();

    fn poll(self: core::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        state.1 = Some(context.waker().clone());
        if core::mem::take(&mut state.0) { Poll::Ready(()) } else { Poll::Pending }
    }
}
