//! Pages that a peer may read while we write them.

use super::*;
use xen_abi::gnttab::GrantStatus;

#[test]
fn what_is_written_is_shown_and_cannot_be_written_by_the_peer() {
    for version in BOTH {
        let (xen, grants) = table(version, 2);
        let peer = xen.peer(DOM0);
        let mut lent = grants.lend(DOM0, 3).unwrap();
        assert_eq!(lent.pages(), 3);
        let references: Vec<_> = (0..lent.pages()).map(|index| lent.reference(index)).collect();
        let mut bytes = [1; 8];
        peer.copy_from(references[2], 4088, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 8], "nothing of what was there before");
        lent.bytes()[4092..4100].copy_from_slice(b"two page");
        peer.copy_from(references[1], 0, &mut bytes).unwrap();
        assert_eq!(&bytes[..4], b"page");
        assert_eq!(peer.copy_to(references[0], 0, b"x"), Err(GrantStatus(-1)));
        assert_eq!(peer.map(references[0], Access::ReadWrite).err(), Some(GrantStatus(-1)));
        assert_eq!(grants.counters().in_use, 3);
        drop(lent);
        assert_eq!(grants.counters().in_use, 0);
        assert!(peer.copy_from(references[0], 0, &mut bytes).is_err());
    }
}

#[test]
fn a_page_that_the_peer_still_reads_is_set_aside_and_the_others_are_free() {
    let (xen, grants) = table(Version::One, 1);
    let peer = xen.peer(DOM0);
    let mut lent = grants.lend(DOM0, 2).unwrap();
    lent.bytes().fill(7);
    let references: Vec<_> = (0..lent.pages()).map(|index| lent.reference(index)).collect();
    let mapping = peer.map(references[1], Access::ReadOnly).unwrap();
    drop(lent);
    let counters = grants.counters();
    assert_eq!((counters.in_use, counters.quarantined), (0, 1));
    assert!(!mapping.page().is_freed());
    peer.unmap(mapping);
    assert_eq!(grants.reclaim(), 0);
}

#[test]
fn without_references_for_all_none_is_kept() {
    let (_xen, grants) = table(Version::One, 1);
    let few = grants.for_owner("few", 5);
    assert!(few.lend(DOM0, 6).is_err());
    assert_eq!(few.counters().in_use, 0);
    let lent = few.lend(DOM0, 5).unwrap();
    assert!(few.lend(DOM0, 1).is_err());
    drop(lent);
}
