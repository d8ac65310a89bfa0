//! What an app sees: [`entry!`], [`Env`], how it ends.

use crate::boot_line::BootLine;
use crate::console::Console;
use crate::lifecycle::{self, Request, suspend};
use crate::memory::Memory;
use crate::{exec, guest};
use alloc::boxed::Box;
use core::fmt;
use core::future::poll_fn;
use xen::xenstore::Xenstore;

/// Any error an app ends with.
pub type Error = Box<dyn core::error::Error + Send + Sync>;

/// The domain as the app's `main` gets it.
#[derive(Debug)]
pub struct Env {
    pub(crate) boot_line: BootLine,
    pub(crate) memory: Memory,
    pub(crate) boot: &'static boot::BootInfo,
}

impl Env {
    /// The words that the domain was started with (`cmdline=` or `extra=` in its configuration).
    pub fn boot_line(&self) -> &BootLine {
        &self.boot_line
    }

    /// The domain's console.
    pub fn console(&self) -> Console {
        Console::new()
    }

    /// The domain's memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Who is below us, and its version.
    pub fn hypervisor(&self) -> crate::platform::HypervisorName {
        crate::platform::HypervisorName::ask(self.boot)
    }

    /// How much of the code checks its stack frames by canary.
    pub fn canary_coverage(&self) -> &'static str {
        if cfg!(xenios_hardened) {
            "all code (hardened build)"
        } else {
            "all code but the prebuilt core library"
        }
    }

    /// Features of the CPU that protect or speed up this kernel.
    pub fn cpu_features(&self) -> arch::cpu::Features {
        self.boot.features
    }

    /// Waits until the toolstack asks the domain to end (`xl shutdown`, `xl reboot`).
    ///
    /// An app that waits for this has time to finish (`--grace`, 10 s) and ends the domain by
    /// returning from `main`. One that never does is ended at once when it is asked.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn shutdown_requested(&self) -> Request {
        exec::engage();
        poll_fn(|context| lifecycle::SHUTDOWN.poll_requested(context)).await
    }

    /// Has `hook` called each time before the domain is suspended (`xl save`, `xl migrate`):
    /// between two polls, when no task runs.
    pub fn on_suspend(&self, hook: impl FnMut() + Send + 'static) {
        exec::engage();
        suspend::BEFORE.add(hook);
    }

    /// Has `hook` called each time after the domain was resumed, in a new domain or in the same.
    pub fn on_resume(&self, hook: impl FnMut() + Send + 'static) {
        exec::engage();
        suspend::AFTER.add(hook);
    }

    /// Has `hook` called when what is held back is to be written to stable storage (`xl sysrq s`).
    pub fn on_sync(&self, hook: impl FnMut() + Send + 'static) {
        exec::engage();
        lifecycle::SYNC.add(hook);
    }

    /// The store that the domain shares with the toolstack; nothing without Xen.
    pub fn xenstore(&self) -> Option<Xenstore> {
        xenstore()
    }

    /// The modules that the domain was started with (`ramdisk=`), in order.
    pub fn modules(&self) -> &'static [boot::ModuleInfo] {
        &self.boot.modules
    }
}

/// The store that the domain shares with the toolstack; nothing without Xen.
pub fn xenstore() -> Option<Xenstore> {
    exec::engage();
    guest::store()
}

/// What an app's `main` may return.
pub trait Outcome {
    /// The status that the domain ends with: 0 for success.
    fn status(self) -> u8;
}

impl Outcome for () {
    fn status(self) -> u8 {
        0
    }
}

/// A status of the app's own choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u8);

impl Outcome for Status {
    fn status(self) -> u8 {
        self.0
    }
}

impl<T: Outcome, E: fmt::Display> Outcome for Result<T, E> {
    fn status(self) -> u8 {
        match self {
            Ok(outcome) => outcome.status(),
            Err(error) => {
                log::error!("the app failed: {error}");
                1
            }
        }
    }
}

/// Makes `main` the app: an async function from [`Env`] to anything that is an [`Outcome`].
///
/// ```ignore
/// libos::entry!(main);
///
/// async fn main(env: libos::Env) -> Result<(), libos::Error> {
///     libos::println!("Hello, {}!", env.boot_line().option("name").unwrap_or("world"));
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn libos_start(info: &'static $crate::boot::BootInfo) -> ! {
            $crate::start::start(info, $main)
        }
    };
}
