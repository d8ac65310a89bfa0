//! The engine, as handles and driver share it.

use crate::blkfront::error::CloseReason;
use crate::blkfront::proto::Engine;
use alloc::sync::Arc;
use core::task::Waker;
use spin::Mutex;
use xen::Hypervisor;

/// Handle to the engine.
pub(super) struct Shared<X: Hypervisor>(Arc<Mutex<Engine<X>>>);

impl<X: Hypervisor> Clone for Shared<X> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<X: Hypervisor> Shared<X> {
    pub fn new(engine: Engine<X>) -> Self {
        Self(Arc::new(Mutex::new(engine)))
    }

    /// Works on the engine under the lock, then wakes who is to be woken without it.
    pub fn with<R>(&self, work: impl FnOnce(&mut Engine<X>) -> R) -> R {
        let mut engine = self.0.lock();
        let result = work(&mut engine);
        let wakers = engine.take_wakers();
        drop(engine);
        wakers.into_iter().for_each(Waker::wake);
        result
    }
}

/// Closes the disk when the driver ends, however it does.
pub(super) struct CloseOnDrop<X: Hypervisor>(pub Shared<X>);

impl<X: Hypervisor> Drop for CloseOnDrop<X> {
    fn drop(&mut self) {
        self.0.with(|engine| engine.close(CloseReason::Stopped));
    }
}
