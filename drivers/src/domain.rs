//! What the drivers need of the domain.

use xen::Hypervisor;
use xen::evtchn::Events;
use xen::gnttab::Grants;
use xen::xenstore::Xenstore;

/// What a driver needs of the domain. Copies name the same.
#[derive(Clone)]
pub struct Domain<X: Hypervisor> {
    /// The store.
    pub store: Xenstore,
    /// The grant table; a device has a handle of its own, so that its limit is its own.
    pub grants: Grants<X>,
    /// The event channels.
    pub events: Events<X>,
}
