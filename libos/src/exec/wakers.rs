//! Wakers of all who wait for one thing.

use alloc::collections::LinkedList;
use core::task::Waker;

/// Wakers, each task's once. A list, because an empty one is all zeros: a static that has it takes
/// no bytes of the image.
pub(crate) struct Wakers(LinkedList<Waker>);

impl Wakers {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(LinkedList::new())
    }

    /// Adds a waker, unless it is there.
    pub(crate) fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push_back(waker.clone());
        }
    }

    /// Takes all of them, to be woken without any lock.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        core::mem::take(&mut self.0).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::testing::Count;

    #[test]
    fn each_is_woken_once() {
        let (one, two) = (Count::new(), Count::new());
        let mut wakers = Wakers::new();
        for waker in [one.waker(), two.waker(), one.waker()] {
            wakers.add(&waker);
        }
        wakers.take().for_each(Waker::wake);
        wakers.take().for_each(Waker::wake);
        assert_eq!((one.get(), two.get()), (1, 1));
    }
}
