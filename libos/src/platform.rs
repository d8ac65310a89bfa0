//! The machine as the runtime found it: what `boot` says, and Xen's shared info page.

use alloc::sync::Arc;
use boot::{BootInfo, Hypervisor};
use core::fmt;
use core::sync::atomic::AtomicU8;
use spin::Once;
use xen::evtchn::{Events, Interface};
use xen::page::SharedPage;
use xen::{Hypervisor as _, Native, attach, clock};
use xen_abi::hvm::{Param, callback_by_vector};
use xen_abi::identity;
use xen_abi::sched::ShutdownReason;
use xen_abi::shared_info::UPCALL_PENDING;

static BOOT: Once<&'static BootInfo> = Once::new();
static SHARED_INFO: Once<Arc<SharedPage>> = Once::new();
static EVENTS: Once<Events<Native>> = Once::new();

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
pub(crate) fn shared_info() -> Option<&'static SharedPage> {
    SHARED_INFO.get().map(|page| &**page)
}

/// The domain's event channels, once they are set up.
pub(crate) fn events() -> Option<&'static Events<Native>> {
    EVENTS.get()
}

/// Takes over the event channels and has Xen say by an interrupt that one is pending.
pub(crate) fn start_events(interface: Interface) {
    let Some(page) = SHARED_INFO.get() else { return };
    EVENTS.call_once(|| Events::new(Native, page.clone(), interface));
    arch::trap::acknowledge_at(shared_info_flag(page));
    set_callback();
}

/// Names the upcall's vector to Xen; again after each resume.
fn set_callback() {
    let callback = callback_by_vector(arch::trap::UPCALL_VECTOR);
    if let Err(errno) = Native.set_hvm_param(Param::CallbackIrq, callback) {
        log::error!("Xen refuses the upcall: {errno}");
    }
}

/// The flag that says that events are pending.
fn shared_info_flag(page: &'static SharedPage) -> &'static AtomicU8 {
    page.u8_at(UPCALL_PENDING)
}

/// Maps the shared info page and starts the clock from it. Without Xen, and if Xen refuses, the
/// clock runs at the frequency that CPUID tells.
pub(crate) fn start_clock(info: &BootInfo) {
    let mut rate = crate::time::rate_of_khz(tsc_khz(info));
    if on_xen() {
        match attach::shared_info(&Native, &info.memory_map) {
            Ok(page) => {
                let page = SHARED_INFO.call_once(|| Arc::new(page));
                rate = clock::snapshot(page).unwrap_or(rate);
            }
            Err(error) => log::error!("shared info page: {error}"),
        }
    }
    crate::time::start(info.first_tsc, rate);
}

/// System time in nanoseconds, for deadlines given to Xen.
pub(crate) fn system_time_ns() -> Option<u64> {
    let time = clock::snapshot(shared_info()?)?;
    Some(time.system_time_ns_at(arch::tsc::read()))
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
                write!(f, "Xen {version}{}", text.escape_ascii())
            }
            Hypervisor::Other(signature) => {
                write!(f, "not Xen but \"{}\"", signature.trim_ascii().escape_ascii())
            }
            Hypervisor::None => f.write_str("none that shows itself"),
        }
    }
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
