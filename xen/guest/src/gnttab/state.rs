//! The state behind all handles of one table: entries, free references, and what is set aside.
//!
//! Nothing here knows which hypervisor it is: what needs one takes it as an argument, so a granted
//! page can be dropped without it.

use super::allocator::Allocator;
use super::owner::{Owner, Step};
use super::table::Table;
use super::{Access, GrantError, SetupError, StillInUse, TableCounters, Version};
use crate::Hypervisor;
use crate::page::SharedPage;
use crate::window::Window;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;
use spin::Mutex;
use xen_abi::gnttab::{GrantRef, RESERVED_ENTRIES};
use xen_abi::{DomId, Errno};

/// How often a reference that is set aside is looked at before it is given up: ten minutes at one
/// look a second.
pub const RECLAIM_TRIES: u32 = 600;

/// A page and its reference that a peer would not let go.
struct Quarantined {
    grant: GrantRef,
    tries: u32,
    /// Nothing where an earlier kernel left the entry.
    held: Option<(Arc<SharedPage>, Arc<Owner>)>,
}

/// A reference as its holder knows it.
pub(super) struct Lease {
    pub grant: GrantRef,
    /// Of the table that it is in.
    pub generation: u32,
    pub owner: Arc<Owner>,
}

/// The table.
pub(super) struct State {
    table: Table,
    allocator: Allocator,
    /// Has room for everything that is granted, so that setting aside never needs memory.
    quarantine: Vec<Quarantined>,
    given_up: Vec<Quarantined>,
    in_use: u32,
    /// Counts resumes in a new domain: what was granted before is not in this table.
    generation: u32,
    frames_limit: u32,
    /// Who waits for a free reference.
    waiters: Vec<Waker>,
    /// A reference became free: the waiters are to be woken.
    freed: bool,
    /// Who waits for something to be set aside.
    reclaimer: Option<Waker>,
}

/// The table and its lock.
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// Works on the state; then, without the lock, wakes who waits for what has come about.
    pub fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        let (result, waiters, reclaimer) = {
            let mut state = self.0.lock();
            let result = work(&mut state);
            let freed = core::mem::take(&mut state.freed);
            let waiters = if freed { core::mem::take(&mut state.waiters) } else { Vec::new() };
            let aside = !state.quarantine.is_empty();
            (result, waiters, if aside { state.reclaimer.take() } else { None })
        };
        waiters.into_iter().chain(reclaimer).for_each(Waker::wake);
        result
    }
}

impl State {
    /// Takes the table over from whoever had it before: its version, its frames, its entries.
    pub fn new(
        xen: &impl Hypervisor,
        window: &Window,
        version: Version,
    ) -> Result<Self, SetupError> {
        let mut state = Self {
            table: Table::new(version),
            allocator: Allocator::default(),
            quarantine: Vec::new(),
            given_up: Vec::new(),
            in_use: 0,
            generation: 0,
            frames_limit: 0,
            waiters: Vec::new(),
            freed: false,
            reclaimer: None,
        };
        let version = settle_version(xen, version)?;
        state.set_up(xen, window, version)?;
        Ok(state)
    }

    /// Starts anew in the table of a new domain, which has none of the old entries.
    pub fn resume(
        &mut self,
        xen: &impl Hypervisor,
        window: &Window,
        wanted: Version,
    ) -> Result<(), SetupError> {
        let frames = self.table.frames();
        self.generation = self.generation.wrapping_add(1);
        self.allocator = Allocator::default();
        // No peer has these pages in the new domain.
        self.quarantine.clear();
        self.given_up.clear();
        self.in_use = 0;
        self.freed = true;
        // Without frames until they are there: a table of the wrong version would be worse than
        // none.
        self.frames_limit = 0;
        self.table = Table::new(wanted);
        let version = match settle_version(xen, wanted) {
            // The host before had it. What version 1 can name can still be granted.
            Err(SetupError::NoVersion2(_)) => Version::One,
            settled => settled?,
        };
        self.set_up(xen, window, version)?;
        while self.table.frames() < frames.min(self.frames_limit) {
            self.add_frame(xen, window).map_err(SetupError::Frame)?;
        }
        Ok(())
    }

    /// Adds the frames that Xen has already. All of them: what an earlier kernel granted in them
    /// would be granted still.
    fn set_up(
        &mut self,
        xen: &impl Hypervisor,
        window: &Window,
        version: Version,
    ) -> Result<(), SetupError> {
        self.table = Table::new(version);
        let frames = xen.grant_frames().map_err(SetupError::Xen)?;
        let room = window.sizes().grant_frames;
        if frames.current > room {
            return Err(SetupError::WindowTooSmall { frames: frames.current, room });
        }
        self.frames_limit = frames.limit.min(room);
        for _ in 0..frames.current.max(1) {
            self.add_frame(xen, window).map_err(SetupError::Frame)?;
        }
        Ok(())
    }

    /// Adds a frame and its references. What is still in use there is set aside.
    fn add_frame(&mut self, xen: &impl Hypervisor, window: &Window) -> Result<(), GrantError> {
        let count = self.table.entries_per_frame();
        self.allocator.reserve(count).map_err(|_| GrantError::OutOfMemory)?;
        let room = (count + self.in_use) as usize;
        self.quarantine.try_reserve(room).map_err(|_| GrantError::OutOfMemory)?;
        self.table.add_frame(xen, window)?;
        let (table, quarantine) = (&self.table, &mut self.quarantine);
        self.allocator.extend(count, |grant| match table.end(grant) {
            Ok(()) => true,
            Err(_) => {
                log::warn!("{grant} is in use since before this kernel: set aside");
                quarantine.push(Quarantined { grant, tries: 0, held: None });
                false
            }
        });
        Ok(())
    }

    /// Lets `domid` use `page`; the table grows if it has to and may.
    pub fn grant(
        &mut self,
        xen: &impl Hypervisor,
        window: &Window,
        owner: &Arc<Owner>,
        (domid, page, access): (DomId, &SharedPage, Access),
    ) -> Result<Lease, GrantError> {
        if owner.is_at_limit(self.generation) {
            return Err(GrantError::OwnerLimit { name: owner.name(), limit: owner.limit() });
        }
        let room = self.in_use as usize + 1;
        self.quarantine.try_reserve(room).map_err(|_| GrantError::OutOfMemory)?;
        if self.allocator.free() == 0 {
            self.grow(xen, window)?;
        }
        let grant = self.allocator.take().ok_or(GrantError::Exhausted)?;
        if let Err(error) = self.table.permit(grant, domid, page.gfn(), access) {
            self.allocator.put(grant);
            return Err(error);
        }
        self.in_use += 1;
        owner.count(self.generation, Step::Granted);
        Ok(Lease { grant, generation: self.generation, owner: owner.clone() })
    }

    fn grow(&mut self, xen: &impl Hypervisor, window: &Window) -> Result<(), GrantError> {
        if self.table.frames() >= self.frames_limit {
            return Err(GrantError::Exhausted);
        }
        match self.add_frame(xen, window) {
            // Xen: grant_table.c, gnttab_map_frame: an index beyond the domain's limit.
            Err(GrantError::Xen(Errno::INVAL)) => {
                self.frames_limit = self.table.frames();
                Err(GrantError::Exhausted)
            }
            other => other,
        }
    }

    /// Ends a lease; the page and the reference are set aside if the peer will not let go.
    pub fn end(&mut self, lease: &Lease, page: &Arc<SharedPage>) -> Result<(), StillInUse> {
        if lease.generation != self.generation {
            // Granted in a domain that is gone: this table knows nothing of it.
            return Ok(());
        }
        self.in_use -= 1;
        let ended = self.table.end(lease.grant);
        match ended {
            Ok(()) => {
                self.free(lease.grant);
                lease.owner.count(self.generation, Step::Ended);
            }
            Err(_) => {
                let held = Some((page.clone(), lease.owner.clone()));
                self.quarantine.push(Quarantined { grant: lease.grant, tries: 0, held });
                lease.owner.count(self.generation, Step::Quarantined);
            }
        }
        ended
    }

    /// Looks at everything that is set aside; how many are left.
    pub fn reclaim(&mut self) -> usize {
        let mut index = 0;
        while let Some(aside) = self.quarantine.get_mut(index) {
            aside.tries += 1;
            if self.table.end(aside.grant).is_ok() {
                let freed = self.quarantine.swap_remove(index);
                self.free(freed.grant);
                freed.count(self.generation, Step::Reclaimed);
            } else if aside.tries >= RECLAIM_TRIES && self.given_up.try_reserve(1).is_ok() {
                let lost = self.quarantine.swap_remove(index);
                let grant = lost.grant;
                log::warn!("{grant} of {} is not let go by its peer: given up", lost.owner());
                lost.count(self.generation, Step::Leaked);
                self.given_up.push(lost);
            } else {
                index += 1;
            }
        }
        self.quarantine.len()
    }

    fn free(&mut self, grant: GrantRef) {
        self.allocator.put(grant);
        self.freed = true;
    }

    /// Whether something is set aside; if not, wakes `waker` when something is. The waker that it
    /// takes the place of is given back, to be dropped without the lock.
    pub fn is_quarantined(&mut self, waker: &Waker) -> (bool, Option<Waker>) {
        if !self.quarantine.is_empty() {
            return (true, None);
        }
        (false, self.reclaimer.replace(waker.clone()))
    }

    /// Wakes `waker` when a reference becomes free.
    pub fn wait(&mut self, waker: &Waker) {
        if !self.waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            self.waiters.push(waker.clone());
        }
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn version(&self) -> Version {
        self.table.version()
    }

    pub fn counters(&self) -> TableCounters {
        TableCounters {
            frames: self.table.frames(),
            frames_limit: self.frames_limit,
            free: self.allocator.free(),
            in_use: self.in_use,
            quarantined: self.quarantine.len() as u32,
            leaked: self.given_up.len() as u32,
            references: self.allocator.len().saturating_sub(RESERVED_ENTRIES),
        }
    }
}

impl Quarantined {
    fn count(&self, generation: u32, step: Step) {
        if let Some((_, owner)) = &self.held {
            owner.count(generation, step);
        }
    }

    fn owner(&self) -> &'static str {
        self.held.as_ref().map_or("an earlier kernel", |(_, owner)| owner.name())
    }
}

/// Has the table be of the version `wanted`. Version 2 stays where an earlier kernel's grants keep
/// Xen from changing it; it serves as well.
fn settle_version(xen: &impl Hypervisor, wanted: Version) -> Result<Version, SetupError> {
    let current = match xen.grant_version().map_err(SetupError::Xen)? {
        1 => Version::One,
        2 => Version::Two,
        other => return Err(SetupError::UnknownVersion(other)),
    };
    if current == wanted {
        return Ok(current);
    }
    match (xen.set_grant_version(wanted.number()), current) {
        (Ok(()), _) => Ok(wanted),
        (Err(errno), Version::Two) => {
            log::warn!("the grant table stays at version 2: {errno}");
            Ok(Version::Two)
        }
        (Err(errno), Version::One) => Err(SetupError::NoVersion2(errno)),
    }
}
