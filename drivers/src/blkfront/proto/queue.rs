//! One ring to the backend: a "queue" in the protocol's words.

use super::shadow::{Shadow, Shadows};
use crate::blkfront::error::Lie;
use alloc::vec::Vec;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantedPage, Grants};
use xen::page::SharedPage;
use xen::ring::Front;
use xen_abi::DomId;
use xen_abi::blkif::{Response, SEGMENT_BYTES, SEGMENTS_PER_PAGE, Segment};

/// A ring, what was asked on it, and pages for the segments of indirect requests.
pub(super) struct Queue {
    pub ring: Front<GrantedPage>,
    pub shadows: Shadows,
    /// Granted as long as the connection lasts: they show nothing but references.
    segment_pages: Vec<GrantedPage>,
}

impl Queue {
    pub fn new(ring: Front<GrantedPage>) -> Self {
        let shadows = Shadows::new(ring.pages().slots());
        Self { ring, shadows, segment_pages: Vec::new() }
    }

    /// The next response.
    pub fn pop(&mut self) -> Result<Option<Response>, Lie> {
        let mut bytes = [0; Response::BYTES];
        let popped = self.ring.pop(&mut bytes).map_err(Lie::Ring)?;
        Ok(popped.then(|| Response::parse(&bytes)))
    }

    /// Has pages ready for `segments` segments; false if there are none.
    pub fn reserve_segments<X: Hypervisor>(
        &mut self,
        segments: usize,
        grants: &Grants<X>,
        (backend, access): (DomId, Access),
    ) -> bool {
        while self.segment_pages.len() < segments.div_ceil(SEGMENTS_PER_PAGE) {
            let Some(page) = SharedPage::allocate() else { return false };
            let Ok(page) = grants.grant(backend, page, access) else { return false };
            self.segment_pages.push(page);
        }
        true
    }

    /// Gives a request the pages that were reserved for `segments` segments.
    pub fn take_segment_pages(&mut self, segments: usize) -> impl Iterator<Item = GrantedPage> {
        let pages = segments.div_ceil(SEGMENTS_PER_PAGE);
        let rest = self.segment_pages.len().saturating_sub(pages);
        self.segment_pages.drain(rest..)
    }

    /// Takes the pages of a request that was answered back.
    pub fn release_segment_pages(&mut self, shadow_pages: &mut Vec<GrantedPage>) {
        self.segment_pages.append(shadow_pages);
    }

    /// The requests without answer; the ring is given up.
    pub fn into_open(self) -> impl Iterator<Item = Shadow> {
        self.shadows.into_open()
    }
}

/// Writes segment `index` of an indirect request.
pub(super) fn write_segment(pages: &[GrantedPage], index: usize, segment: Segment) {
    let page = &pages[index / SEGMENTS_PER_PAGE];
    page.write(index % SEGMENTS_PER_PAGE * SEGMENT_BYTES, &segment.emit());
}
