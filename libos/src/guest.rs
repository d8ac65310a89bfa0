//! The domain's side of Xen: event channels, timer, xenstore. Set up when something first waits,
//! and put together again in a new domain.

use crate::exec::waiting;
use crate::time::{self, Instant, clock};
use crate::{console, exec, heap, platform, rng};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use spin::{Mutex, Once};
use xen::evtchn::{Channel, Events, Interface};
use xen::gnttab::{Foreign, Grants, TableCounters, Version};
use xen::page::SharedPage;
use xen::window::{Sizes, Window};
use xen::xenstore::{Doorbell, Xenstore};
use xen::{Hypervisor as _, Native, attach};
use xen_abi::event::{EvtchnPort, Priority, Virq};
use xen_abi::hvm::{Param, callback_by_vector};
use xen_abi::shared_info::UPCALL_PENDING;

static GUEST: Once<Option<Guest>> = Once::new();

/// What the domain has of Xen.
pub struct Guest {
    events: Events<Native>,
    console: Mutex<Option<Channel<Native>>>,
    store: Option<Store>,
    sharing: Once<Option<Sharing>>,
    timer: Mutex<Option<Channel<Native>>>,
    /// Deadline that the timer is armed for, in nanoseconds of monotonic time; 0 if it is not.
    armed_ns: AtomicU64,
}

/// The store, and the channel by which it says that it has something for us.
struct Store {
    handle: Xenstore,
    channel: Mutex<Option<Channel<Native>>>,
}

/// Memory that is shared with other domains.
struct Sharing {
    grants: Grants<Native>,
    foreign: Foreign<Native>,
}

/// The domain's side of Xen; nothing on a machine without it. Set up at the first call.
pub fn get() -> Option<&'static Guest> {
    GUEST.call_once(Guest::start).as_ref()
}

impl Guest {
    fn start() -> Option<Self> {
        let page = platform::shared_info()?;
        let events = Events::new(Native, page.clone(), Interface::PreferFifo);
        arch::trap::acknowledge_at(page.u8_at(UPCALL_PENDING));
        set_callback();
        let store = store_ring().map(|(page, port)| Store {
            handle: Xenstore::new(page, bell(port)),
            channel: Mutex::new(channel(&events, "xenstore", port)),
        });
        Some(Self {
            console: Mutex::new(console_channel(&events)),
            events,
            store,
            sharing: Once::new(),
            timer: Mutex::new(None),
            armed_ns: AtomicU64::new(0),
        })
    }

    /// Our pages that peers may use. The first call sets the grant table up.
    pub fn grants(&self) -> Option<&Grants<Native>> {
        self.sharing().map(|sharing| &sharing.grants)
    }

    /// Peers' pages that we may use.
    pub fn foreign(&self) -> Option<&Foreign<Native>> {
        self.sharing().map(|sharing| &sharing.foreign)
    }

    /// What is granted; nothing if nothing ever was.
    pub(crate) fn grant_counters(&self) -> Option<TableCounters> {
        Some(self.sharing.get()?.as_ref()?.grants.table_counters())
    }

    fn sharing(&self) -> Option<&Sharing> {
        let start = || {
            let sharing = Sharing::start()?;
            exec::spawn_named("grants", reclaim(sharing.grants.clone())).detach();
            Some(sharing)
        };
        self.sharing.call_once(start).as_ref()
    }

    /// Handles what has happened: wakes whoever waits for it.
    pub(crate) fn dispatch(&self) {
        self.events.dispatch();
        if self.console.lock().as_ref().is_some_and(Channel::take) {
            console::on_event();
        }
        if let Some(store) = &self.store
            && store.channel.lock().as_ref().is_some_and(Channel::take)
        {
            store.handle.on_event();
        }
    }

    /// The event channels.
    pub fn events(&self) -> &Events<Native> {
        &self.events
    }

    /// Has the timer end a sleep at `deadline`. One that is armed for an earlier time stays: the
    /// loop then wakes once for nothing, which costs less than to set the timer for every sleep.
    pub(crate) fn wake_at(&self, deadline: Instant) {
        let mut timer = self.timer.lock();
        if timer.is_none() {
            let bound = self.events.bind_virq(Virq::Timer, Priority::CONTROL);
            *timer = bound.inspect_err(|errno| log::error!("no timer: {errno}")).ok();
        }
        if timer.as_ref().is_some_and(Channel::take) {
            self.armed_ns.store(0, Ordering::Relaxed);
        }
        let Some(clock) = clock::get() else { return };
        let (armed_ns, deadline_ns) = (self.armed_ns.load(Ordering::Relaxed), deadline.as_nanos());
        if armed_ns != 0 && armed_ns <= deadline_ns {
            return;
        }
        // 0 would disarm it.
        if let Err(errno) = Native.set_timer(clock.system_ns_at(deadline_ns).max(1)) {
            log::error!("Xen refuses the timer: {errno}");
        }
        self.armed_ns.store(deadline_ns, Ordering::Relaxed);
    }
}

/// Pages of other domains that can be mapped at the same time.
const FOREIGN_SLOTS: u32 = 256;
/// How often a page that a peer does not let go is looked at again.
const RECLAIM_PAUSE: Duration = Duration::from_secs(1);

impl Sharing {
    fn start() -> Option<Self> {
        let map = platform::boot_info().map(|info| &info.memory_map[..]).unwrap_or_default();
        let grant_frames = told(Native.grant_frames())?.limit;
        let sizes = Sizes { grant_frames, foreign_slots: FOREIGN_SLOTS };
        let window = told(Window::new(map, sizes, arch::cpu::physical_address_bits()))?;
        let grants = told(Grants::new(Native, &window, Version::One))?;
        Some(Self { grants, foreign: Foreign::new(Native, &window) })
    }
}

/// The value, or a line in the log about why there is none.
fn told<T, E: core::fmt::Display>(result: Result<T, E>) -> Option<T> {
    let say = |error: &E| log::error!("no memory can be shared with other domains: {error}");
    result.inspect_err(say).ok()
}

/// Takes pages back that a peer still used when we were done with them.
async fn reclaim(grants: Grants<Native>) {
    loop {
        waiting("a page that a peer keeps", grants.quarantined()).await;
        while grants.reclaim() > 0 {
            time::sleep(RECLAIM_PAUSE).await;
        }
    }
}

/// The store's page and port.
fn store_ring() -> Option<(SharedPage, EvtchnPort)> {
    let info = platform::boot_info()?;
    attach::xenstore(&Native, &info.memory_map).unwrap_or_else(|error| {
        log::error!("xenstore ring: {error}");
        None
    })
}

/// Says to the store that there is something for it. An error means that the store is gone.
fn bell(port: EvtchnPort) -> impl Doorbell {
    move || {
        let _ = Native.send(port);
    }
}

/// The channel of a port that was bound when the domain started.
fn channel(events: &Events<Native>, whose: &str, port: EvtchnPort) -> Option<Channel<Native>> {
    let channel = events.adopt(port, Priority::CONTROL);
    channel.inspect_err(|errno| log::error!("{whose}: no events from {port}: {errno}")).ok()
}

fn console_channel(events: &Events<Native>) -> Option<Channel<Native>> {
    channel(events, "console", console::port()?)
}

/// The store; nothing without Xen, or if the toolstack gave this domain none.
pub fn store() -> Option<Xenstore> {
    get()?.store.as_ref().map(|store| store.handle.clone())
}

/// Names the upcall's vector to Xen.
fn set_callback() {
    let callback = callback_by_vector(arch::trap::UPCALL_VECTOR);
    if let Err(errno) = Native.set_hvm_param(Param::CallbackIrq, callback) {
        log::error!("Xen refuses the upcall: {errno}");
    }
}

/// Pages of other domains that are mapped.
pub(crate) fn foreign_pages() -> usize {
    let sharing = get().and_then(|guest| guest.sharing.get()?.as_ref());
    sharing.map_or(0, |sharing| sharing.foreign.mapped() as usize)
}

/// After a suspend that left the domain as it was: the timer is to be set again.
pub(crate) fn rearm() {
    if let Some(guest) = get() {
        guest.armed_ns.store(0, Ordering::Relaxed);
    }
}

/// Puts everything together again in a new domain. Called between two rounds.
pub(crate) fn resume() {
    let (Some(guest), Some(info)) = (get(), platform::boot_info()) else { return };
    if let Err(error) = attach::shared_info(&Native, &info.memory_map) {
        // Without it there are neither events nor time.
        panic!("no shared info page after a resume: {error}");
    }
    if let Some(clock) = clock::get() {
        clock.resume(arch::tsc::read);
    }
    guest.events.resume();
    set_callback();
    *guest.timer.lock() = None;
    if let Some(Some(sharing)) = guest.sharing.get() {
        if let Err(error) = sharing.grants.resume() {
            log::error!("grants after a resume: {error}");
        }
        sharing.foreign.resume();
    }
    rearm();
    console::attach(platform::console_ring());
    *guest.console.lock() = console_channel(&guest.events);
    if let (Some(store), Some((page, port))) = (&guest.store, store_ring()) {
        *store.channel.lock() = channel(&guest.events, "xenstore", port);
        store.handle.resume(page, bell(port));
    }
    rng::reseed();
    let (key, _) = arch::entropy::word(info.features);
    heap::rekey(key);
    crate::exec::clock_changed();
}
