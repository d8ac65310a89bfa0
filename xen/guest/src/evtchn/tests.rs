//! Both interfaces against a model of Xen's side, written from the headers' rules.

use super::*;
use crate::hypercall::{Extents, GrantFrames, Resumed};
use alloc::task::Wake;
use core::sync::atomic::AtomicUsize;
use proptest::prelude::*;
use std::collections::BTreeSet;
use xen_abi::event::fifo;
use xen_abi::gnttab::{GrantCopy, MapGrant, UnmapGrant};
use xen_abi::hvm::Param;
use xen_abi::identity::XenVersion;
use xen_abi::sched::ShutdownReason;
use xen_abi::shared_info::{EVTCHN_MASK, EVTCHN_PENDING, PENDING_SEL, UPCALL_PENDING};

/// Xen's side of the event channels.
#[derive(Clone)]
struct Xen(Arc<Mutex<Side>>);

struct Side {
    shared_info: SharedPage,
    has_fifo: bool,
    control: Option<SharedPage>,
    array: Vec<SharedPage>,
    /// Port of the last event on each queue, and the queue of each port.
    tails: [u32; fifo::QUEUES],
    priorities: Vec<u8>,
    next_port: u32,
    closed: Vec<u32>,
    sent: Vec<u32>,
}

impl Xen {
    fn new(has_fifo: bool) -> (Self, Arc<SharedPage>) {
        let page = SharedPage::allocate().unwrap();
        let side = Side {
            shared_info: page.peer(),
            has_fifo,
            control: None,
            array: Vec::new(),
            tails: [0; fifo::QUEUES],
            priorities: std::vec![7; 5000],
            next_port: 1,
            closed: Vec::new(),
            sent: Vec::new(),
        };
        (Self(Arc::new(Mutex::new(side))), Arc::new(page))
    }

    /// A peer raises a port.
    fn raise(&self, port: EvtchnPort) {
        self.0.lock().raise(port.0);
    }
}

impl Side {
    fn raise(&mut self, port: u32) {
        if self.control.is_some() {
            self.raise_fifo(port);
        } else {
            let (word, bit) = (8 * (port as usize / 64), 1 << (port % 64));
            self.shared_info.u64_at(EVTCHN_PENDING + word).fetch_or(bit, Ordering::SeqCst);
            let mask = self.shared_info.u64_at(EVTCHN_MASK + word).load(Ordering::SeqCst);
            if mask & bit == 0 {
                self.shared_info.u64_at(PENDING_SEL).fetch_or(1 << (port / 64), Ordering::SeqCst);
                self.shared_info.u8_at(UPCALL_PENDING).store(1, Ordering::SeqCst);
            }
        }
    }

    fn word(&self, port: u32) -> &core::sync::atomic::AtomicU32 {
        self.array[(port / 1024) as usize].u32_at(4 * (port % 1024) as usize)
    }

    fn raise_fifo(&mut self, port: u32) {
        let was = self.word(port).fetch_or(fifo::PENDING, Ordering::SeqCst);
        if was & (fifo::MASKED | fifo::LINKED) != 0 {
            return;
        }
        self.word(port).fetch_or(fifo::LINKED, Ordering::SeqCst);
        let queue = self.priorities[port as usize] as usize;
        let tail = core::mem::replace(&mut self.tails[queue], port);
        let control = self.control.as_ref().unwrap();
        let linked = tail != 0 && tail != port && {
            let word = self.word(tail);
            let before = word.load(Ordering::SeqCst);
            let on_queue = before & fifo::LINKED != 0;
            if on_queue {
                word.store(before & !fifo::LINK_MASK | port, Ordering::SeqCst);
            }
            on_queue
        };
        if !linked {
            control.u32_at(fifo::HEAD + 4 * queue).store(port, Ordering::SeqCst);
            control.u32_at(fifo::READY).fetch_or(1 << queue, Ordering::SeqCst);
            self.shared_info.u8_at(UPCALL_PENDING).store(1, Ordering::SeqCst);
        }
    }
}

impl Hypervisor for Xen {
    fn send(&self, port: EvtchnPort) -> Result<(), Errno> {
        self.0.lock().sent.push(port.0);
        Ok(())
    }
    fn bind_virq(&self, _: Virq) -> Result<EvtchnPort, Errno> {
        self.alloc_unbound(DomId::ZERO)
    }
    fn alloc_unbound(&self, _: DomId) -> Result<EvtchnPort, Errno> {
        let mut side = self.0.lock();
        side.next_port += 1;
        Ok(EvtchnPort(side.next_port - 1))
    }
    fn bind_interdomain(&self, remote: DomId, _: EvtchnPort) -> Result<EvtchnPort, Errno> {
        self.alloc_unbound(remote)
    }
    fn close(&self, port: EvtchnPort) -> Result<(), Errno> {
        self.0.lock().closed.push(port.0);
        Ok(())
    }
    fn unmask(&self, port: EvtchnPort) -> Result<(), Errno> {
        let mut side = self.0.lock();
        let pending = if side.control.is_some() {
            side.word(port.0).fetch_and(!fifo::MASKED, Ordering::SeqCst) & fifo::PENDING != 0
        } else {
            let (word, bit) = (8 * (port.0 as usize / 64), 1 << (port.0 % 64));
            side.shared_info.u64_at(EVTCHN_MASK + word).fetch_and(!bit, Ordering::SeqCst);
            side.shared_info.u64_at(EVTCHN_PENDING + word).load(Ordering::SeqCst) & bit != 0
        };
        if pending {
            side.raise(port.0);
        }
        Ok(())
    }
    fn init_control(&self, gfn: u64) -> Result<(), Errno> {
        let mut side = self.0.lock();
        if !side.has_fifo {
            return Err(Errno::NOSYS);
        }
        side.control = SharedPage::peer_at(gfn);
        side.array.clear();
        side.tails = [0; fifo::QUEUES];
        Ok(())
    }
    fn expand_array(&self, gfn: u64) -> Result<(), Errno> {
        let page = SharedPage::peer_at(gfn).ok_or(Errno::INVAL)?;
        self.0.lock().array.push(page);
        Ok(())
    }
    fn set_priority(&self, port: EvtchnPort, priority: Priority) -> Result<(), Errno> {
        self.0.lock().priorities[port.0 as usize] = priority.number();
        Ok(())
    }
    fn hvm_param(&self, _: Param) -> Result<u64, Errno> {
        Err(Errno::NOSYS)
    }
    fn set_hvm_param(&self, _: Param, _: u64) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn version(&self) -> Result<XenVersion, Errno> {
        Err(Errno::NOSYS)
    }
    fn extra_version(&self) -> Result<[u8; 16], Errno> {
        Err(Errno::NOSYS)
    }
    fn add_to_physmap(&self, _: u32, _: u64, _: u64) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn decrease_reservation(&self, _: Extents<'_>) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }
    fn populate_physmap(&self, _: Extents<'_>) -> Result<usize, Errno> {
        Err(Errno::NOSYS)
    }
    fn current_reservation(&self) -> Result<u64, Errno> {
        Err(Errno::NOSYS)
    }
    fn maximum_reservation(&self) -> Result<u64, Errno> {
        Err(Errno::NOSYS)
    }
    fn grant_frames(&self) -> Result<GrantFrames, Errno> {
        Err(Errno::NOSYS)
    }
    fn grant_version(&self) -> Result<u32, Errno> {
        Err(Errno::NOSYS)
    }
    fn set_grant_version(&self, _: u32) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn grant_map(&self, _: &mut [MapGrant]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn grant_unmap(&self, _: &mut [UnmapGrant]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn grant_copy(&self, _: &mut [GrantCopy]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn poll(&self, _: &[EvtchnPort], _: Option<u64>) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn set_timer(&self, _: u64) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn stop_timer(&self) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }
    fn has_vcpu(&self, _: u32) -> bool {
        false
    }
    fn suspend(&self) -> Result<Resumed, Errno> {
        Err(Errno::NOSYS)
    }
    fn shutdown(&self, _: ShutdownReason) -> Errno {
        Errno::NOSYS
    }
}

fn events(has_fifo: bool) -> (Events<Xen>, Xen) {
    let (xen, page) = Xen::new(has_fifo);
    let events = Events::new(xen.clone(), page, Interface::PreferFifo);
    assert_eq!(events.counters().fifo, has_fifo);
    (events, xen)
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(channel: &Channel<Xen>, waker: &Waker) -> Poll<Result<(), Closed>> {
    channel.poll_wait(&mut Context::from_waker(waker))
}

#[test]
fn an_event_is_taken_once_and_wakes_once() {
    for has_fifo in [false, true] {
        let (events, xen) = events(has_fifo);
        let channel = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        assert!(poll(&channel, &waker).is_pending());
        xen.raise(channel.port());
        assert!(poll(&channel, &waker).is_pending(), "not seen before a dispatch");
        assert!(events.is_pending());
        events.dispatch();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&channel, &waker), Poll::Ready(Ok(())));
        assert!(poll(&channel, &waker).is_pending());
        assert!(!events.is_pending());
        events.dispatch();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_masked_event_is_raised_when_unmasked() {
    for has_fifo in [false, true] {
        let (events, xen) = events(has_fifo);
        let channel = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        channel.mask();
        xen.raise(channel.port());
        events.dispatch();
        assert!(!channel.take());
        channel.unmask().unwrap();
        events.dispatch();
        assert!(channel.take());
    }
}

#[test]
fn urgent_events_come_first() {
    let (events, xen) = events(true);
    let bulk = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
    let urgent = events.alloc_unbound(DomId::ZERO, Priority::CONTROL).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    struct Note(u32, Arc<Mutex<Vec<u32>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().push(self.0);
        }
    }
    for channel in [&bulk, &urgent] {
        let waker = Waker::from(Arc::new(Note(channel.port().0, order.clone())));
        assert!(poll(channel, &waker).is_pending());
    }
    xen.raise(bulk.port());
    xen.raise(urgent.port());
    events.dispatch();
    assert_eq!(*order.lock(), [urgent.port().0, bulk.port().0]);
}

#[test]
fn a_dropped_channel_is_closed_and_silent() {
    for has_fifo in [false, true] {
        let (events, xen) = events(has_fifo);
        let channel = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        let port = channel.port();
        drop(channel);
        assert_eq!(xen.0.lock().closed, [port.0]);
        xen.raise(port);
        events.dispatch();
        assert_eq!(events.counters().open, 0);
    }
}

#[test]
fn a_new_domain_closes_all_channels() {
    for has_fifo in [false, true] {
        let (events, xen) = events(has_fifo);
        let old = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        assert!(poll(&old, &waker).is_pending());
        events.resume();
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "the waiter learns of it");
        assert_eq!(poll(&old, &waker), Poll::Ready(Err(Closed)));
        assert_eq!(old.notify(), Err(Closed));
        xen.0.lock().next_port = old.port().0;
        let new = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        assert_eq!(new.port(), old.port());
        drop(old);
        assert!(xen.0.lock().closed.is_empty(), "the number is someone else's now");
        xen.raise(new.port());
        events.dispatch();
        assert!(new.take());
    }
}

#[test]
fn a_port_beyond_the_interface_is_refused_and_closed() {
    for (has_fifo, port) in [(false, 4096), (true, fifo::PORTS)] {
        let (events, xen) = events(has_fifo);
        xen.0.lock().next_port = port;
        assert_eq!(events.alloc_unbound(DomId::ZERO, Priority::BULK).err(), Some(Errno::NOSPC));
        assert_eq!(xen.0.lock().closed, [port]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(usize),
    Mask(usize),
    Unmask(usize),
    Dispatch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..2100).prop_map(Step::Raise),
        1 => (0usize..2100).prop_map(Step::Mask),
        1 => (0usize..2100).prop_map(Step::Unmask),
        2 => Just(Step::Dispatch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Every raised event is seen once it may be, whatever the order; none is made up.
    #[test]
    fn no_event_is_lost(has_fifo: bool, steps in proptest::collection::vec(step(), 1..200)) {
        let (events, xen) = events(has_fifo);
        let priorities = [Priority::CONTROL, Priority::BULK, Priority::DEFAULT];
        let channels: Vec<_> = (0..2100)
            .map(|i| events.alloc_unbound(DomId::ZERO, priorities[i % 3]).unwrap())
            .collect();
        let (mut raised, mut masked) = (BTreeSet::new(), BTreeSet::new());
        let check = |raised: &mut BTreeSet<usize>, masked: &BTreeSet<usize>| {
            while events.is_pending() {
                events.dispatch();
            }
            let seen: BTreeSet<usize> =
                (0..channels.len()).filter(|&i| channels[i].take()).collect();
            let expected: BTreeSet<usize> = raised.difference(masked).copied().collect();
            raised.retain(|i| masked.contains(i));
            (seen, expected)
        };
        for step in steps {
            match step {
                Step::Raise(i) => {
                    xen.raise(channels[i].port());
                    raised.insert(i);
                }
                // Masking does not take back what was seen by Xen: look first.
                Step::Mask(i) => {
                    let (seen, expected) = check(&mut raised, &masked);
                    prop_assert_eq!(seen, expected);
                    channels[i].mask();
                    masked.insert(i);
                }
                Step::Unmask(i) => {
                    channels[i].unmask().unwrap();
                    masked.remove(&i);
                }
                Step::Dispatch => {
                    let (seen, expected) = check(&mut raised, &masked);
                    prop_assert_eq!(seen, expected);
                }
            }
        }
        masked.iter().for_each(|&i| channels[i].unmask().unwrap());
        masked.clear();
        let (seen, expected) = check(&mut raised, &masked);
        prop_assert_eq!(seen, expected);
    }

    /// Bits that Xen never sets do no harm.
    #[test]
    fn no_bits_can_do_harm(has_fifo: bool, words: Vec<(u16, u64)>) {
        let (events, xen) = events(has_fifo);
        let channel = events.alloc_unbound(DomId::ZERO, Priority::BULK).unwrap();
        for (at, word) in words {
            let side = xen.0.lock();
            side.shared_info.u64_at(8 * (at as usize % 512)).store(word, Ordering::SeqCst);
            let pages = side.array.iter().chain(side.control.as_ref());
            for page in pages {
                page.u64_at(8 * (at as usize / 7 % 512)).store(word, Ordering::SeqCst);
            }
            drop(side);
            events.dispatch();
            channel.take();
        }
    }
}
