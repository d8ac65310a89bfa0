//! Grant copies on real Xen, the domain being its own peer: what arrives, what is refused, and how.
//!
//! `--version N` is the table's layout.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kernels::check;
use kernels::own_grants::{OwnGrants, Trouble, conclude, page};
use xen::gnttab::{Access, CopyEnd, CopyError, CopyOp, GrantedPage};
use xen::page::{PAGE_BYTES, SharedPage};
use xen_abi::DomId;
use xen_abi::gnttab::{GrantRef, GrantStatus};

libos::entry!(main);

async fn main(env: libos::Env) {
    conclude(test(&env));
}

fn test(env: &libos::Env) -> Result<(), Trouble> {
    let own = OwnGrants::new(env, 0)?;
    whole_page(&own)?;
    pieces(&own)?;
    refusals(&own)?;
    let counters = own.grants.table_counters();
    check_free(counters.in_use + counters.quarantined)?;
    Ok(())
}

fn check_free(left: u32) -> Result<(), String> {
    check!(left == 0, "{left} grants are not free at the end");
    Ok(())
}

fn grant(own: &OwnGrants, access: Access) -> Result<GrantedPage, String> {
    own.grants.grant(own.domid, page()?, access).map_err(|error| format!("{error}"))
}

fn peer(own: &OwnGrants, grant: GrantRef, offset: usize) -> CopyEnd<'static> {
    CopyEnd::Peer { domid: own.domid, grant, offset }
}

fn pattern(i: usize) -> u8 {
    (i * 7 + i / 256) as u8
}

fn fill(page: &SharedPage) {
    let bytes: Vec<u8> = (0..PAGE_BYTES).map(pattern).collect();
    page.write(0, &bytes);
}

fn bytes_of(page: &SharedPage) -> Vec<u8> {
    let mut bytes = alloc::vec![0; PAGE_BYTES];
    page.read(0, &mut bytes);
    bytes
}

/// From a grant to a page of ours, and from there to another grant.
fn whole_page(own: &OwnGrants) -> Result<(), String> {
    let (first, last, middle) =
        (grant(own, Access::ReadOnly)?, grant(own, Access::ReadWrite)?, page()?);
    fill(&first);
    let between = CopyEnd::Own { page: &middle, offset: 0 };
    let mut ops = [
        CopyOp::new(peer(own, first.reference(), 0), between, PAGE_BYTES),
        CopyOp::new(between, peer(own, last.reference(), 0), PAGE_BYTES),
    ];
    own.grants.copy(&mut ops);
    check!(ops.iter().all(|op| op.result().is_ok()), "{:?}", ops.each_ref().map(CopyOp::result));
    let wrong =
        bytes_of(&last).iter().enumerate().find(|(i, byte)| **byte != pattern(*i)).is_some();
    check!(!wrong, "the bytes changed on their way");
    Ok(())
}

/// A batch of many small copies turns a page around.
fn pieces(own: &OwnGrants) -> Result<(), String> {
    const PIECE: usize = 32;
    let (from, to) = (grant(own, Access::ReadOnly)?, page()?);
    fill(&from);
    let offsets = (0..PAGE_BYTES).step_by(PIECE);
    let mut ops: Vec<_> = offsets
        .map(|at| {
            let dest = CopyEnd::Own { page: &to, offset: PAGE_BYTES - PIECE - at };
            CopyOp::new(peer(own, from.reference(), at), dest, PIECE)
        })
        .collect();
    own.grants.copy(&mut ops);
    let failed = ops.iter().find(|op| op.result().is_err());
    check!(failed.is_none(), "{:?}", failed.map(CopyOp::result));
    let bytes = bytes_of(&to);
    let expected = |i: usize| pattern(PAGE_BYTES - PIECE - i / PIECE * PIECE + i % PIECE);
    let wrong = (0..PAGE_BYTES).find(|&i| bytes[i] != expected(i));
    check!(wrong.is_none(), "byte {wrong:?} of {} copies", ops.len());
    Ok(())
}

/// Each copy that Xen refuses has its own status; the good one between them is done.
fn refusals(own: &OwnGrants) -> Result<(), String> {
    let (readonly, ended, other) =
        (grant(own, Access::ReadOnly)?, grant(own, Access::ReadOnly)?, DomId(own.domid.0 + 1000));
    let for_another =
        own.grants.grant(other, page()?, Access::ReadOnly).map_err(|error| format!("{error}"))?;
    let gone = ended.reference();
    drop(ended);
    let buffer = page()?;
    let own_end = CopyEnd::Own { page: &buffer, offset: 0 };
    let stranger = CopyEnd::Peer { domid: other, grant: readonly.reference(), offset: 0 };
    let mut ops = [
        CopyOp::new(own_end, peer(own, readonly.reference(), 0), 8),
        CopyOp::new(peer(own, gone, 0), own_end, 8),
        CopyOp::new(peer(own, GrantRef(1 << 20), 0), own_end, 8),
        CopyOp::new(peer(own, for_another.reference(), 0), own_end, 8),
        CopyOp::new(stranger, own_end, 8),
        CopyOp::new(peer(own, readonly.reference(), 4000), own_end, 200),
        CopyOp::new(peer(own, readonly.reference(), 4000), own_end, 96),
    ];
    own.grants.copy(&mut ops);
    let status = |status| Err(CopyError::Status(status));
    let expected = [
        status(GrantStatus::GENERAL_ERROR),
        status(GrantStatus::GENERAL_ERROR),
        status(GrantStatus::BAD_GRANT),
        status(GrantStatus::GENERAL_ERROR),
        status(GrantStatus::BAD_DOMAIN),
        Err(CopyError::BeyondPage),
        Ok(()),
    ];
    let results = ops.each_ref().map(CopyOp::result);
    check!(results == expected, "{results:?}");
    Ok(())
}
