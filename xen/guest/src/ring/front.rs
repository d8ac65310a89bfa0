//! The end that asks.

use super::{RingError, RingIdx, RingPages, event_is_due};
use crate::page::SharedPage;
use core::borrow::Borrow;
use core::sync::atomic::{Ordering, fence};
use xen_abi::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD};

/// The frontend's end of a ring.
pub struct Front<P = SharedPage> {
    pages: RingPages<P>,
    /// Requests written, and those of them that the backend may see.
    req_prod_pvt: RingIdx,
    req_prod: RingIdx,
    rsp_cons: RingIdx,
    /// Responses that were found to be there, and not popped yet.
    ready: u32,
}

impl<P: Borrow<SharedPage>> Front<P> {
    /// A ring that is new to both ends (Xen: io/ring.h, SHARED_RING_INIT).
    pub fn new(pages: RingPages<P>) -> Self {
        Self::starting_at(pages, RingIdx(0))
    }

    /// The same with all indices at `start`. Xen's rings start at 0; tests start beside the wrap.
    pub fn starting_at(pages: RingPages<P>, start: RingIdx) -> Self {
        for (offset, index) in [
            (REQ_PROD, start),
            (RSP_PROD, start),
            (REQ_EVENT, start.plus(1)),
            (RSP_EVENT, start.plus(1)),
        ] {
            pages.word(offset).store(index.0, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        Self { pages, req_prod_pvt: start, req_prod: start, rsp_cons: start, ready: 0 }
    }

    /// The memory, to be granted.
    pub fn pages(&self) -> &RingPages<P> {
        &self.pages
    }

    /// The memory, to be taken back.
    pub fn into_pages(self) -> RingPages<P> {
        self.pages
    }

    /// Requests that can be pushed now: check before something is begun that needs several.
    pub fn room(&self) -> u32 {
        self.pages.slots() - self.outstanding()
    }

    /// Requests without response, published or not.
    pub fn outstanding(&self) -> u32 {
        self.req_prod_pvt.since(self.rsp_cons)
    }

    /// Writes a request into the next slot; its index. Nothing if the ring is full. The backend
    /// sees it after [`Self::publish`].
    #[inline]
    pub fn push(&mut self, request: &[u8]) -> Option<RingIdx> {
        debug_assert!(request.len() <= self.pages.slot_bytes());
        if self.room() == 0 {
            return None;
        }
        let index = self.req_prod_pvt;
        self.pages.write_slot(index, request);
        self.req_prod_pvt = index.plus(1);
        Some(index)
    }

    /// Shows the backend what was pushed; whether it wants an event for that.
    #[must_use = "the backend sleeps until the event is sent"]
    pub fn publish(&mut self) -> bool {
        let old = self.req_prod;
        if old == self.req_prod_pvt {
            return false;
        }
        self.req_prod = self.req_prod_pvt;
        self.pages.store_and_see(REQ_PROD, self.req_prod);
        event_is_due(self.req_prod, old, self.pages.load(REQ_EVENT))
    }

    /// Responses that wait to be popped.
    ///
    /// # Errors
    /// When the backend claims more than there are published requests.
    pub fn pending(&self) -> Result<u32, RingError> {
        let producer = self.pages.load(RSP_PROD);
        let (pending, outstanding) =
            (producer.since(self.rsp_cons), self.req_prod.since(self.rsp_cons));
        if pending > outstanding {
            let (producer, consumer) = (producer.0, self.rsp_cons.0);
            return Err(RingError { producer, consumer, outstanding });
        }
        Ok(pending)
    }

    /// Copies the next response into `response`; false if there is none.
    ///
    /// # Errors
    /// As for [`Self::pending`].
    #[inline]
    pub fn pop(&mut self, response: &mut [u8]) -> Result<bool, RingError> {
        if self.ready == 0 {
            self.ready = self.pending()?;
            if self.ready == 0 {
                return Ok(false);
            }
        }
        self.ready -= 1;
        self.pages.read_slot(self.rsp_cons, response);
        self.rsp_cons = self.rsp_cons.plus(1);
        Ok(true)
    }

    /// Asks for an event once `after` more responses are there (at least 1), then looks again
    /// whether they are there already: if so, no event may come, and the caller goes on popping
    /// (Xen: io/ring.h, RING_FINAL_CHECK_FOR_RESPONSES).
    ///
    /// # Errors
    /// As for [`Self::pending`].
    #[must_use = "no event comes for what is there already"]
    pub fn arm(&mut self, after: u32) -> Result<bool, RingError> {
        let after = after.max(1);
        self.pages.store_and_see(RSP_EVENT, self.rsp_cons.plus(after));
        Ok(self.pending()? >= after)
    }
}
