//! The domain's side of Xen: event channels and the timer, set up when something first waits, and put
//! together again in a new domain.

use crate::time::{Instant, clock};
use crate::{console, heap, platform, rng};
use core::sync::atomic::{AtomicU64, Ordering};
use spin::{Mutex, Once};
use xen::evtchn::{Channel, Events, Interface};
use xen::{Hypervisor as _, Native, attach};
use xen_abi::event::{Priority, Virq};
use xen_abi::hvm::{Param, callback_by_vector};
use xen_abi::shared_info::UPCALL_PENDING;

static GUEST: Once<Option<Guest>> = Once::new();

/// What the domain has of Xen.
pub(crate) struct Guest {
    events: Events<Native>,
    timer: Mutex<Option<Channel<Native>>>,
    /// Deadline that the timer is armed for, in nanoseconds of monotonic time; 0 if it is not.
    armed_ns: AtomicU64,
}

/// The domain's side of Xen; nothing on a machine without it. Set up at the first call.
pub(crate) fn get() -> Option<&'static Guest> {
    GUEST.call_once(Guest::start).as_ref()
}

impl Guest {
    fn start() -> Option<Self> {
        let page = platform::shared_info()?;
        let events = Events::new(Native, page.clone(), Interface::PreferFifo);
        arch::trap::acknowledge_at(page.u8_at(UPCALL_PENDING));
        set_callback();
        let guest = Self { events, timer: Mutex::new(None), armed_ns: AtomicU64::new(0) };
        console::connect(&guest.events);
        Some(guest)
    }

    /// The event channels.
    pub(crate) fn events(&self) -> &Events<Native> {
        &self.events
    }

    /// Has the timer end a sleep at `deadline`. One that is armed for an earlier time stays: the loop
    /// then wakes once for nothing, which costs less than to set the timer for every sleep.
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

/// Names the upcall's vector to Xen.
fn set_callback() {
    let callback = callback_by_vector(arch::trap::UPCALL_VECTOR);
    if let Err(errno) = Native.set_hvm_param(Param::CallbackIrq, callback) {
        log::error!("Xen refuses the upcall: {errno}");
    }
}

/// Pages of other domains that are mapped.
pub(crate) fn foreign_pages() -> usize {
    0
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
    rearm();
    console::attach(platform::console_ring());
    console::connect(&guest.events);
    rng::reseed();
    let (key, _) = arch::entropy::word(info.features);
    heap::rekey(key);
    crate::exec::clock_changed();
}
