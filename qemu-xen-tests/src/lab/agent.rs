//! The host's end of the agent's port: sends commands to dom0 and collects the answers.
//!
//! Several commands may run beside each other; each has a slot, and the reader thread hands an
//! answer to whoever waits for that slot. The format is described in `dom0/agent.sh`.

use crate::{Context, Error, Result};
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a command in dom0 did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 124 when the limit was reached.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without blanks at the end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_string()
    }

    /// Standard error as text, without blanks at the end.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_string()
    }

    /// Whether the status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// The connection.
pub struct Agent {
    out: Mutex<UnixStream>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Separates the parts of an answer.
    mark: String,
    state: Mutex<State>,
    /// Signalled when the first line has come, or the connection has ended.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: bool,
    ended: bool,
    waiting: BTreeMap<usize, Sender<Output>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Connects to QEMU's socket; the agent behind it may not be there yet.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let reader = BufReader::new(stream.try_clone()?);
        let shared = Arc::new(Shared { mark: new_mark(), ..Shared::default() });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            // However it ends, nobody waits for an answer any longer.
            let _ = read_answers(reader, &theirs);
            let mut state = theirs.lock();
            state.ended = true;
            state.waiting.clear();
            theirs.changed.notify_all();
        });
        Ok(Self { out: Mutex::new(stream), shared })
    }

    /// Whether the agent has reported, after waiting for `limit` at most.
    pub fn ready(&self, limit: Duration) -> bool {
        let state = self.shared.lock();
        let wait = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !state.ready && !state.ended);
        wait.unwrap_or_else(PoisonError::into_inner).0.ready
    }

    /// Runs a script of bash in dom0; `limit` is kept in dom0, and a little later here.
    pub fn run(&self, script: &str, limit: Duration) -> Result<Output> {
        self.request("bash", script, limit)
    }

    /// Runs a script of dom0's small shell, in which `ip`, `mount` and so on are busybox's own.
    /// This takes a tenth of the time, and nobody in dom0 looks at the limit.
    pub fn run_quick(&self, script: &str, limit: Duration) -> Result<Output> {
        self.request("quick", script, limit)
    }

    fn request(&self, kind: &str, script: &str, limit: Duration) -> Result<Output> {
        let seconds = limit.as_secs().max(1);
        let (slot, answer) = self.take_slot();
        let mark = self.shared.mark.as_str();
        let request = format!("{slot} {kind} {seconds} {} {mark}\n{script}", script.len());
        let result = self.send(&request).and_then(|()| {
            // dom0's clock is not ours: give it time to notice.
            wait(&answer, Instant::now() + limit + limit + Duration::from_secs(20), script)
        });
        self.shared.lock().waiting.remove(&slot);
        result
    }

    fn take_slot(&self) -> (usize, Receiver<Output>) {
        let (sender, receiver) = channel();
        let mut state = self.shared.lock();
        let slot = (1..).find(|slot| !state.waiting.contains_key(slot)).unwrap_or(0);
        if !state.ended {
            state.waiting.insert(slot, sender);
        }
        (slot, receiver)
    }

    fn send(&self, request: &str) -> Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(request.as_bytes()).doing(|| "send a command to dom0".into())
    }
}

fn wait(answer: &Receiver<Output>, until: Instant, script: &str) -> Result<Output> {
    match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(output) => Ok(output),
        Err(RecvTimeoutError::Timeout) => {
            Err(Error::new(format!("dom0 did not answer: {}", first_line(script))))
        }
        Err(RecvTimeoutError::Disconnected) => Err(Error::new("the lab has ended")),
    }
}

fn first_line(script: &str) -> &str {
    script.lines().next().unwrap_or_default()
}

fn read_answers(mut from: impl BufRead, shared: &Shared) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim() == "ready" {
            shared.lock().ready = true;
            shared.changed.notify_all();
            continue;
        }
        let Ok(slot) = line.trim().parse::<usize>() else { continue };
        let mark = shared.mark.as_bytes();
        let stdout = read_to_mark(&mut from, mark)?;
        let stderr = read_to_mark(&mut from, mark)?;
        line.clear();
        from.read_line(&mut line)?;
        let output = Output { status: line.trim().parse().unwrap_or(-1), stdout, stderr };
        if let Some(sender) = shared.lock().waiting.remove(&slot) {
            // Whoever asked may have given up.
            let _ = sender.send(output);
        }
    }
}

/// The bytes up to a mark; the mark is taken off.
fn read_to_mark(from: &mut impl BufRead, mark: &[u8]) -> io::Result<Vec<u8>> {
    let last = mark.last().copied().unwrap_or(b'\n');
    let mut bytes = Vec::new();
    loop {
        if from.read_until(last, &mut bytes)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if bytes.ends_with(mark) {
            bytes.truncate(bytes.len() - mark.len());
            return Ok(bytes);
        }
    }
}

/// A text that no command's output has in it.
fn new_mark() -> String {
    let state = std::collections::hash_map::RandomState::new();
    let number = |seed: u8| state.hash_one(seed);
    format!("{:016x}{:016x}~", number(1), number(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_whoever_waits() {
        let shared = Shared { mark: "M~".into(), ..Shared::default() };
        let (first, first_answer) = channel();
        let (second, second_answer) = channel();
        shared.lock().waiting.extend([(1, first), (2, second)]);
        let bytes: &[u8] = b"ready\n2\na\0b~M~M~ 0\n1\nM~err\nM~ 7\n";
        read_answers(bytes, &shared).unwrap();
        assert!(shared.lock().ready);
        assert_eq!(second_answer.recv().unwrap().stdout, b"a\0b~");
        let answer = first_answer.recv().unwrap();
        assert_eq!((answer.status, answer.error_text().as_str()), (7, "err"));
        assert!(answer.stdout.is_empty());
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let shared = Shared { mark: "M~".into(), ..Shared::default() };
        assert!(read_answers(&b"1\nabcM~de"[..], &shared).is_err());
    }

    #[test]
    fn marks_differ() {
        assert_ne!(new_mark(), new_mark());
        assert_eq!(new_mark().len(), 33);
    }
}
