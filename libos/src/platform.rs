//! The machine as the runtime found it: what `boot` says, and Xen's shared info page.

use crate::time::clock;
use alloc::sync::Arc;
use boot::{BootInfo, Hypervisor};
use core::fmt;
use spin::Once;
use xen::clock::Clock;
use xen::console::Ring;
use xen::page::SharedPage;
use xen::{Hypervisor as _, Native, attach};
use xen_abi::event::EvtchnPort;
use xen_abi::identity;
use xen_abi::sched::ShutdownReason;

static BOOT: Once<&'static BootInfo> = Once::new();

/// Remembers what boot found.
pub(crate) fn init(info: &'static BootInfo) {
    BOOT.call_once(|| info);
}

/// What boot found; nothing before [`init`].
pub(crate) fn boot_info() -> Option<&'static BootInfo> {
    BOOT.get().copied()
}

/// Whether hypercalls can be made.
pub(crate) fn on_xen() -> bool {
    boot_info().is_some_and(|info| matches!(info.hypervisor, Hypervisor::Xen { .. }))
}

/// Xen's shared info page, once it is mapped.
pub(crate) fn shared_info() -> Option<&'static Arc<SharedPage>> {
    clock::get()?.page()
}

/// Maps the shared info page and starts the clock from it. Without Xen, and if Xen refuses, the
/// clock runs at the frequency that CPUID tells.
pub(crate) fn start_clock(info: &BootInfo) {
    let now_tsc = arch::tsc::read;
    let page = match on_xen().then(|| attach::shared_info(&Native, &info.memory_map)) {
        Some(Ok(page)) => Some(Arc::new(page)),
        Some(Err(error)) => {
            log::error!("shared info page: {error}");
            None
        }
        None => None,
    };
    clock::start(match page {
        Some(page) => Clock::by_page(page, info.first_tsc, now_tsc),
        None => Clock::by_rate(clock::rate_of_khz(tsc_khz(info)), info.first_tsc, now_tsc),
    });
}

/// System time in nanoseconds, for deadlines given to Xen; nothing without Xen.
pub(crate) fn system_time_ns() -> Option<u64> {
    shared_info()?;
    clock::get()?.system_ns(arch::tsc::read)
}

/// The console ring and its port; nothing without Xen, or if the toolstack gave none.
pub(crate) fn console_ring() -> Option<(Ring, EvtchnPort)> {
    let info = boot_info().filter(|_| on_xen())?;
    attach::console(&Native, &info.memory_map).unwrap_or_else(|error| {
        log::error!("console ring: {error}");
        None
    })
}

/// How many vCPUs the domain has; all but the first are parked.
pub(crate) fn vcpus() -> u32 {
    if !on_xen() {
        return 1;
    }
    // Numbers have no gaps (Xen: xen.h, XEN_LEGACY_MAX_VCPUS and beyond: 128 for an HVM domain).
    (1..128).find(|number| !Native.has_vcpu(*number)).unwrap_or(128)
}

/// Who is below us, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct HypervisorName {
    hypervisor: Hypervisor,
    /// What follows Xen's version, such as ".4".
    extra_version: [u8; 16],
}

impl HypervisorName {
    pub(crate) fn ask(info: &BootInfo) -> Self {
        let extra_version = if on_xen() { Native.extra_version().ok() } else { None };
        let extra_version = extra_version.unwrap_or_default();
        Self { hypervisor: info.hypervisor, extra_version }
    }
}

impl fmt::Display for HypervisorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hypervisor {
            Hypervisor::Xen { version, .. } => {
                let text = self.extra_version.split(|&byte| byte == 0).next().unwrap_or_default();
                write!(f, "Xen {version}{}", printable(text))
            }
            Hypervisor::Other(signature) => {
                write!(f, "not Xen but \"{}\"", printable(signature.trim_ascii()))
            }
            Hypervisor::None => f.write_str("none that shows itself"),
        }
    }
}

/// Bytes as text; nothing if they are none.
fn printable(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

/// Ends the domain; without Xen, stops the CPU.
pub(crate) fn shut_down(reason: ShutdownReason) -> ! {
    if on_xen() {
        let errno = Native.shutdown(reason);
        crate::console::print(format_args!("xenios: Xen refuses to shut down: {errno}\n"));
    }
    arch::idle::halt_forever()
}

/// Frequency of the counter in kHz by Xen's CPUID leaf (Xen: arch-x86/cpuid.h, leaf 3, ecx); 0 if
/// unknown.
fn tsc_khz(info: &BootInfo) -> u32 {
    match info.hypervisor {
        Hypervisor::Xen { leaf, .. } => {
            debug_assert!(leaf >= identity::FIRST_LEAF);
            arch::cpu::leaf(leaf + 3, 0).ecx
        }
        _ => 0,
    }
}
