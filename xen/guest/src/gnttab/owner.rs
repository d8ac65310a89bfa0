//! Who holds how many references: a device and its limit.

use super::Counters;
use spin::Mutex;

/// A holder of references, named in warnings.
pub(super) struct Owner {
    name: &'static str,
    limit: u32,
    held: Mutex<Held>,
}

/// What it holds of the table of `generation`; nothing of any later one.
#[derive(Clone, Copy, Default)]
struct Held {
    generation: u32,
    in_use: u32,
    quarantined: u32,
    leaked: u32,
}

/// What becomes of one reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Free to granted.
    Granted,
    /// Granted to free.
    Ended,
    /// Granted to set aside.
    Quarantined,
    /// Set aside to free.
    Reclaimed,
    /// Set aside to given up.
    Leaked,
}

impl Owner {
    pub fn new(name: &'static str, limit: u32) -> Self {
        Self { name, limit, held: Mutex::default() }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether it holds as many references as it may: those that are set aside or lost among them,
    /// so a hostile peer costs a device its own share and no more.
    pub fn is_at_limit(&self, generation: u32) -> bool {
        let held = self.held(generation);
        let all = u64::from(held.in_use) + u64::from(held.quarantined) + u64::from(held.leaked);
        all >= u64::from(self.limit)
    }

    /// Counts a step.
    pub fn count(&self, generation: u32, step: Step) {
        let mut held = self.held(generation);
        match step {
            Step::Granted => held.in_use += 1,
            Step::Ended => held.in_use -= 1,
            Step::Quarantined => {
                (held.in_use, held.quarantined) = (held.in_use - 1, held.quarantined + 1)
            }
            Step::Reclaimed => held.quarantined -= 1,
            Step::Leaked => {
                (held.quarantined, held.leaked) = (held.quarantined - 1, held.leaked + 1)
            }
        }
        *self.held.lock() = held;
    }

    pub fn counters(&self, generation: u32) -> Counters {
        let Held { in_use, quarantined, leaked, .. } = self.held(generation);
        Counters { in_use, quarantined, leaked, limit: self.limit }
    }

    fn held(&self, generation: u32) -> Held {
        let held = *self.held.lock();
        if held.generation == generation { held } else { Held { generation, ..Held::default() } }
    }
}
