//! The hypervisor itself.

use super::Hypervisor;
use xen_abi::event::{self, EvtchnPort, EvtchnSend};
use xen_abi::hvm::{self, HvmParam, Param};
use xen_abi::hypercall::{Number, version_op};
use xen_abi::identity::XenVersion;
use xen_abi::memory::{self, AddToPhysmap};
use xen_abi::sched::{self, SchedPoll, ShutdownReason};
use xen_abi::{DomId, Errno};

/// Xen, by `vmcall` or `vmmcall`. Using it without Xen below is a fault that ends the domain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

/// A command with a pointer to its argument.
///
/// # Safety
/// `argument` is what the command takes, and what the call does to other memory breaks no object in
/// use.
unsafe fn call<T>(number: Number, command: u64, argument: &mut T) -> Result<u64, Errno> {
    let addr = (&raw mut *argument).expose_provenance() as u64;
    // SAFETY: the instruction was chosen at boot; the rest is the caller's word.
    Errno::from_result(unsafe { arch::vmcall::call5(number as u64, [command, addr, 0, 0, 0]) })
}

impl Hypervisor for Native {
    fn hvm_param(&self, param: Param) -> Result<u64, Errno> {
        let mut argument = HvmParam { domid: DomId::SELF.0, pad: 0, index: param as u32, value: 0 };
        // SAFETY: the command writes `value`, nothing else.
        unsafe { call(Number::HvmOp, hvm::op::GET_PARAM, &mut argument)? };
        Ok(argument.value)
    }

    fn add_to_physmap(&self, space: u32, index: u64, gfn: u64) -> Result<(), Errno> {
        let mut argument = AddToPhysmap { domid: DomId::SELF.0, size: 0, space, index, gfn };
        // SAFETY: changes what lies at `gfn`; that no RAM lies there is the contract of the trait.
        unsafe { call(Number::MemoryOp, memory::op::ADD_TO_PHYSMAP, &mut argument).map(|_| ()) }
    }

    fn send(&self, port: EvtchnPort) -> Result<(), Errno> {
        let mut argument = EvtchnSend { port: port.0 };
        // SAFETY: reads the argument, touches no memory of ours.
        unsafe { call(Number::EventChannelOp, event::op::SEND, &mut argument).map(|_| ()) }
    }

    fn poll(&self, ports: &[EvtchnPort], deadline_ns: Option<u64>) -> Result<(), Errno> {
        // A port is a u32 and nothing else, so the list is one that Xen understands; it only reads it.
        let mut argument = SchedPoll {
            ports: ports.as_ptr().cast_mut().cast(),
            nr_ports: ports.len() as u32,
            timeout: deadline_ns.unwrap_or(0),
        };
        // SAFETY: reads the argument and the list behind it.
        unsafe { call(Number::SchedOp, sched::op::POLL, &mut argument).map(|_| ()) }
    }

    fn shutdown(&self, reason: ShutdownReason) -> Errno {
        let mut argument = reason as u32;
        // SAFETY: reads the argument; comes back only if it failed.
        match unsafe { call(Number::SchedOp, sched::op::SHUTDOWN, &mut argument) } {
            Ok(_) => Errno(0),
            Err(errno) => errno,
        }
    }

    fn version(&self) -> Result<XenVersion, Errno> {
        let args = [version_op::VERSION, 0, 0, 0, 0];
        // SAFETY: takes no argument and touches no memory.
        let result = unsafe { arch::vmcall::call5(Number::XenVersion as u64, args) };
        Errno::from_result(result).map(|version| XenVersion(version as u32))
    }

    fn extra_version(&self) -> Result<[u8; 16], Errno> {
        let mut text = [0; 16];
        // SAFETY: writes 16 bytes (Xen: version.h, xen_extraversion_t).
        unsafe { call(Number::XenVersion, version_op::EXTRA_VERSION, &mut text)? };
        Ok(text)
    }
}
