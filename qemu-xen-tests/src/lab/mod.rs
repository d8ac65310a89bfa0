//! A running lab: Xen and dom0 in QEMU, with a way to run commands and domains.
//!
//! Files go in and out through the share, a folder of the host that dom0 has as `/share`. Commands
//! go through an agent on a virtio port. The domains' consoles are files in the share too, so the
//! host reads them while they grow.

mod agent;
mod domain;
mod follow;
mod qemu;

pub use agent::Output;
pub use domain::{Domain, EndWatch, Ended, State};
pub use follow::Follow;
pub use qemu::Accel;

use crate::image::Image;
use crate::xl::single_quote;
use crate::{Cache, Context, Error, Progress, Result, pieces};
use agent::Agent;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How to boot a lab.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// What executes the guests.
    pub accel: Accel,
    /// One virtual time for all, in which figures repeat.
    pub counted_time: bool,
    /// The machine's memory.
    pub memory_mib: u32,
    /// dom0's share of it.
    pub dom0_memory_mib: u32,
    /// Where the log of Xen and dom0 goes; a file in the lab's own folder if not given.
    pub console_log: Option<PathBuf>,
    /// How long the boot may take.
    pub boot_limit: Duration,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            accel: Accel::Tcg,
            counted_time: false,
            memory_mib: 3072,
            dom0_memory_mib: 1024,
            console_log: None,
            boot_limit: Duration::from_secs(180),
        }
    }
}

/// Memory that Xen keeps for itself and for a domain's own structures.
const XEN_MIB: u32 = 512;

impl LabOptions {
    /// With memory for a guest of this size, beside dom0 and Xen.
    #[must_use]
    pub fn with_room_for(mut self, guest_mib: u32) -> Self {
        let needed_mib = self.dom0_memory_mib.saturating_add(guest_mib).saturating_add(XEN_MIB);
        self.memory_mib = self.memory_mib.max(needed_mib);
        self
    }
}

/// A lab. Dropping it ends QEMU.
pub struct Lab {
    folder: PathBuf,
    share: PathBuf,
    console_log: PathBuf,
    child: Mutex<Child>,
    agent: Agent,
    boot_time: Duration,
    domains: AtomicU32,
}

impl Lab {
    /// Boots a lab and waits until dom0 takes commands.
    ///
    /// # Errors
    /// When a piece is missing or the boot fails; the error then shows the end of the log.
    pub fn boot(options: &LabOptions, progress: &Progress) -> Result<Self> {
        let cache = Cache::open()?;
        let root = match std::env::var_os("XENIOS_LAB_ROOT").filter(|name| !name.is_empty()) {
            Some(root) => PathBuf::from(root),
            None => pieces::DOM0.root(&cache, progress)?,
        };
        let image = Image::of(&root, &cache, progress)?;
        let folder = new_folder()?;
        let share = folder.join("share");
        std::fs::create_dir(&share).doing(|| format!("create {}", share.display()))?;
        let console_log = match &options.console_log {
            Some(path) => std::path::absolute(path).doing(|| format!("find {}", path.display()))?,
            None => folder.join("console.log"),
        };
        if let Some(parent) = console_log.parent() {
            std::fs::create_dir_all(parent).doing(|| format!("create {}", parent.display()))?;
        }
        let started = Instant::now();
        let start = qemu::Start {
            folder: &folder,
            image: &image,
            accel: options.accel,
            counted_time: options.counted_time,
            memory_mib: options.memory_mib,
            dom0_memory_mib: options.dom0_memory_mib,
            console_log: &console_log,
        };
        let mut child = start.spawn(&cache, progress)?;
        progress.step("booting the Xen lab");
        let agent = connect(&folder, &mut child, &console_log, started + options.boot_limit);
        let mut lab = Self {
            agent: match agent {
                Ok(agent) => agent,
                Err(error) => {
                    progress.abandon();
                    end(&mut child);
                    return Err(error);
                }
            },
            folder,
            share,
            console_log,
            child: Mutex::new(child),
            boot_time: Duration::ZERO,
            domains: AtomicU32::new(0),
        };
        lab.boot_time = started.elapsed();
        progress.end();
        Ok(lab)
    }

    /// How long the boot took.
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// Runs a script of bash in dom0, for `limit` at most.
    ///
    /// # Errors
    /// When the lab has ended or does not answer; a script that fails is an [`Output`].
    pub fn sh(&self, script: &str, limit: Duration) -> Result<Output> {
        self.agent.run(script, limit).map_err(|error| self.explain(error))
    }

    /// Runs a script of busybox's shell in dom0: quicker, but many commands are busybox's own.
    ///
    /// # Errors
    /// As for [`Lab::sh`].
    pub fn quick(&self, script: &str, limit: Duration) -> Result<Output> {
        self.agent.run_quick(script, limit).map_err(|error| self.explain(error))
    }

    /// Runs a script that has to succeed; gives its output.
    ///
    /// # Errors
    /// As for [`Lab::sh`], and when the script's status is not 0.
    pub fn sh_ok(&self, script: &str, limit: Duration) -> Result<String> {
        let output = self.sh(script, limit)?;
        if output.success() {
            return Ok(output.text());
        }
        Err(Error::new(format!(
            "in dom0, `{script}` ended with status {}: {}{}",
            output.status,
            output.text(),
            output.error_text()
        )))
    }

    /// The folder of the host that dom0 has as `/share`.
    pub fn share(&self) -> &Path {
        &self.share
    }

    /// Copies a file into the share; gives its path in dom0.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn send(&self, file: &Path, name: &str) -> Result<String> {
        let inside = self.share.join(name);
        std::fs::copy(file, &inside)
            .doing(|| format!("copy {} to {}", file.display(), inside.display()))?;
        Ok(format!("/share/{name}"))
    }

    /// Writes bytes into a file in the share; gives its path in dom0.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let inside = self.share.join(name);
        std::fs::write(&inside, bytes).doing(|| format!("write {}", inside.display()))?;
        Ok(format!("/share/{name}"))
    }

    /// What dom0 calls a path in the share.
    pub fn dom0_path(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(&self.share).ok()?;
        Some(format!("/share/{}", inside.to_str()?))
    }

    /// The socket of the interactive shell.
    pub fn shell_socket(&self) -> PathBuf {
        self.folder.join("shell")
    }

    /// What Xen has written to its console so far.
    pub fn xen_log(&self) -> String {
        let bytes = std::fs::read(&self.console_log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether QEMU still runs.
    pub fn alive(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        matches!(child.try_wait(), Ok(None))
    }

    /// Fails if QEMU has ended.
    ///
    /// # Errors
    /// When the lab has died.
    pub fn check(&self) -> Result<()> {
        if self.alive() { Ok(()) } else { Err(self.explain(Error::new("the lab has ended"))) }
    }

    /// A connection to a domain's keyboard. There is one for all: the last to ask has it.
    ///
    /// # Errors
    /// When the domain has no console, or the lab dies.
    pub fn typist(&self, domain: &Domain) -> Result<UnixStream> {
        let name = single_quote(&domain.name);
        self.sh_ok(
            &format!(
                "[ ! -e /run/typist ] || kill $(cat /run/typist) 2> /dev/null
                tty=$(xenstore-read /local/domain/$(xl domid {name})/console/tty)
                port=$(echo /dev/vport*p3)
                setsid cat $port > $tty 2> /dev/null < /dev/null & echo $! > /run/typist"
            ),
            Duration::from_secs(30),
        )?;
        let path = self.folder.join("keys");
        UnixStream::connect(&path).doing(|| format!("connect to {}", path.display()))
    }

    /// A number that no domain of this lab had yet.
    fn next_number(&self) -> u32 {
        self.domains.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds the end of the log to an error of a lab that has died.
    fn explain(&self, error: Error) -> Error {
        // QEMU closes its sockets a moment before it is gone.
        for _ in 0..20 {
            if !self.alive() {
                return died(&self.console_log, "the lab ended unexpectedly");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        error
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        end(&mut child);
    }
}

/// Ends QEMU and waits for that.
fn end(child: &mut Child) {
    drop(child.stdin.take());
    // There is nobody left to tell.
    let _ = child.wait();
}

/// A folder for one lab; the script around QEMU removes it. Socket paths have to be short.
fn new_folder() -> Result<PathBuf> {
    let parent = std::env::temp_dir();
    let process = std::process::id();
    for number in 0..1000 {
        let folder = parent.join(format!("xenios-lab-{process}-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).doing(|| format!("create {}", folder.display())),
        }
    }
    Err(Error::new(format!("there are too many labs in {}", parent.display()))
        .help("remove the folders xenios-lab-* there"))
}

/// Connects to the agent and waits for its first line.
fn connect(folder: &Path, child: &mut Child, log: &Path, until: Instant) -> Result<Agent> {
    let messages = std::fs::File::open(folder.join(qemu::MESSAGES));
    let mut agent = None;
    loop {
        if let Ok(Some(_)) = child.try_wait() {
            let said = messages.map(std::io::read_to_string);
            let said = said.ok().and_then(std::result::Result::ok).unwrap_or_default();
            return Err(died(log, &format!("QEMU ended during the boot. {}", said.trim())));
        }
        if Instant::now() > until {
            return Err(died(log, "the lab did not come up in time"));
        }
        if agent.is_none() {
            agent = Agent::connect(&folder.join("agent")).ok();
        }
        match agent.take_if(|agent| agent.ready(Duration::from_millis(100))) {
            Some(agent) => return Ok(agent),
            None if agent.is_none() => std::thread::sleep(Duration::from_millis(20)),
            None => {}
        }
    }
}

/// An error with the last lines of the log.
fn died(log: &Path, what: &str) -> Error {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(25)..].join("\n");
    let log = if tail.trim().is_empty() {
        "Xen's log is empty.".into()
    } else {
        format!("The end of Xen's log:\n{tail}")
    };
    Error::new(format!("{}\n{log}", what.trim_end())).help(
        "run it again; `--accel kvm` needs a host with nested virtualisation, and a damaged cache \
         is repaired by `cargo xenios lab --refresh`",
    )
}
