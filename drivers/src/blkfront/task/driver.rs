//! The driver: makes connections to the backend, watches them, and takes them away.
//!
//! ```text
//!        ╭────────────────────────────────────────────────────────────────────────╮
//!        ▼                                                                        │
//!   prepare ─▶ rings, grants, ports ─▶ publish (Initialised) ─▶ backend Connected │
//!      │                                     │ geometry, features                 │
//!      │ gone: unplugged                     ▼                                    │
//!      │                                 connected ─▶ served ─┬─ backend closes: drained, closed
//!      ▼                                     │                ├─ backend gone: its cache is lost
//!   closed for good ◀── lie, CD-ROM, … ──────┴────────────────┴─ domain resumed in another
//! ```
//!
//! What the backend was given is taken back only after it has closed its end, so that no grant ends
//! while it is in use. Meanwhile requests wait, and are sent again over the next connection.

use super::device::Connecting;
use super::rings::{Rings, RingsError, borrowed, stale_keys};
use super::session::{Fault, Session};
use super::shared::{CloseOnDrop, Shared};
use crate::Domain;
use crate::blkfront::config::Config;
use crate::blkfront::disk::Geometry;
use crate::blkfront::error::{CloseReason, Lie, Refusal};
use crate::blkfront::proto::{
    self, Ending, Engine, Features, GEOMETRY_KEYS, Keys, Link, RingLayout,
};
use crate::timer::{Either, Timer, either};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;
use xen::Hypervisor;
use xen::xenbus::{self, DeviceError, Event, Frontend, XenbusState};
use xen_abi::blkif::Vdev;
use xen_abi::blkif::keys::{DEVICE_TYPE, backend, toolstack};

/// How long a backend may take to come up the first time.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a backend that closes, or is made to, may take.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes at least from one connection to the next: a backend that comes and goes costs
/// no more than that.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Most bytes of a backend's key.
const KEY_MAX_BYTES: usize = 64;
/// Most bytes of a text of the toolstack's for humans.
const TEXT_MAX_BYTES: usize = 256;

/// The driver of one disk. [`Self::run`] is to be polled as long as the disk is wanted.
pub struct Driver<X: Hypervisor, T> {
    shared: Shared<X>,
    vdev: Vdev,
    config: Config,
    domain: Domain<X>,
    timer: T,
    _close: CloseOnDrop<X>,
}

/// The disk `device/vbd/VDEV` and its driver.
pub fn new<X: Hypervisor, T: Timer>(
    vdev: Vdev,
    config: Config,
    domain: Domain<X>,
    timer: T,
) -> (Connecting<X>, Driver<X, T>) {
    let shared = Shared::new(Engine::new(&config));
    let disk = Connecting { shared: shared.clone(), vdev };
    let close = CloseOnDrop(shared.clone());
    (disk, Driver { shared, vdev, config, domain, timer, _close: close })
}

/// Why a connection has not come about, or cannot go on.
enum Trouble {
    Device(DeviceError),
    Rings(RingsError),
    Refused(Refusal),
    Lie(Lie),
    /// The backend did not come up in time.
    Late,
}

impl From<DeviceError> for Trouble {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Rings(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Lie(lie) => lie.fmt(f),
            Self::Late => f.write_str("the backend does not come up"),
        }
    }
}

impl Trouble {
    /// What the app is told.
    fn reason(&self) -> CloseReason {
        match self {
            Self::Device(DeviceError::Gone) => CloseReason::Unplugged,
            Self::Device(_) | Self::Rings(_) | Self::Late => CloseReason::NoBackend,
            Self::Refused(refusal) => CloseReason::Refused(*refusal),
            Self::Lie(lie) => CloseReason::Lie(*lie),
        }
    }
}

impl<X: Hypervisor, T: Timer> Driver<X, T> {
    /// Drives the disk until it is gone for good: unplugged, refused, or its backend lied. Connects
    /// again when the backend has gone or the domain was resumed, and does what was under way then.
    ///
    /// # Cancellation
    /// The disk is closed, without telling the backend.
    pub async fn run(self) -> CloseReason {
        let opened = Frontend::open(&self.domain.store, DEVICE_TYPE, self.vdev.0).await;
        let trouble = match opened {
            Ok(mut frontend) => self.sessions(&mut frontend).await,
            Err(error) => Trouble::Device(error),
        };
        let reason = trouble.reason();
        self.shared.with(|engine| engine.close(reason));
        log::log!(level_of(&reason), "{}: closed: {trouble}", self.vdev);
        reason
    }

    /// One connection after another, until none can be made any more.
    async fn sessions(&self, frontend: &mut Frontend) -> Trouble {
        let mut ending = Ending::Orderly;
        // What the backend was told of and has not let go yet, if there is no link to keep it.
        let mut rings = None;
        loop {
            let pause = self.timer.sleep(RECONNECT_PAUSE);
            match self.session(frontend, ending, &mut rings).await {
                Ok(now) => {
                    ending = now;
                    let how = if now == Ending::Death { "its backend died" } else { "reconnects" };
                    log::info!("{}: {how}", self.vdev);
                }
                // Closed while it was being set up: it may come back.
                Err(Trouble::Device(DeviceError::Closing)) => {
                    self.patiently(frontend.close()).await;
                }
                Err(trouble) => {
                    let reason = trouble.reason();
                    self.shared.with(|engine| engine.close(reason));
                    if reason != CloseReason::Unplugged {
                        self.patiently(self.tell(frontend, &trouble)).await;
                    }
                    return trouble;
                }
            }
            pause.await;
        }
    }

    /// One connection, from its beginning to its end. `before` is how the last one ended.
    async fn session(
        &self,
        frontend: &mut Frontend,
        before: Ending,
        kept: &mut Option<Rings<X>>,
    ) -> Result<Ending, Trouble> {
        self.start(frontend.prepare()).await?;
        // The backend has let go of everything, or is another one.
        self.shared.with(|engine| engine.detach(before));
        let own = frontend.own();
        if own.text(toolstack::DEVICE_TYPE, KEY_MAX_BYTES).await?.as_deref() == Some("cdrom") {
            return Err(Refusal::CdRom.into());
        }
        let trusted = own.number(toolstack::TRUSTED).await? != Some(0);
        let offer = read_keys(frontend.peer(), &RingLayout::KEYS).await?;
        let layout = RingLayout::negotiate(&offer, &self.config);
        let domid = frontend.peer_domain();
        let rings = Rings::new(&self.domain, domid, layout).map_err(Trouble::Rings)?;
        self.publish(frontend, kept.insert(rings), layout).await?;
        self.start(frontend.connect()).await?;
        let geometry = read_geometry(frontend).await?;
        let offer = read_keys(frontend.peer(), &Features::KEYS).await?;
        let features = Features::negotiate(&offer, &geometry, &self.config);
        frontend.connected().await?;
        let Some(rings) = kept.take() else { return Ok(before) };
        let backend = proto::Backend { domid, handle: self.vdev.handle(), trusted };
        let grants = self.domain.grants.clone();
        let link = Link::new(grants, backend, features, rings.rings, &self.config);
        self.shared.with(|engine| engine.attach(link, geometry));
        log::info!("{}: {geometry:?} {layout:?} {features:?}", self.vdev);
        let session = Session::new(self.shared.clone(), rings.channels, &self.timer, self.vdev);
        self.watch(frontend, session).await
    }

    /// Tells the backend all keys at once; before that, nothing that would mislead it is left.
    async fn publish(
        &self,
        frontend: &mut Frontend,
        rings: &Rings<X>,
        layout: RingLayout,
    ) -> Result<(), DeviceError> {
        for key in stale_keys(layout) {
            // Most often it is not there.
            let path = format!("{}/{key}", frontend.own().path());
            let _ = self.domain.store.rm(&path).await;
        }
        let keys = rings.keys(layout, self.config.persistent);
        frontend.publish(&borrowed(&keys), XenbusState::Initialised).await
    }

    /// Serves a connection until it ends.
    async fn watch(
        &self,
        frontend: &mut Frontend,
        mut session: Session<'_, X, T>,
    ) -> Result<Ending, Trouble> {
        loop {
            let event = match session.serve(frontend.event()).await {
                Ok(event) => event?,
                Err(Fault::Resumed) => return Ok(Ending::Orderly),
                Err(Fault::Lie(lie)) => return Err(Trouble::Lie(lie)),
            };
            match event {
                Event::Changed(key) if key == backend::SECTORS => self.resize(frontend).await?,
                Event::Changed(_) => {}
                Event::Gone => return Err(DeviceError::Gone.into()),
                Event::Closed => return Ok(Ending::Death),
                Event::Closing => {
                    let drained = either(session.drain(), self.timer.sleep(CLOSING_PATIENCE)).await;
                    if let Either::First(Err(Fault::Lie(lie))) = drained {
                        return Err(Trouble::Lie(lie));
                    }
                    // Its end closed, the backend has brought home what it had in its cache.
                    self.patiently(frontend.close()).await;
                    return Ok(Ending::Orderly);
                }
            }
        }
    }

    /// The disk has another size. One that makes no sense is as if it were not told.
    async fn resize(&self, frontend: &Frontend) -> Result<(), DeviceError> {
        let keys = read_keys(frontend.peer(), &[backend::SECTORS]).await?;
        let shape = self.shared.with(|engine| engine.geometry());
        match keys.sectors().ok_or(Refusal::Sectors).and_then(|n| proto::capacity(n, &shape)) {
            Ok(sectors) => self.shared.with(|engine| engine.resize(sectors)),
            Err(refusal) => log::warn!("{}: not resized: {refusal}", self.vdev),
        }
        Ok(())
    }

    /// Waits for the backend. The first time there is a limit; later the app has requests to be
    /// done.
    async fn start(
        &self,
        work: impl Future<Output = Result<(), DeviceError>>,
    ) -> Result<(), Trouble> {
        let mut work = pin!(work);
        loop {
            match either(work.as_mut(), self.timer.sleep(START_PATIENCE)).await {
                Either::First(result) => return Ok(result?),
                Either::Second(()) if self.shared.with(|engine| engine.is_known()) => {
                    log::warn!("{}: the backend does not come back; requests wait", self.vdev);
                }
                Either::Second(()) => return Err(Trouble::Late),
            }
        }
    }

    /// Tells the toolstack's users why, and closes the device.
    async fn tell(&self, frontend: &mut Frontend, trouble: &Trouble) -> Result<(), DeviceError> {
        if let Trouble::Late = trouble {
            let peer = frontend.peer();
            if let Ok(Some(text)) = peer.text(backend::HOTPLUG_ERROR, TEXT_MAX_BYTES).await {
                log::error!("{}: {text}", self.vdev);
            }
        }
        // Linux's place for it. To be told is good; not to be told must not keep the device open.
        let path = format!("error/{}/error", frontend.own().path());
        let _ = self.domain.store.write(&path, format!("{trouble}").as_bytes()).await;
        frontend.close().await
    }

    /// Waits for something that the backend may keep from ending.
    async fn patiently(&self, work: impl Future<Output = Result<(), DeviceError>>) {
        match either(work, self.timer.sleep(CLOSING_PATIENCE)).await {
            Either::First(Ok(())) => {}
            Either::First(Err(error)) => log::warn!("{}: closing: {error}", self.vdev),
            Either::Second(()) => log::warn!("{}: the backend does not close", self.vdev),
        }
    }
}

fn level_of(reason: &CloseReason) -> log::Level {
    match reason {
        CloseReason::Unplugged | CloseReason::Stopped => log::Level::Info,
        _ => log::Level::Error,
    }
}

async fn read_geometry(frontend: &Frontend) -> Result<Geometry, Trouble> {
    let keys = read_keys(frontend.peer(), &GEOMETRY_KEYS).await?;
    Ok(proto::geometry(&keys)?)
}

/// The text of one key, on its way.
type Read<'a> = Pin<Box<dyn Future<Output = Result<Option<String>, DeviceError>> + Send + 'a>>;

/// Reads keys of a backend, all at once. Those whose values are no short texts count as not there.
async fn read_keys(
    directory: xenbus::Keys<'_>,
    names: &[&'static str],
) -> Result<Keys, DeviceError> {
    let mut reads: Vec<(&'static str, Read<'_>)> = Vec::new();
    for name in names {
        reads.push((*name, Box::pin(directory.text(name, KEY_MAX_BYTES))));
    }
    let mut keys = Keys::new();
    poll_fn(|context| {
        let mut index = 0;
        while let Some((name, read)) = reads.get_mut(index) {
            match read.as_mut().poll(context) {
                Poll::Pending => index += 1,
                Poll::Ready(value) => {
                    match value {
                        Ok(Some(value)) => keys.insert(name, value.into_bytes()),
                        Ok(None) => {}
                        Err(DeviceError::Key { path, fault }) => {
                            log::warn!("{}", DeviceError::Key { path, fault });
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                    drop(reads.swap_remove(index));
                }
            }
        }
        if reads.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(keys)
}
