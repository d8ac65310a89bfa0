//! The task that follows `memory/target` with the balloon.

use crate::exec::waiting;
use crate::{memory, platform};
use arch::addr::PAGE_BYTES;
use xen::xenstore::{StoreError, Xenstore};

/// The node: KiB that the domain shall have.
const NODE: &str = "memory/target";

/// Runs as long as the domain.
pub(super) async fn run(store: Xenstore) {
    if let Err(error) = follow(&store).await {
        log::error!("balloon: {error}; xl mem-set does not reach this domain");
    }
}

async fn follow(store: &Xenstore) -> Result<(), StoreError> {
    let mut watch = store.watch(NODE).await?;
    let mut reached = None;
    let start_pages = platform::boot_info().map(memory::pages);
    loop {
        waiting("another memory target", watch.next()).await?;
        let target = match store.read_text(NODE).await {
            Ok(text) => text.trim().parse::<u64>().ok(),
            Err(StoreError::NO_ENTRY) => None,
            Err(error) => return Err(error),
        };
        let (Some(target_kib), Some(info)) = (target, platform::boot_info()) else { continue };
        let target_pages = target_kib.saturating_mul(1024) / PAGE_BYTES;
        let outcome = memory::follow(info, target_pages);
        let is_start = reached.is_none() && start_pages == Some(outcome.target_pages);
        if reached.replace(outcome) == Some(outcome) || is_start {
            continue;
        }
        log::info!("balloon: {} pages of {} wanted", outcome.pages, outcome.target_pages);
        if outcome.pages > outcome.target_pages {
            let missing = outcome.pages - outcome.target_pages;
            log::warn!("balloon: cannot give {missing} pages more: they are in use");
        } else if outcome.pages < outcome.target_pages {
            let missing = outcome.target_pages - outcome.pages;
            log::warn!("balloon: Xen has no {missing} pages more for us");
        }
    }
}
