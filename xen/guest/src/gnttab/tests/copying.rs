//! Copies in batches.

use super::*;
use crate::testing::Call;
use proptest::prelude::*;
use std::vec;
use xen_abi::gnttab::{GrantRef, GrantStatus};

fn from_peer(domid: DomId, grant: GrantRef, offset: usize) -> CopyEnd<'static> {
    CopyEnd::Peer { domid, grant, offset }
}

#[test]
fn bytes_go_both_ways() {
    let (xen, grants) = table(Version::One, 1);
    let peer = xen.peer(DOM0);
    let shared = peer.share(Access::ReadWrite);
    shared.page.write(10, b"from the peer");
    let own = page();
    own.write(100, b"from us");
    let mut batch = [
        CopyOp::new(from_peer(DOM0, shared.grant, 10), CopyEnd::Own { page: &own, offset: 0 }, 13),
        CopyOp::new(
            CopyEnd::Own { page: &own, offset: 100 },
            from_peer(DOM0, shared.grant, 4089),
            7,
        ),
    ];
    assert_eq!(batch[0].result(), Err(CopyError::Status(GrantStatus::UNTOUCHED)));
    grants.copy(&mut batch);
    assert!(batch.iter().all(|op| op.result().is_ok()));
    let mut bytes = [0; 13];
    own.read(0, &mut bytes);
    assert_eq!(&bytes, b"from the peer");
    shared.page.read(4089, &mut bytes[..7]);
    assert_eq!(&bytes[..7], b"from us");
    assert_eq!(peer.users(shared.grant), 0);
}

#[test]
fn each_has_its_own_result() {
    let (xen, grants) = table(Version::One, 1);
    let peer = xen.peer(DOM0);
    let readonly = peer.share(Access::ReadOnly);
    let gone = peer.share(Access::ReadWrite);
    peer.revoke(gone.grant);
    let own = page();
    let dest = CopyEnd::Own { page: &own, offset: 0 };
    let mut batch = [
        CopyOp::new(from_peer(DOM0, readonly.grant, 0), dest, 4096),
        CopyOp::new(dest, from_peer(DOM0, readonly.grant, 0), 16),
        CopyOp::new(from_peer(DOM0, gone.grant, 0), dest, 16),
        CopyOp::new(from_peer(DOM0, GrantRef(999), 0), dest, 16),
        CopyOp::new(from_peer(DomId(44), readonly.grant, 0), dest, 16),
        CopyOp::new(from_peer(DOM0, readonly.grant, 1), dest, 4096),
        CopyOp::new(from_peer(DOM0, readonly.grant, usize::MAX), dest, 2),
        CopyOp::new(from_peer(DOM0, readonly.grant, 4096), dest, 0),
    ];
    xen.take_calls();
    grants.copy(&mut batch);
    let status = |number| Err(CopyError::Status(GrantStatus(number)));
    let beyond = Err(CopyError::BeyondPage);
    let results: Vec<_> = batch.iter().map(CopyOp::result).collect();
    let expected =
        vec![Ok(()), status(-1), status(-1), status(-3), status(-2), beyond, beyond, Ok(())];
    assert_eq!(results, expected);
    assert_eq!(xen.take_calls(), [Call::GrantCopy(5)], "what makes no sense is not shown to Xen");
}

#[test]
fn a_page_that_is_not_there_is_tried_a_few_times_without_the_others() {
    let (xen, grants) = table(Version::One, 1);
    let peer = xen.peer(DOM0);
    let shares = [(); 2].map(|()| peer.share(Access::ReadOnly));
    let own = page();
    let dest = CopyEnd::Own { page: &own, offset: 0 };
    for (refusals, ok, calls) in
        [(1, true, vec![2, 1]), (2, true, vec![2, 1, 1]), (9, false, vec![2, 1, 1])]
    {
        peer.refuse(shares[1].grant, GrantStatus::EAGAIN, refusals);
        let mut batch =
            shares.each_ref().map(|share| CopyOp::new(from_peer(DOM0, share.grant, 0), dest, 8));
        xen.take_calls();
        grants.copy(&mut batch);
        assert!(batch[0].result().is_ok());
        let again = Err(CopyError::Status(GrantStatus::EAGAIN));
        assert_eq!(batch[1].result(), if ok { Ok(()) } else { again });
        let calls: Vec<_> = calls.into_iter().map(Call::GrantCopy).collect();
        assert_eq!(xen.take_calls(), calls);
        peer.refuse(shares[1].grant, GrantStatus::EAGAIN, 0);
    }
}

#[test]
fn a_batch_that_fails_as_a_whole_says_so_for_each() {
    let (xen, grants) = table(Version::One, 1);
    let share = xen.peer(DOM0).share(Access::ReadOnly);
    let own = page();
    let mut batch: Vec<_> = (0..70)
        .map(|_| {
            let dest = CopyEnd::Own { page: &own, offset: 0 };
            CopyOp::new(from_peer(DOM0, share.grant, 0), dest, 8)
        })
        .collect();
    xen.fail(2, Errno(14), |call| matches!(call, Call::GrantCopy(_)));
    xen.take_calls();
    grants.copy(&mut batch);
    assert_eq!(xen.take_calls(), [32, 32, 6].map(Call::GrantCopy));
    for (index, op) in batch.iter().enumerate() {
        let failed = (32..64).contains(&index);
        assert_eq!(op.result(), if failed { Err(CopyError::Xen(Errno(14))) } else { Ok(()) });
    }
}

proptest! {
    #[test]
    fn copies_do_what_a_slice_would(
        ops in proptest::collection::vec(
            (any::<bool>(), 0usize..4200, 0usize..4200, 0usize..4200, any::<u8>()), 1..80),
    ) {
        let (xen, grants) = table(Version::One, 1);
        let share = xen.peer(DOM0).share(Access::ReadWrite);
        let own = page();
        let (mut ours, mut theirs) = (vec![0u8; 4096], vec![0u8; 4096]);
        for (factor, bytes, page) in [(3, &mut ours, &own), (5, &mut theirs, &share.page)] {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = (at * factor) as u8;
            }
            page.write(0, bytes);
        }
        let mut batch = Vec::new();
        for (outward, from, to, len, shrink) in ops {
            let len = len >> (shrink % 12);
            let ends = (from_peer(DOM0, share.grant, if outward { to } else { from }),
                CopyEnd::Own { page: &own, offset: if outward { from } else { to } });
            batch.push(match outward {
                true => CopyOp::new(ends.1, ends.0, len),
                false => CopyOp::new(ends.0, ends.1, len),
            });
            if from + len <= 4096 && to + len <= 4096 {
                let (source, dest) =
                    if outward { (&ours, &mut theirs) } else { (&theirs, &mut ours) };
                dest[to..to + len].copy_from_slice(&source[from..from + len]);
            }
        }
        grants.copy(&mut batch);
        let mut bytes = [0; 4096];
        own.read(0, &mut bytes);
        prop_assert_eq!(&bytes[..], &ours[..]);
        share.page.read(0, &mut bytes);
        prop_assert_eq!(&bytes[..], &theirs[..]);
    }
}
