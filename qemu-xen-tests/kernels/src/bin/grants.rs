//! Grants on real Xen, the domain being its own peer: the table grows to its limit, access ends,
//! and what is in use is set aside and taken back.
//!
//! `--version N` is the table's layout, `--frames N` its limit (`max_grant_frames=`).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use kernels::check;
use kernels::own_grants::{OwnGrants, Trouble, conclude, page};
use xen::gnttab::{
    Access, CopyEnd, CopyOp, Counters, GrantError, GrantedPage, RECLAIM_TRIES, Version,
};
use xen::page::SharedPage;
use xen_abi::gnttab::{GrantRef, flags, v1, v2};

libos::entry!(main);

async fn main(env: libos::Env) {
    conclude(test(&env));
}

fn test(env: &libos::Env) -> Result<(), Trouble> {
    let own = OwnGrants::new(env, 8)?;
    let limit = env.boot_line().option("frames").and_then(|text| text.parse::<u32>().ok());
    check_start(&own, limit.ok_or_else(|| String::from("no --frames"))?)?;
    grow(&own)?;
    busy_page(&own)?;
    page_never_let_go(&own)?;
    let counters = own.grants.table_counters();
    libos::println!("{counters:?}");
    Ok(())
}

/// An entry's flags, read from outside: every frame of the table is mapped.
fn entry_flags(own: &OwnGrants, grant: GrantRef) -> Result<u16, String> {
    let (per_frame, bytes) = match own.grants.version() {
        Version::One => (v1::PER_FRAME, v1::ENTRY_BYTES),
        Version::Two => (v2::PER_FRAME, v2::ENTRY_BYTES),
    };
    let gfn = own.window.grant_frame(grant.0 / per_frame).ok_or("no such frame")?;
    let frame = SharedPage::outside_ram(gfn, &[]).map_err(|error| format!("{error}"))?;
    Ok(frame.u16_at((grant.0 % per_frame) as usize * bytes).load(Ordering::SeqCst))
}

fn check_start(own: &OwnGrants, limit: u32) -> Result<(), String> {
    let counters = own.grants.table_counters();
    libos::println!("{:?}, {}, {counters:?}", own.grants.version(), own.domid);
    check!(counters.frames_limit == limit, "the limit is {}", counters.frames_limit);
    check!(counters.frames == 1, "{} frames at the start", counters.frames);
    check!(counters.free == counters.references, "not all is free");
    for toolstacks in [0, 1] {
        let flags = entry_flags(own, GrantRef(toolstacks))?;
        check!(flags & 3 == flags::PERMIT_ACCESS, "entry {toolstacks} has flags {flags:#x}");
    }
    Ok(())
}

/// Takes every reference there is, looks at data through one of each frame, gives all back.
fn grow(own: &OwnGrants) -> Result<(), String> {
    let mut all: Vec<GrantedPage> = Vec::new();
    let error = loop {
        let page = page()?;
        page.u32_at(0).store(all.len() as u32, Ordering::Relaxed);
        match own.grants.grant(own.domid, page, Access::ReadOnly) {
            Ok(granted) => all.push(granted),
            Err(error) => break error,
        }
    };
    let counters = own.grants.table_counters();
    check!(error == GrantError::Exhausted, "{error}");
    check!(counters.frames == counters.frames_limit, "{counters:?}");
    check!(all.len() as u32 == counters.references, "{} granted, {counters:?}", all.len());
    libos::println!("{} pages granted", all.len());
    let dest = page()?;
    for (index, granted) in all.iter().enumerate().step_by(100) {
        dest.clear();
        let (domid, grant) = (own.domid, granted.reference());
        let source = CopyEnd::Peer { domid, grant, offset: 0 };
        let mut ops = [CopyOp::new(source, CopyEnd::Own { page: &dest, offset: 0 }, 4)];
        own.grants.copy(&mut ops);
        check!(ops[0].result().is_ok(), "{grant}: {:?}", ops[0].result());
        let seen = dest.u32_at(0).load(Ordering::Relaxed);
        check!(seen == index as u32, "{grant} is of page {seen}, not {index}");
    }
    drop(all);
    let counters = own.grants.table_counters();
    check!(counters.free == counters.references, "{counters:?}");
    Ok(())
}

/// A page that is mapped cannot be ended: it is set aside, and comes back when it is unmapped.
fn busy_page(own: &OwnGrants) -> Result<(), String> {
    let device = own.grants.for_owner("device", 10);
    let granted =
        device.grant(own.domid, page()?, Access::ReadOnly).map_err(|error| format!("{error}"))?;
    let (grant, gfn) = (granted.reference(), granted.gfn());
    let mapped = own
        .foreign
        .map(own.domid, &[grant], Access::ReadOnly)
        .map_err(|error| format!("{error}"))?;
    let seen = entry_flags(own, grant)?;
    let expected = match own.grants.version() {
        Version::One => flags::PERMIT_ACCESS | flags::READONLY | flags::READING,
        Version::Two => flags::PERMIT_ACCESS | flags::READONLY,
    };
    check!(seen == expected, "flags {seen:#x} of a page that is mapped");
    check!(granted.end().is_err(), "a page that is mapped has ended");
    check!(own.grants.reclaim() == 1, "a page that is mapped came back");
    let counters = Counters { quarantined: 1, limit: 10, ..Counters::default() };
    check!(device.counters() == counters, "{:?}", device.counters());
    let again = own.foreign.map(own.domid, &[grant], Access::ReadWrite);
    check!(again.is_err(), "a page for reading was mapped for writing");
    drop(again);
    drop(mapped);
    own.refill(&[gfn])?;
    check!(own.grants.reclaim() == 0, "a page that is not mapped did not come back");
    check!(device.counters().quarantined == 0, "{:?}", device.counters());
    let seen = entry_flags(own, grant)?;
    check!(seen == 0, "flags {seen:#x} of a free entry");
    Ok(())
}

/// What is mapped for ever is given up, and counted.
fn page_never_let_go(own: &OwnGrants) -> Result<(), String> {
    let granted = own
        .grants
        .grant(own.domid, page()?, Access::ReadWrite)
        .map_err(|error| format!("{error}"))?;
    let gfn = granted.gfn();
    let mapped = own
        .foreign
        .map(own.domid, &[granted.reference()], Access::ReadWrite)
        .map_err(|error| format!("{error}"))?;
    drop(granted);
    for _ in 1..RECLAIM_TRIES {
        check!(own.grants.reclaim() == 1, "a page that is mapped came back");
    }
    check!(own.grants.reclaim() == 0, "still looked at after {RECLAIM_TRIES} tries");
    let counters = own.grants.table_counters();
    check!((counters.quarantined, counters.leaked) == (0, 1), "{counters:?}");
    check!(counters.free + 1 == counters.references, "{counters:?}");
    drop(mapped);
    own.refill(&[gfn])
}
