//! The trait itself: each call is noted, perhaps made to fail, and handed to the part that does it.

use super::FakeXen;
use crate::Hypervisor;
use crate::hypercall::{Extents, GrantFrames, Resumed};
use alloc::vec::Vec;
use xen_abi::event::{EvtchnPort, Priority, Virq};
use xen_abi::gnttab::{GrantCopy, MapGrant, UnmapGrant};
use xen_abi::hvm::Param;
use xen_abi::identity::XenVersion;
use xen_abi::sched::{POLL_PORTS_MAX, ShutdownReason};
use xen_abi::{DomId, Errno};

/// A call of the guest's, with what it asked for. Batches have their lengths.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the method of the same name")]
pub enum Call {
    HvmParam(Param),
    SetHvmParam(Param, u64),
    Version,
    ExtraVersion,
    AddToPhysmap { space: u32, index: u64, gfn: u64 },
    DecreaseReservation(usize),
    PopulatePhysmap(usize),
    CurrentReservation,
    MaximumReservation,
    Send(EvtchnPort),
    BindVirq(Virq),
    AllocUnbound(DomId),
    BindInterdomain(DomId, EvtchnPort),
    Close(EvtchnPort),
    Unmask(EvtchnPort),
    InitControl(u64),
    ExpandArray(u64),
    SetPriority(EvtchnPort, Priority),
    GrantFrames,
    GrantVersion,
    SetGrantVersion(u32),
    GrantMap(usize),
    GrantUnmap(usize),
    GrantCopy(usize),
    Poll(Vec<EvtchnPort>, Option<u64>),
    SetTimer(u64),
    StopTimer,
    Suspend,
    Shutdown(ShutdownReason),
}

/// A call that is to fail.
pub(super) struct Failure {
    pub which: fn(&Call) -> bool,
    pub nth: u32,
    pub errno: Errno,
}

/// Hands the pages of each extent to `act`; how many extents were done as a whole, from the first
/// on.
fn whole_extents(extents: Extents<'_>, mut act: impl FnMut(&[u64]) -> usize) -> usize {
    let pages = 1u64 << extents.order;
    let done = extents.gfns.iter().position(|&first| {
        let gfns: Vec<u64> = (first..first + pages).collect();
        first % pages != 0 || act(&gfns) < gfns.len()
    });
    done.unwrap_or(extents.gfns.len())
}

impl Hypervisor for FakeXen {
    fn hvm_param(&self, param: Param) -> Result<u64, Errno> {
        let world = self.enter(Call::HvmParam(param))?;
        let known = world.params.iter().find(|(known, _)| *known == param);
        Ok(known.map_or(0, |(_, value)| *value))
    }

    fn set_hvm_param(&self, param: Param, value: u64) -> Result<(), Errno> {
        self.enter(Call::SetHvmParam(param, value))?.set_param(param, value);
        Ok(())
    }

    fn version(&self) -> Result<XenVersion, Errno> {
        self.enter(Call::Version)?;
        Ok(XenVersion(4 << 16 | 17))
    }

    fn extra_version(&self) -> Result<[u8; 16], Errno> {
        self.enter(Call::ExtraVersion)?;
        Ok(*b".4\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    }

    fn add_to_physmap(&self, space: u32, index: u64, gfn: u64) -> Result<(), Errno> {
        self.enter(Call::AddToPhysmap { space, index, gfn })?.add_to_physmap(space, index, gfn)
    }

    fn decrease_reservation(&self, extents: Extents<'_>) -> Result<usize, Errno> {
        let mut world = self.enter(Call::DecreaseReservation(extents.gfns.len()))?;
        Ok(whole_extents(extents, |gfns| world.memory.give_back(gfns)))
    }

    fn populate_physmap(&self, extents: Extents<'_>) -> Result<usize, Errno> {
        let mut world = self.enter(Call::PopulatePhysmap(extents.gfns.len()))?;
        Ok(whole_extents(extents, |gfns| world.memory.populate(gfns)))
    }

    fn current_reservation(&self) -> Result<u64, Errno> {
        Ok(self.enter(Call::CurrentReservation)?.memory.pages)
    }

    fn maximum_reservation(&self) -> Result<u64, Errno> {
        Ok(self.enter(Call::MaximumReservation)?.memory.pages_max)
    }

    fn send(&self, port: EvtchnPort) -> Result<(), Errno> {
        self.enter(Call::Send(port))?.events.send(port)
    }

    fn bind_virq(&self, virq: Virq) -> Result<EvtchnPort, Errno> {
        self.enter(Call::BindVirq(virq))?.events.bind_virq(virq)
    }

    fn alloc_unbound(&self, remote: DomId) -> Result<EvtchnPort, Errno> {
        self.enter(Call::AllocUnbound(remote))?.events.alloc_unbound(remote)
    }

    fn bind_interdomain(&self, remote: DomId, port: EvtchnPort) -> Result<EvtchnPort, Errno> {
        let mut world = self.enter(Call::BindInterdomain(remote, port))?;
        let local = world.events.bind_interdomain(remote, port)?;
        // Xen: event_channel.c: an event may have been lost while the port was unbound.
        super::events::set_pending(&world.memory.shared_info, local);
        Ok(local)
    }

    fn close(&self, port: EvtchnPort) -> Result<(), Errno> {
        let mut world = self.enter(Call::Close(port))?;
        world.events.close(port)?;
        super::events::forget(&world.memory.shared_info, port);
        Ok(())
    }

    fn unmask(&self, port: EvtchnPort) -> Result<(), Errno> {
        let world = self.enter(Call::Unmask(port))?;
        world.events.check(port)?;
        super::events::unmask(&world.memory.shared_info, port);
        Ok(())
    }

    fn init_control(&self, gfn: u64) -> Result<(), Errno> {
        // A Xen without the FIFO interface.
        self.enter(Call::InitControl(gfn)).and(Err(Errno::NOSYS))
    }

    fn expand_array(&self, gfn: u64) -> Result<(), Errno> {
        self.enter(Call::ExpandArray(gfn)).and(Err(Errno::NOSYS))
    }

    fn set_priority(&self, port: EvtchnPort, priority: Priority) -> Result<(), Errno> {
        self.enter(Call::SetPriority(port, priority)).and(Err(Errno::NOSYS))
    }

    fn grant_frames(&self) -> Result<GrantFrames, Errno> {
        let world = self.enter(Call::GrantFrames)?;
        Ok(GrantFrames { current: world.grants.frames(), limit: world.grants.limit })
    }

    fn grant_version(&self) -> Result<u32, Errno> {
        Ok(self.enter(Call::GrantVersion)?.grants.version())
    }

    fn set_grant_version(&self, version: u32) -> Result<(), Errno> {
        let mut world = self.enter(Call::SetGrantVersion(version))?;
        world.grants.set_version(version)?;
        // The status frames of version 2 are gone from the address space with it.
        world.memory.forget_status_frames();
        Ok(())
    }

    fn grant_map(&self, batch: &mut [MapGrant]) -> Result<(), Errno> {
        let mut world = self.enter(Call::GrantMap(batch.len()))?;
        batch.iter_mut().for_each(|op| world.map(op));
        Ok(())
    }

    fn grant_unmap(&self, batch: &mut [UnmapGrant]) -> Result<(), Errno> {
        let mut world = self.enter(Call::GrantUnmap(batch.len()))?;
        batch.iter_mut().for_each(|op| op.status = world.unmap(op));
        Ok(())
    }

    fn grant_copy(&self, batch: &mut [GrantCopy]) -> Result<(), Errno> {
        let mut world = self.enter(Call::GrantCopy(batch.len()))?;
        batch.iter_mut().for_each(|op| op.status = world.copy(op));
        Ok(())
    }

    fn poll(&self, ports: &[EvtchnPort], deadline_ns: Option<u64>) -> Result<(), Errno> {
        let mut world = self.enter(Call::Poll(ports.to_vec(), deadline_ns))?;
        if ports.len() > POLL_PORTS_MAX {
            return Err(Errno::INVAL);
        }
        world.sleep(ports, deadline_ns);
        Ok(())
    }

    fn set_timer(&self, deadline_ns: u64) -> Result<(), Errno> {
        let mut world = self.enter(Call::SetTimer(deadline_ns))?;
        world.timer_ns = Some(deadline_ns);
        let now_ns = world.now_ns;
        world.advance_to(now_ns);
        Ok(())
    }

    fn stop_timer(&self) -> Result<(), Errno> {
        self.enter(Call::StopTimer)?.timer_ns = None;
        Ok(())
    }

    fn has_vcpu(&self, number: u32) -> bool {
        number == 0
    }

    fn suspend(&self) -> Result<Resumed, Errno> {
        let mut world = self.enter(Call::Suspend)?;
        if world.next_resume == Resumed::InNewDomain {
            assert!(world.foreign.mapped() == 0, "suspended with foreign pages mapped");
            world.become_new_domain();
        }
        Ok(world.next_resume)
    }

    fn shutdown(&self, reason: ShutdownReason) -> Errno {
        match self.enter(Call::Shutdown(reason)) {
            Ok(mut world) => {
                world.shutdown = Some(reason);
                Errno(0)
            }
            Err(errno) => errno,
        }
    }
}
