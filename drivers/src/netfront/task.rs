//! The driver: makes connections to the backend, watches them, and takes them away.
//!
//! ```text
//!      ╭───────────────────────────────────────────────────────────────────╮
//!      ▼                                                                   │ backend gone or
//!   prepare ─▶ read offer ─▶ rings, grants, ports ─▶ publish ─▶ connected ─┤ closing, domain
//!      │  the old rings are freed here:                                    │ resumed: packets
//!      │  the backend has let go                                           │ are kept
//!      ╰─▶ gone: the device was unplugged                                  ╰─▶ lie: closed
//! ```

use super::config::Config;
use super::connection::Connection;
use super::device::{Link, NetDevice};
use super::features::{Features, NumberKey, Offer, QueueKeys, Settings, borrowed};
use super::proto::{Lie, RxRing, TxRing};
use super::queue::{Channels, Queue};
use super::state::{Fault, Shared, Signal};
use crate::Domain;
use crate::timer::{Either, Timer, either};
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::time::Duration;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantError, GrantedPage};
use xen::page::SharedPage;
use xen::ring::{Front, RingIdx, RingPages};
use xen::xenbus::{DeviceError, Event, Frontend, KeyFault, XenbusState};
use xen_abi::event::Priority;
use xen_abi::netif::{RX_SLOT_BYTES, TX_SLOT_BYTES, keys};
use xen_abi::{DomId, Errno};

/// How long a backend that closes, or is made to, may take.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);
/// How long events are held back when too many come for nothing.
const THROTTLE: Duration = Duration::from_millis(1);
/// How long it takes at least from one connection to the next: a backend that comes and goes costs
/// no more than that.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How often memory that is not needed is given back.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// Why there is no connection (any more).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetError {
    /// The device was unplugged: its directory is gone.
    Gone,
    /// The backend has said what cannot be. It is not asked again.
    Lie(Lie),
    /// The device's keys, or the store.
    Device(DeviceError),
    /// The rings could not be granted.
    Grant(GrantError),
    /// Out of memory for the rings.
    OutOfMemory,
    /// Xen gives no event channel.
    Port(Errno),
}

impl From<DeviceError> for NetError {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Gone => Self::Gone,
            other => Self::Device(other),
        }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("unplugged"),
            Self::Lie(lie) => write!(f, "the backend is broken or hostile: {lie}"),
            Self::Device(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::OutOfMemory => f.write_str("no memory for rings"),
            Self::Port(errno) => write!(f, "no event channel: {errno}"),
        }
    }
}

/// How a connection ended that can be made anew.
enum Ended {
    /// The backend closes, or is closed.
    Closed,
    /// The domain was resumed as another one.
    Resumed,
}

/// The driver of one device. [`Self::run`] is to be polled as long as the device is wanted.
pub struct Driver<X: Hypervisor, T> {
    shared: Shared<X>,
    config: Config,
    domain: Domain<X>,
    timer: T,
}

/// A device and its driver.
pub fn new<X: Hypervisor, T: Timer>(
    config: Config,
    domain: Domain<X>,
    timer: T,
) -> (NetDevice<X>, Driver<X, T>) {
    let shared = Shared::new();
    let device = NetDevice { shared: shared.clone() };
    (device, Driver { shared, config, domain, timer })
}

impl<X: Hypervisor, T: Timer> Driver<X, T> {
    /// Drives the device `device/vif/ID` until it is unplugged or cannot be used. Connects again
    /// when its backend has gone or the domain was resumed, and keeps the packets that wait. Can be
    /// called again, also with another number: the stack's end goes on with whatever device there
    /// is.
    ///
    /// # Errors
    /// Always: [`NetError::Gone`] when the device was unplugged, all others are faults. The
    /// toolstack is told, and the device closed.
    ///
    /// # Cancellation
    /// Safe: the connection is taken away, without telling the backend.
    pub async fn run(&mut self, id: u32) -> Result<core::convert::Infallible, NetError> {
        let _guard = Disconnect(self.shared.clone());
        let mut frontend = Frontend::open(&self.domain.store, "vif", id).await?;
        let mut old = None;
        loop {
            let ended = self.session(&mut frontend, old.take()).await;
            // Kept until the backend has let go, so that no grant ends while it is in use.
            old = self.shared.lock().disconnect();
            match ended {
                Ok(Ended::Closed) => log::info!("device/vif/{id}: the backend has gone"),
                Ok(Ended::Resumed) => log::info!("device/vif/{id}: resumed in another domain"),
                Err(NetError::Device(DeviceError::Closing)) => {
                    log::info!("device/vif/{id}: closed by the backend");
                    self.patiently(id, frontend.close()).await;
                }
                Err(NetError::Gone) => return Err(NetError::Gone),
                Err(error) => {
                    log::error!("device/vif/{id}: closed: {error}");
                    self.patiently(id, self.fail(&mut frontend, &error)).await;
                    return Err(error);
                }
            }
            self.timer.sleep(RECONNECT_PAUSE).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn session(
        &self,
        frontend: &mut Frontend,
        old: Option<Connection<X>>,
    ) -> Result<Ended, NetError> {
        frontend.prepare().await?;
        drop(old);
        let settings = Settings::read(frontend.own()).await?;
        let offer = Offer::read(frontend.peer()).await?;
        if !offer.rx_copy {
            return Err(frontend.peer().fault(keys::FEATURE_RX_COPY, KeyFault::Missing).into());
        }
        let features = offer.agree(&self.config);
        let backend = frontend.peer_domain();
        let mut connection = self.connection(features, backend)?;
        // The pages for packets are there before the backend looks.
        let flushed = connection.flush(&[], &mut self.shared.lock().counters);
        if flushed.is_err() {
            return Ok(Ended::Resumed);
        }
        let queues: Vec<QueueKeys> = connection.queues.iter().map(|queue| queue.keys).collect();
        self.publish(frontend, &features, &features.keys(&self.config, &queues)).await?;
        frontend.connect().await?;
        let link = Link::through(&settings, &features);
        self.shared.lock().connect(connection);
        let own = frontend.own();
        log::info!("{}: {}, mtu {}, {features}", own.path(), link.mac, link.mtu_bytes);
        self.watch(frontend, link).await
    }

    /// Tells the backend all keys at once; before that, nothing that would mislead it is left.
    async fn publish(
        &self,
        frontend: &mut Frontend,
        features: &Features,
        all: &[NumberKey],
    ) -> Result<(), NetError> {
        for key in features.stale_keys() {
            // Most often it is not there.
            let path = format!("{}/{key}", frontend.own().path());
            let _ = self.domain.store.rm(&path).await;
        }
        Ok(frontend.publish(&borrowed(all), XenbusState::Connected).await?)
    }

    /// Watches a connection until it ends.
    async fn watch(&self, frontend: &mut Frontend, link: Link) -> Result<Ended, NetError> {
        loop {
            let carrier = frontend.peer().number(keys::CARRIER).await?.unwrap_or(1);
            self.shared.lock().set_link(Link { up: carrier != 0, ..link });
            let signal = poll_fn(|context| self.shared.lock().poll_signal(context));
            let happening = either(signal, self.timer.sleep(TIDY_INTERVAL));
            // The signal first: a connection with a fault is not to be called up again.
            match either(happening, frontend.event()).await {
                Either::Second(event) => match event? {
                    Event::Changed(_) => {}
                    Event::Closing => return Err(DeviceError::Closing.into()),
                    Event::Closed => return Ok(Ended::Closed),
                    Event::Gone => return Err(NetError::Gone),
                },
                Either::First(Either::First(Signal::Fault(Fault::Closed))) => {
                    return Ok(Ended::Resumed);
                }
                Either::First(Either::First(Signal::Fault(Fault::Lie(lie)))) => {
                    return Err(NetError::Lie(lie));
                }
                Either::First(Either::First(Signal::Throttled)) => {
                    self.timer.sleep(THROTTLE).await;
                    self.shared.lock().unthrottle();
                }
                Either::First(Either::Second(())) => self.shared.lock().tidy(),
            }
        }
    }

    /// Tells the toolstack's users why, and closes the device.
    async fn fail(&self, frontend: &mut Frontend, error: &NetError) -> Result<(), DeviceError> {
        // Linux's place for it. To be told is good; not to be told must not keep the device open.
        let path = format!("error/{}/error", frontend.own().path());
        let _ = self.domain.store.write(&path, format!("{error}").as_bytes()).await;
        frontend.close().await
    }

    /// Waits for something that the backend may keep from ending.
    async fn patiently(&self, id: u32, work: impl Future<Output = Result<(), DeviceError>>) {
        match either(work, self.timer.sleep(CLOSING_PATIENCE)).await {
            Either::First(Ok(())) => {}
            Either::First(Err(error)) => log::warn!("device/vif/{id}: closing: {error}"),
            Either::Second(()) => log::warn!("device/vif/{id}: the backend does not close"),
        }
    }

    fn connection(&self, features: Features, backend: DomId) -> Result<Connection<X>, NetError> {
        let grants = &self.domain.grants;
        let queues = (0..features.queues).map(|_| self.queue(&features, backend));
        let queues = queues.collect::<Result<Vec<_>, _>>()?;
        Ok(Connection::new(queues, features, grants.clone(), backend))
    }

    fn queue(&self, features: &Features, backend: DomId) -> Result<Queue<X>, NetError> {
        let tx_ring = self.ring_page(backend)?;
        let rx_ring = self.ring_page(backend)?;
        let open = || self.domain.events.alloc_unbound(backend, Priority::DEFAULT);
        let tx_channel = open().map_err(NetError::Port)?;
        let rx_channel =
            if features.split_channels { Some(open().map_err(NetError::Port)?) } else { None };
        let keys = QueueKeys {
            tx_ring: tx_ring.reference().0,
            rx_ring: rx_ring.reference().0,
            channel: tx_channel.port().0,
            rx_channel: rx_channel.as_ref().map(|channel| channel.port().0),
        };
        let ring = |page, slot_bytes| Front::new(RingPages::new(Vec::from([page]), slot_bytes));
        Ok(Queue {
            tx: TxRing::new(ring(tx_ring, TX_SLOT_BYTES)),
            rx: RxRing::new(ring(rx_ring, RX_SLOT_BYTES), RingIdx(0), self.config.rx_pages),
            channels: Channels { tx: tx_channel, rx: rx_channel },
            backlog: Default::default(),
            keys,
        })
    }

    fn ring_page(&self, backend: DomId) -> Result<GrantedPage, NetError> {
        let page = SharedPage::allocate().ok_or(NetError::OutOfMemory)?;
        let granted = self.domain.grants.grant(backend, page, Access::ReadWrite);
        granted.map_err(NetError::Grant)
    }
}

/// Takes the connection away when the driver ends, however it does.
struct Disconnect<X: Hypervisor>(Shared<X>);

impl<X: Hypervisor> Drop for Disconnect<X> {
    fn drop(&mut self) {
        let connection = self.0.lock().disconnect();
        drop(connection);
    }
}
