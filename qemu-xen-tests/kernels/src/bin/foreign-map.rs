//! Foreign pages on real Xen, the domain being its own peer: mapped in a batch, seen, written,
//! unmapped.
//!
//! `--version N` is the table's layout.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use arch::paging::kernel::look_up;
use arch::paging::{Hole, Permission};
use core::sync::atomic::Ordering;
use kernels::check;
use kernels::own_grants::{OwnGrants, Trouble, conclude, page};
use xen::gnttab::{Access, ForeignCounters, GrantedPage, MapError};
use xen::page::PAGE_BYTES;
use xen_abi::gnttab::{GrantRef, GrantStatus};

libos::entry!(main);

/// Pages that are mapped at the same time: more than fit in one batch.
const PAGES: u32 = 40;

async fn main(env: libos::Env) {
    conclude(test(&env));
}

fn test(env: &libos::Env) -> Result<(), Trouble> {
    let own = OwnGrants::new(env, PAGES)?;
    reading(&own)?;
    writing(&own)?;
    refusals(&own)?;
    Ok(())
}

fn grant_all(own: &OwnGrants, access: Access) -> Result<Vec<GrantedPage>, String> {
    let granted = (0..PAGES).map(|index| {
        let page = page()?;
        page.u32_at(64).store(index, Ordering::Relaxed);
        own.grants.grant(own.domid, page, access).map_err(|error| format!("{error}"))
    });
    granted.collect()
}

fn references(granted: &[GrantedPage]) -> Vec<GrantRef> {
    granted.iter().map(GrantedPage::reference).collect()
}

/// Gives the frames new pages, after which the granted pages may be dropped.
fn finish(own: &OwnGrants, granted: Vec<GrantedPage>) -> Result<(), String> {
    let gfns: Vec<u64> = granted.iter().map(|page| page.gfn()).collect();
    own.refill(&gfns)?;
    drop(granted);
    let counters = own.grants.table_counters();
    check!(counters.free == counters.references, "{counters:?}");
    let slots = ForeignCounters { slots: PAGES, ..ForeignCounters::default() };
    check!(own.foreign.counters() == slots, "{:?}", own.foreign.counters());
    Ok(())
}

/// What our page tables say of a slot.
fn slot_is_mapped(own: &OwnGrants, slot: u32) -> Result<bool, String> {
    let gfn = own.window.foreign_slot(slot).ok_or("no such slot")?;
    match look_up(gfn * PAGE_BYTES as u64) {
        Some(Ok(access)) if access == Permission::Data.access() => Ok(true),
        Some(Err(Hole::Unmapped)) => Ok(false),
        other => Err(format!("slot {slot} is {other:?}")),
    }
}

fn reading(own: &OwnGrants) -> Result<(), String> {
    let granted = grant_all(own, Access::ReadOnly)?;
    let mapped = own
        .foreign
        .map(own.domid, &references(&granted), Access::ReadOnly)
        .map_err(|error| format!("{error}"))?;
    check!(own.foreign.mapped() == PAGES && mapped.len() as u32 == PAGES, "not all are mapped");
    let wrong = (0..PAGES).find(|&index| mapped.load_u32(index as usize, 64) != index);
    check!(wrong.is_none(), "page {wrong:?} is another one");
    check!(slot_is_mapped(own, 0)? && slot_is_mapped(own, PAGES - 1)?, "slots are holes");
    drop(mapped);
    check!(!slot_is_mapped(own, 0)? && !slot_is_mapped(own, PAGES - 1)?, "slots are not holes");
    finish(own, granted)
}

fn writing(own: &OwnGrants) -> Result<(), String> {
    let granted = grant_all(own, Access::ReadWrite)?;
    let all = references(&granted);
    // Twice: slots are used again.
    for round in 0..2u32 {
        let mapped = own
            .foreign
            .map(own.domid, &all, Access::ReadWrite)
            .map_err(|error| format!("round {round}: {error}"))?;
        for index in 0..PAGES {
            let page = mapped.page(index as usize).ok_or("not for writing")?;
            page.write(4000, &[round as u8 + 1; 96]);
            page.u32_at(0).fetch_add(index, Ordering::AcqRel);
            check!(page.u32_at(0).load(Ordering::Relaxed) == index, "page {index}, round {round}");
            check!(page.u8_at(4095).load(Ordering::Relaxed) == round as u8 + 1, "page {index}");
        }
        drop(mapped);
        let gfns: Vec<u64> = granted.iter().map(|page| page.gfn()).collect();
        own.refill(&gfns)?;
    }
    drop(granted);
    check!(own.foreign.mapped() == 0, "{:?}", own.foreign.counters());
    Ok(())
}

fn refusals(own: &OwnGrants) -> Result<(), String> {
    let granted = grant_all(own, Access::ReadOnly)?;
    let mut all = references(&granted);
    let error = own.foreign.map(own.domid, &all[..1], Access::ReadWrite).err();
    let status = GrantStatus::GENERAL_ERROR;
    check!(error == Some(MapError::Grant { grant: all[0], status }), "{error:?}");
    // One bad reference in the last batch: those before are unmapped again.
    let good = core::mem::replace(&mut all[PAGES as usize - 1], GrantRef(1 << 20));
    let error = own.foreign.map(own.domid, &all, Access::ReadOnly).err();
    let (grant, status) = (GrantRef(1 << 20), GrantStatus::BAD_GRANT);
    check!(error == Some(MapError::Grant { grant, status }), "{error:?}");
    check!(own.foreign.mapped() == 0, "{:?}", own.foreign.counters());
    let gfns: Vec<u64> = granted.iter().map(|page| page.gfn()).collect();
    own.refill(&gfns[..PAGES as usize - 1])?;
    let twice = [good; PAGES as usize + 1];
    let error = own.foreign.map(own.domid, &twice, Access::ReadOnly).err();
    check!(matches!(error, Some(MapError::NoSlots { .. })), "{error:?}");
    finish_last(own, granted, &gfns)
}

/// The last page was mapped [`PAGES`] times, in vain for the slots: only its frame is a hole.
fn finish_last(own: &OwnGrants, granted: Vec<GrantedPage>, gfns: &[u64]) -> Result<(), String> {
    own.refill(&gfns[PAGES as usize - 1..])?;
    drop(granted);
    let counters = own.grants.table_counters();
    check!(counters.free == counters.references, "{counters:?}");
    check!(own.foreign.mapped() == 0, "{:?}", own.foreign.counters());
    Ok(())
}
