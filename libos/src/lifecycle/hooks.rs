//! What an app has asked to be called for: before a suspend, after a resume, on sync.

use alloc::boxed::Box;
use alloc::vec::Vec;
use spin::Mutex;

/// A function of the app's.
type Hook = Box<dyn FnMut() + Send>;

/// Functions to be called in the order they were added.
pub struct Hooks {
    hooks: Mutex<Vec<Hook>>,
}

impl Hooks {
    /// No functions.
    pub const fn new() -> Self {
        Self { hooks: Mutex::new(Vec::new()) }
    }

    /// Adds a function, for as long as the domain lives.
    pub fn add(&self, hook: impl FnMut() + Send + 'static) {
        self.hooks.lock().push(Box::new(hook));
    }

    /// Calls all. One that is added meanwhile is called from the next time on.
    pub fn call(&self) {
        // Taken out, so that a hook may add hooks.
        let mut hooks = core::mem::take(&mut *self.hooks.lock());
        hooks.iter_mut().for_each(|hook| hook());
        let mut all = self.hooks.lock();
        let added = core::mem::replace(&mut *all, hooks);
        all.extend(added);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.hooks.lock().len()
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    #[test]
    fn hooks_are_called_in_order_and_may_add_more() {
        static HOOKS: Hooks = Hooks::new();
        let calls = Arc::new(Mutex::new(Vec::new()));
        for name in ["first", "second"] {
            let seen = calls.clone();
            HOOKS.add(move || {
                seen.lock().push(name);
                if name == "second" {
                    let seen = seen.clone();
                    HOOKS.add(move || seen.lock().push("late"));
                }
            });
        }
        HOOKS.call();
        assert_eq!(*calls.lock(), ["first", "second"]);
        HOOKS.call();
        assert_eq!(*calls.lock(), ["first", "second", "first", "second", "late"]);
    }
}
