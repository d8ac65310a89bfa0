//! The domain as the toolstack's: told to end, to suspend, to shrink, asked how it is.
//!
//! ```text
//!   control/shutdown ─▶ control ─┬─▶ Shutdown: the app is told, has its grace, is ended
//!                                └─▶ suspend: the run loop takes all apart and together again
//!   control/sysrq ────▶ sysrq ─────▶ lists, sync, the end at once
//!   memory/target ────▶ memory ────▶ balloon
//! ```
//!
//! Each is a task of its own; they begin when the app first waits. What is decided is in files that
//! are tested on the host ([`shutdown`], [`command`], [`hooks`]).

mod command;
#[cfg(xenios_kernel)]
mod control;
mod hooks;
mod shutdown;
#[cfg(xenios_kernel)]
pub(crate) mod suspend;
#[cfg(xenios_kernel)]
mod sysrq;
#[cfg(xenios_kernel)]
mod target;

pub use shutdown::{Request, Shutdown};

#[cfg(xenios_kernel)]
pub(crate) use kernel::{SHUTDOWN, SYNC, end_of_app, start};

#[cfg(xenios_kernel)]
mod kernel {
    use super::{Shutdown, control, hooks::Hooks, sysrq, target};
    use crate::{exec, guest, platform, start};

    /// Whether and why the domain is to end.
    pub(crate) static SHUTDOWN: Shutdown = Shutdown::new();
    /// Called when what is held back is to be written.
    pub(crate) static SYNC: Hooks = Hooks::new();

    /// Starts the tasks.
    pub(crate) fn start() {
        say_extra_cpus();
        let grace = control::grace().unwrap_or_else(|text| {
            crate::println!("xenios: --grace {text}: whole seconds are wanted, as in --grace 10");
            start::end_with_status(2)
        });
        let Some(store) = guest::store() else { return };
        exec::spawn_named("control", control::run(store.clone(), grace)).detach();
        exec::spawn_named("sysrq", sysrq::run(store.clone())).detach();
        exec::spawn_named("balloon", target::run(store)).detach();
    }

    /// The app has returned: that is the end, for the reason that the toolstack asked for if it
    /// did.
    pub(crate) fn end_of_app(status: u8) -> ! {
        match SHUTDOWN.current() {
            Some(request) if status == 0 => {
                crate::println!("xenios: exit status 0");
                start::end(request.reason())
            }
            _ => start::end_with_status(status),
        }
    }

    /// Further vCPUs stay as they are, parked.
    fn say_extra_cpus() {
        let count = platform::vcpus();
        if count > 1 {
            log::warn!("{} of {count} vCPUs stay parked: an app runs on one", count - 1);
        }
    }
}
