//! A connection in use: the rings are served until something happens to the device.

use super::shared::Shared;
use crate::blkfront::error::Lie;
use crate::blkfront::proto::Service;
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use xen::Hypervisor;
use xen::evtchn::{Channel, Closed};

/// How long a request that no grant is left for waits before it is tried again.
const STARVED_RETRY: Duration = Duration::from_millis(10);
/// Events in a row that come for nothing, before they are held back.
const SPURIOUS_MAX: u32 = 64;
/// How long they are held back.
const THROTTLE: Duration = Duration::from_millis(1);
/// How long a backend may take before the log tells of it.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Why the rings are not served any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Lie(Lie),
    /// The event channels are gone: the domain was resumed as another one.
    Resumed,
}

impl From<Closed> for Fault {
    fn from(_: Closed) -> Self {
        Self::Resumed
    }
}

/// A time that passes.
type Sleep<'t> = Pin<Box<dyn Future<Output = ()> + Send + 't>>;

/// The side of a connection that is in use.
pub(super) struct Session<'t, X: Hypervisor, T> {
    shared: Shared<X>,
    channels: Vec<Channel<X>>,
    timer: &'t T,
    /// For the log.
    name: xen_abi::blkif::Vdev,
    retry: Option<Sleep<'t>>,
    throttle: Option<Sleep<'t>>,
    spurious: u32,
    /// Until when some answer is to come, and how many had come when that began.
    watchdog: Option<(Sleep<'t>, u64)>,
}

impl<'t, X: Hypervisor, T: Timer> Session<'t, X, T> {
    pub fn new(
        shared: Shared<X>,
        channels: Vec<Channel<X>>,
        timer: &'t T,
        name: xen_abi::blkif::Vdev,
    ) -> Self {
        let (retry, throttle, watchdog) = (None, None, None);
        Self { shared, channels, timer, name, retry, throttle, spurious: 0, watchdog }
    }

    /// Serves the rings until `until` is done, or they cannot be served any more. `until` is not
    /// dropped before it is done unless they cannot.
    pub async fn serve<O>(&mut self, until: impl Future<Output = O>) -> Result<O, Fault> {
        let mut until = pin!(until);
        poll_fn(|context| {
            // The rings first: after a resume the store tells of a closed device as well.
            if let Err(fault) = self.poll_rings(context) {
                return Poll::Ready(Err(fault));
            }
            until.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Serves the rings until no request is open. Nothing new is sent.
    pub async fn drain(&mut self) -> Result<(), Fault> {
        self.shared.with(|engine| engine.freeze());
        poll_fn(|context| {
            if let Err(fault) = self.poll_rings(context) {
                return Poll::Ready(Err(fault));
            }
            match self.shared.with(|engine| engine.open_requests()) {
                0 => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn poll_rings(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        let mut came = false;
        for channel in &self.channels {
            // Until it is pending: from then on the next event wakes this task.
            while let Poll::Ready(event) = channel.poll_wait(context) {
                event?;
                came = true;
            }
        }
        let (before, service, after, open) = self.shared.with(|engine| {
            engine.set_driver(context.waker());
            let before = engine.counters().answered;
            let service = engine.service();
            (before, service, engine.counters().answered, engine.open_requests())
        });
        let Service { notify, starved } = service.map_err(Fault::Lie)?;
        for (index, channel) in self.channels.iter().enumerate() {
            if notify & 1 << index != 0 {
                channel.notify()?;
            }
        }
        self.retry_when_starved(starved, context);
        self.throttle_events(came && before == after, context)?;
        self.watch_answers(after, open, context);
        Ok(())
    }

    /// Grants that someone else lets go of make no sound here: the next try is a matter of time.
    fn retry_when_starved(&mut self, starved: bool, context: &mut Context<'_>) {
        if !starved {
            self.retry = None;
            return;
        }
        let timer = self.timer;
        let sleep = self.retry.get_or_insert_with(|| Box::pin(timer.sleep(STARVED_RETRY)));
        if sleep.as_mut().poll(context).is_ready() {
            self.retry = None;
            context.waker().wake_by_ref();
        }
    }

    /// A backend that sends events without answers is heard less often.
    fn throttle_events(&mut self, spurious: bool, context: &mut Context<'_>) -> Result<(), Closed> {
        if let Some(sleep) = &mut self.throttle {
            if sleep.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.throttle = None;
            self.channels.iter().try_for_each(Channel::unmask)?;
            context.waker().wake_by_ref();
        }
        self.spurious = if spurious { self.spurious + 1 } else { 0 };
        if self.spurious > SPURIOUS_MAX {
            self.spurious = 0;
            self.channels.iter().for_each(Channel::mask);
            let mut sleep: Sleep<'t> = Box::pin(self.timer.sleep(THROTTLE));
            if sleep.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            self.throttle = Some(sleep);
        }
        Ok(())
    }

    /// A request cannot be taken back while the backend has its pages; but that it takes long is
    /// told.
    fn watch_answers(&mut self, answered: u64, open: usize, context: &mut Context<'_>) {
        if open == 0 {
            self.watchdog = None;
            return;
        }
        let timer = self.timer;
        let begin = || (Box::pin(timer.sleep(STUCK_AFTER)) as Sleep<'t>, answered);
        let (sleep, at_first) = self.watchdog.get_or_insert_with(begin);
        if sleep.as_mut().poll(context).is_ready() {
            if *at_first == answered {
                let seconds = STUCK_AFTER.as_secs();
                log::warn!("{}: {open} requests, and no answer for {seconds} s", self.name);
            }
            self.watchdog = None;
            context.waker().wake_by_ref();
        }
    }
}
