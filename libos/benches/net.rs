//! What a packet costs in the stack, with one connection and with ten thousand. No device and no
//! clock: two stacks and a cable on which frames arrive at once.
//!
//! `valgrind --tool=callgrind --toggle-collect='net::measured_requests' … requests --once` counts
//! the instructions of requests alone; so it does for the other two.

use libos::net::device::{Device, Offload};
use libos::net::testing::{Cable, Kind};
use libos::net::{
    Cidr, InterfaceConfig, Limits, Net, Next, TcpListener, TcpOptions, TcpStream, UdpSocket,
};
use libos::time::{Duration, Instant};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant as HostInstant;

/// Two stacks and a clock that moves when we say so.
struct Pair {
    nets: [Net; 2],
    now: Instant,
    cable: Cable,
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

impl Pair {
    fn new(offload: Offload) -> Self {
        let cable = Cable::timeless(Kind::Local, 1500, offload);
        let nets = [(CLIENT, 0), (SERVER, 1)].map(|(address, side)| {
            let limits = Limits { tcp_buffer_bytes: usize::MAX, ..Limits::default() };
            let net = Net::new(limits, &[side as u8 + 1; 32]);
            let config = InterfaceConfig::fixed(&[Cidr { address, bits: 24 }]);
            let device: Box<dyn Device> = Box::new(cable.end(side));
            net.add_interface("eth", device, config).unwrap();
            net
        });
        Self { nets, now: Instant::BOOT, cable }
    }

    /// Both stacks have a turn, and the first another: what one sends arrives, and its answer too.
    fn turn(&mut self) {
        self.now += Duration::from_micros(10);
        for side in [0, 1, 0] {
            while self.nets[side].turn(self.now) == Next::Again {}
        }
    }

    fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = now(future.as_mut()) {
                return output;
            }
            self.turn();
        }
    }

    fn connect(&mut self, listener: &mut TcpListener, options: TcpOptions) -> [TcpStream; 2] {
        let net = self.nets[0].clone();
        let remote = SocketAddr::new(SERVER, listener.port());
        let client = self.wait(net.connect_with(remote, options)).unwrap();
        let server = self.wait(listener.accept()).unwrap();
        [client, server]
    }
}

fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future>(future: F) -> F::Output {
    match now(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// So many requests of a byte and answers of 600 over one connection.
#[inline(never)]
fn measured_requests(pair: &mut Pair, streams: &mut [TcpStream; 2], count: u32) {
    let answer = [7; 600];
    let mut buffer = [0; 2048];
    let [client, server] = streams;
    for _ in 0..count {
        ready(client.write(b"?")).unwrap();
        pair.turn();
        assert_eq!(ready(server.read(&mut buffer)), Ok(1));
        ready(server.write(&answer)).unwrap();
        pair.turn();
        let mut len = 0;
        while len < answer.len() {
            len += ready(client.read(&mut buffer)).unwrap();
        }
    }
}

/// So many bytes from the client to the server, as fast as both take them.
#[inline(never)]
fn measured_bulk(pair: &mut Pair, streams: &mut [TcpStream; 2], count: usize) {
    let chunk = [7; 16 << 10];
    let mut buffer = vec![0; 64 << 10];
    let [client, server] = streams;
    let mut received = 0;
    while received < count {
        while let Poll::Ready(written) = now(pin!(client.write(&chunk))) {
            written.unwrap();
        }
        pair.turn();
        while let Poll::Ready(read) = now(pin!(server.read(&mut buffer))) {
            received += read.unwrap();
        }
    }
}

/// So many datagrams of 40 bytes, each answered by one of 100.
#[inline(never)]
fn measured_datagrams(pair: &mut Pair, sockets: &[UdpSocket; 2], count: u32) {
    let mut buffer = [0; 2048];
    let dest = SocketAddr::new(SERVER, 53);
    for _ in 0..count {
        ready(sockets[0].send_to(&[1; 40], dest)).unwrap();
        pair.turn();
        let (_, origin) = ready(sockets[1].receive(&mut buffer)).unwrap();
        ready(sockets[1].answer(&[2; 100], &origin)).unwrap();
        pair.turn();
        ready(sockets[0].receive(&mut buffer)).unwrap();
    }
}

/// A pair with one connection that is used, among so many.
struct Among {
    pair: Pair,
    streams: [TcpStream; 2],
    _idle: Vec<[TcpStream; 2]>,
    _listeners: [TcpListener; 2],
}

impl Among {
    fn new(connections: usize) -> Self {
        let mut pair = Pair::new(ALL);
        let small =
            TcpOptions { rx_buffer_bytes: 4096, tx_buffer_bytes: 4096, ..TcpOptions::default() };
        let large = TcpOptions {
            rx_buffer_bytes: 1 << 20,
            tx_buffer_bytes: 1 << 20,
            congestion_control: false,
            ..TcpOptions::default()
        };
        let mut listeners = [(7, large), (8, small)]
            .map(|(port, options)| pair.nets[1].listen_with(None, port, 128, options).unwrap());
        let idle = (1..connections).map(|_| pair.connect(&mut listeners[1], small)).collect();
        let streams = pair.connect(&mut listeners[0], large);
        Self { pair, streams, _idle: idle, _listeners: listeners }
    }
}

/// Runs something several times; how long each unit took in the quickest, in nanoseconds.
struct Best(f64);

impl Best {
    fn new() -> Self {
        Self(f64::INFINITY)
    }

    fn run(&mut self, units: u32, act: impl FnOnce()) {
        let start = HostInstant::now();
        act();
        self.0 = self.0.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(units));
    }

    fn report(&self, name: &str) {
        println!("{name:<44} {:>12.0} ns each {:>12.0} /s", self.0, 1e9 / self.0);
    }
}

const ALL: Offload =
    Offload { checksum_ipv4: true, checksum_ipv6: true, segments_ipv4: true, segments_ipv6: true };

/// Requests in a round, and megabytes.
const REQUESTS: u32 = 2000;
const MEGABYTES: u32 = 8;

fn connections(rounds: u32, is_wanted: impl Fn(&str) -> bool) {
    let mut among = [Among::new(1), Among::new(10_000)];
    let mut best = [Best::new(), Best::new()];
    let mut polls = [0, 0];
    // In turns: whatever else the machine does hits both.
    for _ in 0..if is_wanted("requests") { rounds } else { 0 } {
        for ((among, best), polls) in among.iter_mut().zip(&mut best).zip(&mut polls) {
            let Among { pair, streams, .. } = among;
            *polls = pair.nets[1].tcp_counters().0.polls;
            best.run(REQUESTS, || measured_requests(pair, streams, REQUESTS));
            *polls = pair.nets[1].tcp_counters().0.polls - *polls;
        }
    }
    if is_wanted("requests") {
        for (best, (polls, count)) in best.iter().zip(polls.iter().zip([1, 10_000])) {
            best.report(&format!("requests over 1 of {count} connections"));
            let polls = *polls as f64 / f64::from(REQUESTS);
            println!("{:<44} {polls:>12.3} a request", "  connections looked at");
        }
        println!("rate with 10,000 of that with 1: {:.1} %", best[0].0 / best[1].0 * 100.0);
    }
    if is_wanted("bulk") {
        let Among { pair, streams, .. } = &mut among[0];
        let mut best = Best::new();
        let mut frames = 0;
        for _ in 0..rounds {
            frames = pair.cable.sent();
            best.run(MEGABYTES, || measured_bulk(pair, streams, (MEGABYTES << 20) as usize));
            frames = pair.cable.sent() - frames;
        }
        best.report("bulk, a megabyte");
        println!("{:<44} {:>12.1} a megabyte", "  frames", frames as f64 / f64::from(MEGABYTES));
    }
}

fn datagrams(rounds: u32) {
    let mut pair = Pair::new(ALL);
    let port = |side: usize, port| pair.nets[side].bind_udp(port).unwrap();
    let sockets = [port(0, 0), port(1, 53)];
    // The first one waits for its neighbour's address.
    ready(sockets[0].send_to(&[], SocketAddr::new(SERVER, 53))).unwrap();
    for _ in 0..4 {
        pair.turn();
    }
    ready(sockets[1].receive(&mut [])).unwrap();
    let mut best = Best::new();
    for _ in 0..rounds {
        best.run(REQUESTS, || measured_datagrams(&mut pair, &sockets, REQUESTS));
    }
    best.report("datagrams, there and back");
}

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w));
    // Once is enough where instructions are counted.
    let rounds = if std::env::args().any(|arg| arg == "--once") { 1 } else { 50 };
    if is_wanted("requests") || is_wanted("bulk") {
        connections(rounds, is_wanted);
    }
    if is_wanted("datagrams") {
        datagrams(rounds);
    }
}
