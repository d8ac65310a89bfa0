//! What the executor knows of its tasks, and the queue of those that are to be polled.
//!
//! ```text
//!   slots    0: main      1: net     2: (free)   3: conn 1     one for each live task
//!            next: 3      waiting                next: none
//!            ▲                                   ▲
//!   queue    first                               last
//!
//!   Links are numbers of slots, in both directions: to be queued takes no memory, and a task
//!   leaves the queue from anywhere at the same cost.
//! ```
//!
//! Plain data, behind one lock in [`super::Executor`]. Nothing here calls code of a task: whatever
//! a future or an output does when it is polled or dropped, the lock is free.

use super::info::{Name, TaskId, TaskInfo, TaskState};
use super::slab::{NONE, Slab};
use super::task::Body;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

/// Where a task is in its life: the diagram is in [`super`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits to be woken.
    Waiting,
    /// In the queue.
    Queued,
    /// Out of reach: being polled, or its future is being dropped.
    Claimed,
}

/// One task.
struct Slot {
    id: TaskId,
    name: Name,
    phase: Phase,
    /// Woken while claimed.
    woken: bool,
    /// To be cancelled once it is not claimed any more.
    cancelled: bool,
    /// Nobody will ask for the output.
    detached: bool,
    /// Neighbours in the queue.
    previous: u32,
    next: u32,
    /// The future; not here while the task is claimed. The main task's is never here.
    body: Option<Arc<dyn Body>>,
    /// Who waits for the task's end.
    joiner: Option<Waker>,
    polls: u64,
    /// Time of the polls that were timed.
    run_ns: u64,
    all_timed: bool,
    /// What the task waits for, since its last poll; and until when at the latest.
    reason: Option<&'static str>,
    until: Instant,
}

/// All tasks.
pub(super) struct State {
    slots: Slab<Slot>,
    first: u32,
    last: u32,
    queued: usize,
    /// The task that is being polled.
    current: u32,
    last_id: u64,
    pub(super) tuning: Tuning,
}

/// What can be tuned while the executor runs.
#[derive(Clone, Copy)]
pub(super) struct Tuning {
    pub(super) round_polls: usize,
    pub(super) slow_poll_ns: u64,
    /// Whether it is known what reading the clock costs.
    pub(super) clock_measured: bool,
}

/// A claimed task.
pub(super) struct Claim {
    pub(super) index: u32,
    /// Nothing for the main task.
    pub(super) body: Option<Arc<dyn Body>>,
}

/// What remains to be done about a task that is no longer listed.
pub(super) struct Retired {
    pub(super) joiner: Option<Waker>,
    pub(super) detached: bool,
}

impl State {
    pub(super) const fn new(tuning: Tuning) -> Self {
        Self {
            slots: Slab::new(),
            first: NONE,
            last: NONE,
            queued: 0,
            current: NONE,
            last_id: 0,
            tuning,
        }
    }

    /// Lists a new task, queued. `make` gets its number and identity and gives its body, and a
    /// result.
    pub(super) fn insert<R>(
        &mut self,
        name: Name,
        make: impl FnOnce(u32, TaskId) -> (Option<Arc<dyn Body>>, R),
    ) -> R {
        self.last_id += 1;
        let id = TaskId(self.last_id);
        let index = self.slots.vacant();
        let (body, result) = make(index, id);
        self.slots.insert(Slot {
            id,
            name,
            phase: Phase::Queued,
            woken: false,
            cancelled: false,
            detached: false,
            previous: NONE,
            next: NONE,
            body,
            joiner: None,
            polls: 0,
            run_ns: 0,
            all_timed: true,
            reason: None,
            until: Instant::FAR_FUTURE,
        });
        self.push(index);
        result
    }

    /// Tasks in the queue.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// How many polls the next round has, and what it goes by. The clock is measured in it, if need
    /// be.
    pub(super) fn begin_round(&mut self) -> (usize, Tuning) {
        let tuning = self.tuning;
        self.tuning.clock_measured = true;
        (self.queued.min(tuning.round_polls), tuning)
    }

    /// The task, if it still lives: numbers are used again, identities are not.
    fn live(&mut self, index: u32, id: TaskId) -> Option<&mut Slot> {
        self.slots.get_mut(index).filter(|slot| slot.id == id)
    }

    pub(super) fn is_live(&mut self, index: u32, id: TaskId) -> bool {
        self.live(index, id).is_some()
    }

    /// Queues a task that waits; notes the wake-up of one that is being polled.
    pub(super) fn wake(&mut self, index: u32, id: TaskId) {
        let Some(slot) = self.live(index, id) else { return };
        match slot.phase {
            Phase::Waiting => self.push(index),
            Phase::Queued => {}
            Phase::Claimed => slot.woken = true,
        }
    }

    /// Claims the first task of the queue, to poll it.
    pub(super) fn claim_first(&mut self) -> Option<Claim> {
        let index = self.first;
        let slot = self.slots.get_mut(index)?;
        self.queued -= 1;
        self.first = slot.next;
        slot.phase = Phase::Claimed;
        slot.woken = false;
        slot.reason = None;
        slot.until = Instant::FAR_FUTURE;
        let body = slot.body.take();
        self.current = index;
        match self.slots.get_mut(self.first) {
            Some(second) => second.previous = NONE,
            None => self.last = NONE,
        }
        Some(Claim { index, body })
    }

    /// Whether nothing is queued, and will not be by the end of this task's poll.
    pub(super) fn will_be_idle_after(&mut self, index: u32) -> bool {
        self.queued == 0 && self.slots.get_mut(index).is_none_or(|slot| !slot.woken)
    }

    /// After a poll of the current task: counts it and gives the task back. The task again, if that
    /// was its last: it has `ended`, or was cancelled meanwhile.
    pub(super) fn end_poll(
        &mut self,
        claim: Claim,
        ended: bool,
        took_ns: Option<u64>,
    ) -> Option<Claim> {
        self.current = NONE;
        let slot = self.slots.get_mut(claim.index)?;
        slot.polls += 1;
        match took_ns {
            Some(ns) => slot.run_ns = slot.run_ns.saturating_add(ns),
            None => slot.all_timed = false,
        }
        if ended || slot.cancelled {
            return Some(claim);
        }
        slot.body = claim.body;
        slot.phase = Phase::Waiting;
        if slot.woken {
            self.push(claim.index);
        }
        None
    }

    /// Claims a task to cancel it; nothing if that is not possible (any more) or has to wait for
    /// the end of its poll.
    pub(super) fn claim_to_cancel(&mut self, index: u32, id: TaskId) -> Option<Claim> {
        let slot = self.live(index, id)?;
        slot.cancelled = true;
        if slot.phase == Phase::Claimed {
            return None;
        }
        let queued = slot.phase == Phase::Queued;
        slot.phase = Phase::Claimed;
        let body = slot.body.take();
        if queued {
            self.unlink(index);
        }
        Some(Claim { index, body })
    }

    /// Takes a claimed task off the list.
    pub(super) fn retire(&mut self, index: u32) -> Retired {
        let slot = self.slots.remove(index);
        slot.map_or(Retired { joiner: None, detached: true }, |slot| Retired {
            joiner: slot.joiner,
            detached: slot.detached,
        })
    }

    /// Notes who waits for the end of a task; whether it still lives. Gives back what was noted
    /// before, to be dropped without the lock.
    pub(super) fn join(&mut self, index: u32, id: TaskId, waker: &Waker) -> Option<Option<Waker>> {
        let slot = self.live(index, id)?;
        let same = slot.joiner.as_ref().is_some_and(|joiner| joiner.will_wake(waker));
        let old = if same { None } else { slot.joiner.replace(waker.clone()) };
        self.label(|reason, _| *reason = reason.or(Some("the end of a task")));
        Some(old)
    }

    /// Notes that nobody will ask for a task's output; whether it still lives.
    pub(super) fn detach(&mut self, index: u32, id: TaskId) -> Option<Option<Waker>> {
        let slot = self.live(index, id)?;
        slot.detached = true;
        Some(slot.joiner.take())
    }

    /// Changes what the current task is said to wait for.
    pub(super) fn label(&mut self, change: impl FnOnce(&mut Option<&'static str>, &mut Instant)) {
        if let Some(slot) = self.slots.get_mut(self.current) {
            change(&mut slot.reason, &mut slot.until);
        }
    }

    /// A task's name.
    pub(super) fn name_of(&mut self, index: u32) -> Option<Name> {
        self.slots.get_mut(index).map(|slot| slot.name.clone())
    }

    /// What can be told about each task, in the order of spawning.
    pub(super) fn list(&self) -> Vec<TaskInfo> {
        let mut list: Vec<TaskInfo> = self.slots.iter().map(Slot::info).collect();
        list.sort_unstable_by_key(|info| info.id);
        list
    }

    fn push(&mut self, index: u32) {
        let last = core::mem::replace(&mut self.last, index);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.phase = Phase::Queued;
            slot.previous = last;
            slot.next = NONE;
        }
        match self.slots.get_mut(last) {
            Some(slot) => slot.next = index,
            None => self.first = index,
        }
        self.queued += 1;
    }

    /// Takes a task out of the queue, wherever it is there.
    fn unlink(&mut self, index: u32) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let (previous, next) = (slot.previous, slot.next);
        match self.slots.get_mut(previous) {
            Some(slot) => slot.next = next,
            None => self.first = next,
        }
        match self.slots.get_mut(next) {
            Some(slot) => slot.previous = previous,
            None => self.last = previous,
        }
        self.queued -= 1;
    }
}

impl Slot {
    fn info(&self) -> TaskInfo {
        TaskInfo {
            id: self.id,
            name: self.name.clone(),
            state: match self.phase {
                Phase::Waiting => TaskState::Waiting,
                Phase::Queued => TaskState::Queued,
                Phase::Claimed => TaskState::Running,
            },
            polls: self.polls,
            run_time: self.all_timed.then(|| Duration::from_nanos(self.run_ns)),
            reason: self.reason,
            until: Some(self.until).filter(|until| *until < Instant::FAR_FUTURE),
        }
    }
}
