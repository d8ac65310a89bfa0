//! From `boot`'s call to the app and to the end of the domain.
//!
//! 1. Reports of crashes, heap, clock, console: in this order, each needs those before it.
//! 2. The boot line: words, `--logs`. A bad one ends the domain with the reason.
//! 3. The app. Its outcome is the status; 0 is a poweroff, anything else a crash, so that the
//!    toolstack's `on_crash=` decides about a service that failed.

use crate::app::{Env, Outcome};
use crate::boot_line::BootLine;
use crate::logger::{self, Filter};
use crate::memory::{self, Memory};
use crate::{console, crash, exec, heap, platform};
use boot::BootInfo;
use core::future::Future;
use core::time::Duration;
use xen_abi::sched::ShutdownReason;

/// Called by [`crate::entry!`]. Never returns.
pub fn start<F, R>(info: &'static BootInfo, main: impl FnOnce(Env) -> F) -> !
where
    F: Future<Output = R>,
    R: Outcome,
{
    platform::init(info);
    crash::install();
    logger::install();
    start_heap(info);
    console::start();
    platform::start_clock(info);
    console::attach(platform::console_ring());
    memory::start(info);
    match environment(info) {
        Ok(env) => {
            let app = main(env);
            exec::run(async { app.await.status() })
        }
        Err(error) => {
            console::print(format_args!("xenios: {error}\n"));
            end_with_status(2)
        }
    }
}

/// How long the end of the domain waits for a console that takes nothing.
const CONSOLE_PATIENCE: Duration = Duration::from_secs(1);

/// Ends the domain with a status: 0 is a poweroff, anything else a crash.
pub(crate) fn end_with_status(status: u8) -> ! {
    console::print(format_args!("xenios: exit status {status}\n"));
    end(if status == 0 { ShutdownReason::Poweroff } else { ShutdownReason::Crash })
}

/// Ends the domain, once the console has what was written.
pub(crate) fn end(reason: ShutdownReason) -> ! {
    exec::wait_for_console(CONSOLE_PATIENCE);
    platform::shut_down(reason)
}

fn start_heap(info: &BootInfo) {
    let (key, _) = arch::entropy::word(info.features);
    heap::init(key);
}

/// Reads the boot line and starts what it decides.
fn environment(info: &'static BootInfo) -> Result<Env, crate::Error> {
    let boot_line = BootLine::parse(info.boot_line)?;
    let filter = boot_line.option("logs").map_or(Ok(Filter::default()), Filter::parse)?;
    logger::set_filter(filter);
    log_what_was_found(info);
    let memory = Memory { map: info.memory_map.to_vec() };
    Ok(Env { boot_line, memory, boot: info })
}

/// The facts of this boot, at debug level. To walk over the page tables takes as long as all the
/// rest of the boot, so it is not done for nothing.
fn log_what_was_found(info: &BootInfo) {
    if info.modules_ignored > 0 {
        log::warn!("{} modules are too many and were ignored", info.modules_ignored);
    }
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let hypervisor = platform::HypervisorName::ask(info);
    log::debug!("hypervisor: {hypervisor}, cpu: {}", info.features);
    for entry in &info.memory_map {
        let end = entry.addr.saturating_add(entry.len_bytes);
        log::debug!("memory: {:#012x}..{end:#012x} {}", entry.addr, entry.kind);
    }
    for region in arch::layout::regions() {
        log::debug!("image: {} {}", region.range, region.name);
    }
    arch::paging::kernel::runs(|run| log::debug!("mapped: {} {}", run.range, run.access));
}
