//! TCP/IP: interfaces, addresses, and sockets of which there may be any number.
//!
//! ```text
//!   app ── TcpListener, TcpStream, UdpSocket, resolve ───╮         one lock, no task switch
//!                                                         ▼
//!   run ── turn ─▶ [ interfaces | TCP: flows, deadlines | UDP: ports ]    one state, one lock
//!                       │ receive, begin_frame, flush
//!                       ▼
//!                    Device: netfront, or a test's link
//! ```
//!
//! [`Net`] is the stack, and [`Net::run`] the one task that works for it. TCP itself is smoltcp's,
//! one connection at a time ([`tcp`]); around it is what makes the cost of a packet the same for
//! one connection and for ten thousand. Everything that others can make us keep has a bound:
//! [`Limits`].
//!
//! Not here: routing between interfaces, a loopback interface, multicast groups of apps, and
//! fragments' checksums left to the device.

pub mod addresses;
mod config;
mod counters;
pub mod device;
mod dhcp;
mod discovery;
mod dns;
mod egress;
mod env;
mod error;
mod fragment;
mod hash;
mod index;
mod ingress;
mod interface;
mod limits;
mod neighbor;
pub mod pcap;
mod port;
mod socket;
mod stack;
mod stream;
mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod timers;
mod udp;
mod waiters;
mod wire;

pub use addresses::{Address, Cidr};
pub use config::{ConfigError, InterfaceConfig};
pub use counters::{ConnectionCounters, InterfaceCounters, TcpCounters, TcpCounts};
pub use device::Device;
pub use error::Error;
pub use limits::Limits;
pub use pcap::{Capture, CaptureOptions};
pub use socket::UdpSocket;
pub use stack::Next;
pub use stream::{ReadHalf, TcpListener, TcpStream, WriteHalf};
pub use tcp::TcpOptions;
pub use udp::{Origin, UdpOptions};

use crate::time::{Instant, Sleep, sleep_until};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use hash::Secret;
use spin::Mutex;
use stack::Stack;

/// Connections that may wait to be accepted, unless said otherwise.
const BACKLOG: usize = 128;

/// The stack. All that are cloned from one are the same.
#[derive(Clone)]
pub struct Net(Arc<Mutex<Stack>>);

/// An interface of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterfaceId(u8);

/// What can be told of an interface.
#[derive(Clone, Debug)]
pub struct InterfaceInfo {
    /// Its name.
    pub name: String,
    /// Its link as it is now.
    pub link: device::Link,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// What it has seen.
    pub counters: InterfaceCounters,
    /// Neighbours that are known or sought.
    pub neighbors: usize,
}

impl Net {
    /// A stack without interfaces. `secret` is 32 random bytes: sequence numbers and ports come
    /// from it.
    pub fn new(limits: Limits, secret: &[u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(Stack::new(limits, Secret::new(secret)))))
    }

    /// Does something with the stack, and wakes who can go on.
    fn with<R>(&self, act: impl FnOnce(&mut Stack) -> R) -> R {
        let mut wakes = Vec::new();
        let result = self.with_wakes(&mut wakes, act);
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// Does something with the stack, and gives whom to wake. `wakes` is empty before.
    fn with_wakes<R>(&self, wakes: &mut Vec<Waker>, act: impl FnOnce(&mut Stack) -> R) -> R {
        let mut stack = self.0.lock();
        let result = act(&mut stack);
        if !stack.common.wakes.is_empty() {
            core::mem::swap(wakes, &mut stack.common.wakes);
        }
        result
    }

    /// Adds an interface.
    ///
    /// # Errors
    /// [`Error::Limit`] if there are 256.
    pub fn add_interface(
        &self,
        name: impl Into<String>,
        device: Box<dyn Device>,
        config: InterfaceConfig,
    ) -> Result<InterfaceId, Error> {
        self.with(|stack| stack.add(name.into(), device, config)).map(InterfaceId)
    }

    /// Removes an interface. Connections over it end with [`Error::InterfaceGone`].
    pub fn remove_interface(&self, interface: InterfaceId) {
        self.with(|stack| stack.remove(interface.0));
    }

    /// Waits until an interface has an address that others can reach it by, or is gone.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn configured(&self, interface: InterfaceId) {
        poll_fn(|context| {
            self.with(|stack| match stack.interface(interface.0) {
                Some(interface) if !interface.is_configured() => {
                    interface.inner.configured.add(context);
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            })
        })
        .await;
    }

    /// Listens on a port of all addresses, with the default options.
    ///
    /// # Errors
    /// [`Error::InUse`] if somebody does; [`Error::Invalid`] for port 0.
    pub fn listen(&self, port: u16) -> Result<TcpListener, Error> {
        self.listen_with(None, port, BACKLOG, TcpOptions::default())
    }

    /// Listens on a port, of one address or of all. `backlog` connections may wait to be accepted;
    /// all get these options.
    ///
    /// # Errors
    /// As [`Self::listen`].
    pub fn listen_with(
        &self,
        address: Option<IpAddr>,
        port: u16,
        backlog: usize,
        options: TcpOptions,
    ) -> Result<TcpListener, Error> {
        let number = self.with(|stack| stack.tcp.listen(address, port, backlog, options))?;
        Ok(TcpListener::new(self.clone(), number))
    }

    /// Opens a connection, with the default options.
    ///
    /// # Errors
    /// When there is no way to the peer, when it does not answer, or does not accept.
    ///
    /// # Cancellation
    /// The connection is given up.
    pub async fn connect(&self, remote: SocketAddr) -> Result<TcpStream, Error> {
        self.connect_with(remote, TcpOptions::default()).await
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// # Cancellation
    /// As [`Self::connect`].
    pub async fn connect_with(
        &self,
        remote: SocketAddr,
        options: TcpOptions,
    ) -> Result<TcpStream, Error> {
        let number = self.with(|stack| {
            let (id, source) = stack.route(remote)?;
            let (side, tcp, mut env) = stack.tcp_parts(id);
            let side = side.ok_or(Error::NoRoute)?;
            let number = tcp.open(source, remote, options, side, &mut env)?;
            stack.ask_for_turn();
            Ok(number)
        })?;
        TcpStream::new(self.clone(), number).connected().await
    }

    /// Opens a UDP socket on a port of all addresses; 0 stands for any port that is free.
    ///
    /// # Errors
    /// [`Error::InUse`] if somebody has that port.
    pub fn bind_udp(&self, port: u16) -> Result<UdpSocket, Error> {
        self.bind_udp_with(None, port, None, None)
    }

    /// Opens a UDP socket: of one address or of all, for one peer or for any.
    ///
    /// # Errors
    /// As [`Self::bind_udp`].
    pub fn bind_udp_with(
        &self,
        address: Option<IpAddr>,
        port: u16,
        peer: Option<SocketAddr>,
        options: Option<UdpOptions>,
    ) -> Result<UdpSocket, Error> {
        let number = self.with(|stack| {
            let limits = &stack.common.limits;
            let options = options.unwrap_or(UdpOptions {
                queue_bytes: limits.udp_queue_bytes,
                queue_datagrams: limits.udp_queue_datagrams,
            });
            stack.udp.bind(address, port, peer, options, &stack.common.secret)
        })?;
        Ok(UdpSocket::new(self.clone(), number, peer))
    }

    /// Captures the frames of an interface, those that come in and those that go out, until the
    /// capture is dropped. A capture that was begun before ends.
    ///
    /// # Errors
    /// [`Error::InterfaceGone`].
    pub fn capture(
        &self,
        interface: InterfaceId,
        options: CaptureOptions,
    ) -> Result<Capture, Error> {
        let (capture, tap) = Capture::new(options);
        let before = self.with(|stack| {
            let interface = stack.interface(interface.0).ok_or(Error::InterfaceGone)?;
            Ok(interface.port.tap.replace(tap))
        });
        // The tap wakes its reader when it is dropped: without the lock.
        before.map(drop).map(|()| capture)
    }

    /// What can be told of an interface; nothing if it is gone.
    pub fn info(&self, interface: InterfaceId) -> Option<InterfaceInfo> {
        self.with(|stack| {
            let interface = stack.interface(interface.0)?;
            let inner = &interface.inner;
            Some(InterfaceInfo {
                name: inner.name.clone(),
                link: inner.link.clone(),
                addresses: inner.addresses.list().to_vec(),
                counters: interface.counters(),
                neighbors: inner.neighbors.len(),
            })
        })
    }

    /// What TCP has seen, and how many connections of which kind there are.
    pub fn tcp_counters(&self) -> (TcpCounters, TcpCounts) {
        self.with(|stack| (stack.tcp.counters, stack.tcp.counts))
    }

    /// Does all that is to be done now. [`Self::run`] does it when it is time.
    #[doc(hidden)]
    pub fn turn(&self, now: Instant) -> Next {
        self.with(|stack| stack.turn(now))
    }

    /// Works for the stack, for ever: one task must.
    ///
    /// # Cancellation
    /// Safe: whoever runs it next goes on.
    pub async fn run(&self) {
        let (mut alarm, mut wakes) = (None, Vec::new());
        poll_fn(|context| self.poll_run(&mut alarm, &mut wakes, context)).await
    }

    fn poll_run(
        &self,
        alarm: &mut Option<Sleep>,
        wakes: &mut Vec<Waker>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let (next, ready) = self.with_wakes(wakes, |stack| {
            let next = stack.turn(Instant::now());
            (next, stack.poll_devices(context))
        });
        wakes.drain(..).for_each(Waker::wake);
        let again = match next {
            Next::At(deadline) if !ready => is_over(alarm, deadline, context),
            _ => true,
        };
        if again {
            // Others have their turn first.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Sets the alarm; whether it goes off at once. One that is too early is left: it costs one turn,
/// and that is cheaper than setting it anew with every packet.
fn is_over(alarm: &mut Option<Sleep>, deadline: Instant, context: &mut Context<'_>) -> bool {
    if alarm.as_ref().is_none_or(|alarm| alarm.deadline() > deadline) {
        *alarm = (deadline < Instant::FAR_FUTURE).then(|| sleep_until(deadline));
    }
    let over = alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(context).is_ready());
    if over {
        *alarm = None;
    }
    over
}
