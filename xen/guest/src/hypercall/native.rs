//! The hypervisor itself.

use super::{Extents, GrantFrames, Hypervisor, Resumed};
use xen_abi::event::{
    self, AllocUnbound, BindInterdomain, BindVirq, EvtchnClose, EvtchnPort, EvtchnSend,
    EvtchnUnmask, ExpandArray, InitControl, Priority, SetPriority, Virq,
};
use xen_abi::gnttab::{self, GetVersion, GrantCopy, GrantStatus, MapGrant, QuerySize, UnmapGrant};
use xen_abi::hvm::{self, HvmParam, Param};
use xen_abi::hypercall::{Number, version_op};
use xen_abi::identity::XenVersion;
use xen_abi::memory::{self, AddToPhysmap, MemoryReservation};
use xen_abi::sched::{self, SchedPoll, ShutdownReason};
use xen_abi::vcpu::{self, SetSingleshotTimer};
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
    // SAFETY: the caller's word.
    unsafe { raw(number, [command, addr, 0, 0, 0]) }
}

/// A call with plain numbers.
///
/// # Safety
/// As for [`call`].
unsafe fn raw(number: Number, args: [u64; 5]) -> Result<u64, Errno> {
    // SAFETY: the instruction was chosen at boot; the rest is the caller's word.
    Errno::from_result(unsafe { arch::vmcall::call5(number as u64, args) })
}

/// An event channel operation. None of them touches memory other than its argument, but for those
/// that name a frame, whose memory was set aside for that.
fn event_op<T>(command: u64, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: reads and writes `argument`, which each caller in this file pairs with its command.
    unsafe { call(Number::EventChannelOp, command, argument).map(|_| ()) }
}

/// A batch of grant table operations.
fn grant_batch<T>(command: u64, batch: &mut [T]) -> Result<(), Errno> {
    let addr = batch.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: reads and writes the elements, which each caller in this file pairs with its command;
    // the frames that they name are the contract of the trait.
    let result = unsafe { raw(Number::GrantTableOp, [command, addr, batch.len() as u64, 0, 0]) };
    result.map(|_| ())
}

/// Gives or takes the RAM at `extents`.
fn reservation(command: u64, extents: Extents<'_>) -> Result<usize, Errno> {
    let mut argument = MemoryReservation {
        extents: extents.gfns.as_ptr().expose_provenance() as u64,
        extent_count: extents.gfns.len() as u64,
        extent_order: extents.order,
        flags: 0,
        domid: DomId::SELF.0,
        pad: [0; 3],
    };
    // SAFETY: reads the list: a domain whose frames Xen translates gets no numbers written back
    // (Xen: memory.h, xen_memory_reservation). That the frames are not in use is the contract of
    // the trait.
    unsafe { call(Number::MemoryOp, command, &mut argument).map(|done| done as usize) }
}

/// A question about this domain's memory.
fn pages(command: u64) -> Result<u64, Errno> {
    let mut domid = DomId::SELF.0;
    // SAFETY: reads the domain's number.
    unsafe { call(Number::MemoryOp, command, &mut domid) }
}

fn shut_down(reason: ShutdownReason) -> Result<u64, Errno> {
    let mut argument = reason as u32;
    // SAFETY: reads the argument.
    unsafe { call(Number::SchedOp, sched::op::SHUTDOWN, &mut argument) }
}

impl Hypervisor for Native {
    fn hvm_param(&self, param: Param) -> Result<u64, Errno> {
        let mut argument = HvmParam { domid: DomId::SELF.0, pad: 0, index: param as u32, value: 0 };
        // SAFETY: the command writes `value`, nothing else.
        unsafe { call(Number::HvmOp, hvm::op::GET_PARAM, &mut argument)? };
        Ok(argument.value)
    }

    fn set_hvm_param(&self, param: Param, value: u64) -> Result<(), Errno> {
        let mut argument = HvmParam { domid: DomId::SELF.0, pad: 0, index: param as u32, value };
        // SAFETY: reads the argument.
        unsafe { call(Number::HvmOp, hvm::op::SET_PARAM, &mut argument).map(|_| ()) }
    }

    fn version(&self) -> Result<XenVersion, Errno> {
        // SAFETY: takes no argument and touches no memory.
        let result = unsafe { raw(Number::XenVersion, [version_op::VERSION, 0, 0, 0, 0]) };
        result.map(|version| XenVersion(version as u32))
    }

    fn extra_version(&self) -> Result<[u8; 16], Errno> {
        let mut text = [0; 16];
        // SAFETY: writes 16 bytes (Xen: version.h, xen_extraversion_t).
        unsafe { call(Number::XenVersion, version_op::EXTRA_VERSION, &mut text)? };
        Ok(text)
    }

    fn add_to_physmap(&self, space: u32, index: u64, gfn: u64) -> Result<(), Errno> {
        let mut argument = AddToPhysmap { domid: DomId::SELF.0, size: 0, space, index, gfn };
        // SAFETY: changes what lies at `gfn`; that no RAM lies there is the contract of the trait.
        unsafe { call(Number::MemoryOp, memory::op::ADD_TO_PHYSMAP, &mut argument).map(|_| ()) }
    }

    fn decrease_reservation(&self, extents: Extents<'_>) -> Result<usize, Errno> {
        reservation(memory::op::DECREASE_RESERVATION, extents)
    }

    fn populate_physmap(&self, extents: Extents<'_>) -> Result<usize, Errno> {
        reservation(memory::op::POPULATE_PHYSMAP, extents)
    }

    fn current_reservation(&self) -> Result<u64, Errno> {
        pages(memory::op::CURRENT_RESERVATION)
    }

    fn maximum_reservation(&self) -> Result<u64, Errno> {
        pages(memory::op::MAXIMUM_RESERVATION)
    }

    fn send(&self, port: EvtchnPort) -> Result<(), Errno> {
        event_op(event::op::SEND, &mut EvtchnSend { port: port.0 })
    }

    fn bind_virq(&self, virq: Virq) -> Result<EvtchnPort, Errno> {
        let mut argument = BindVirq { virq: virq as u32, vcpu: 0, port: 0 };
        event_op(event::op::BIND_VIRQ, &mut argument)?;
        Ok(EvtchnPort(argument.port))
    }

    fn alloc_unbound(&self, remote: DomId) -> Result<EvtchnPort, Errno> {
        let mut argument = AllocUnbound { dom: DomId::SELF.0, remote_dom: remote.0, port: 0 };
        event_op(event::op::ALLOC_UNBOUND, &mut argument)?;
        Ok(EvtchnPort(argument.port))
    }

    fn bind_interdomain(&self, remote: DomId, port: EvtchnPort) -> Result<EvtchnPort, Errno> {
        let mut argument =
            BindInterdomain { remote_dom: remote.0, remote_port: port.0, local_port: 0 };
        event_op(event::op::BIND_INTERDOMAIN, &mut argument)?;
        Ok(EvtchnPort(argument.local_port))
    }

    fn close(&self, port: EvtchnPort) -> Result<(), Errno> {
        event_op(event::op::CLOSE, &mut EvtchnClose { port: port.0 })
    }

    fn unmask(&self, port: EvtchnPort) -> Result<(), Errno> {
        event_op(event::op::UNMASK, &mut EvtchnUnmask { port: port.0 })
    }

    fn init_control(&self, gfn: u64) -> Result<(), Errno> {
        let mut argument =
            InitControl { control_gfn: gfn, offset: 0, vcpu: 0, link_bits: 0, _pad: [0; 7] };
        event_op(event::op::INIT_CONTROL, &mut argument)
    }

    fn expand_array(&self, gfn: u64) -> Result<(), Errno> {
        event_op(event::op::EXPAND_ARRAY, &mut ExpandArray { array_gfn: gfn })
    }

    fn set_priority(&self, port: EvtchnPort, priority: Priority) -> Result<(), Errno> {
        let mut argument = SetPriority { port: port.0, priority: priority.number().into() };
        event_op(event::op::SET_PRIORITY, &mut argument)
    }

    fn grant_frames(&self) -> Result<GrantFrames, Errno> {
        let status = GrantStatus::UNTOUCHED;
        let mut argument =
            QuerySize { domid: DomId::SELF.0, pad: 0, frames: 0, frames_max: 0, status, pad2: 0 };
        grant_batch(gnttab::op::QUERY_SIZE, core::slice::from_mut(&mut argument))?;
        argument.status.result().map_err(|_| Errno::INVAL)?;
        Ok(GrantFrames { current: argument.frames, limit: argument.frames_max })
    }

    fn grant_version(&self) -> Result<u32, Errno> {
        let mut argument = GetVersion { domid: DomId::SELF.0, pad: 0, version: 0 };
        grant_batch(gnttab::op::GET_VERSION, core::slice::from_mut(&mut argument))?;
        Ok(argument.version)
    }

    fn set_grant_version(&self, mut version: u32) -> Result<(), Errno> {
        grant_batch(gnttab::op::SET_VERSION, core::slice::from_mut(&mut version))
    }

    fn grant_map(&self, batch: &mut [MapGrant]) -> Result<(), Errno> {
        grant_batch(gnttab::op::MAP_GRANT_REF, batch)
    }

    fn grant_unmap(&self, batch: &mut [UnmapGrant]) -> Result<(), Errno> {
        grant_batch(gnttab::op::UNMAP_GRANT_REF, batch)
    }

    fn grant_copy(&self, batch: &mut [GrantCopy]) -> Result<(), Errno> {
        grant_batch(gnttab::op::COPY, batch)
    }

    fn poll(&self, ports: &[EvtchnPort], deadline_ns: Option<u64>) -> Result<(), Errno> {
        // A port is a u32 and nothing else, so the list is one that Xen understands; it only reads
        // it.
        let mut argument = SchedPoll {
            ports: ports.as_ptr().cast_mut().cast(),
            nr_ports: ports.len() as u32,
            timeout: deadline_ns.unwrap_or(0),
        };
        // SAFETY: reads the argument and the list behind it.
        unsafe { call(Number::SchedOp, sched::op::POLL, &mut argument).map(|_| ()) }
    }

    fn set_timer(&self, deadline_ns: u64) -> Result<(), Errno> {
        let mut argument = SetSingleshotTimer { timeout_abs_ns: deadline_ns, flags: 0, pad: 0 };
        let addr = (&raw mut argument).expose_provenance() as u64;
        let command = vcpu::op::SET_SINGLESHOT_TIMER;
        // SAFETY: reads the argument; vCPU 0 is the one that runs.
        unsafe { raw(Number::VcpuOp, [command, 0, addr, 0, 0]).map(|_| ()) }
    }

    fn stop_timer(&self) -> Result<(), Errno> {
        // SAFETY: takes no argument; vCPU 0 is the one that runs.
        unsafe { raw(Number::VcpuOp, [vcpu::op::STOP_SINGLESHOT_TIMER, 0, 0, 0, 0]).map(|_| ()) }
    }

    fn has_vcpu(&self, number: u32) -> bool {
        // SAFETY: takes no argument.
        unsafe { raw(Number::VcpuOp, [vcpu::op::IS_UP, number.into(), 0, 0, 0]).is_ok() }
    }

    fn suspend(&self) -> Result<Resumed, Errno> {
        // Xen: sched.h, SHUTDOWN_suspend: 1 says that the suspend was cancelled.
        match shut_down(ShutdownReason::Suspend)? {
            0 => Ok(Resumed::InNewDomain),
            _ => Ok(Resumed::InSameDomain),
        }
    }

    fn shutdown(&self, reason: ShutdownReason) -> Errno {
        // Comes back only if it failed.
        shut_down(reason).err().unwrap_or(Errno(0))
    }
}
