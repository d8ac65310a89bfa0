//! The end that answers.

use super::{RingError, RingIdx, RingPages, event_is_due};
use crate::page::SharedPage;
use core::borrow::Borrow;
use xen_abi::ring::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD};

/// The backend's end of a ring.
pub struct Back<P = SharedPage> {
    pages: RingPages<P>,
    req_cons: RingIdx,
    /// Responses written, and those of them that the frontend may see.
    rsp_prod_pvt: RingIdx,
    rsp_prod: RingIdx,
}

impl<P: Borrow<SharedPage>> Back<P> {
    /// Attaches to a ring that the frontend has set up, at its current indices.
    pub fn attach(pages: RingPages<P>) -> Self {
        let start = pages.load(RSP_PROD);
        Self { pages, req_cons: start, rsp_prod_pvt: start, rsp_prod: start }
    }

    /// The memory.
    pub fn pages(&self) -> &RingPages<P> {
        &self.pages
    }

    /// Requests that wait to be popped.
    ///
    /// # Errors
    /// When the frontend claims more than the ring holds beside unanswered ones.
    pub fn pending(&self) -> Result<u32, RingError> {
        let producer = self.pages.load(REQ_PROD);
        let pending = producer.since(self.req_cons);
        let room = self.pages.slots() - self.req_cons.since(self.rsp_prod_pvt);
        if pending > room {
            let (producer, consumer) = (producer.0, self.req_cons.0);
            return Err(RingError { producer, consumer, outstanding: room });
        }
        Ok(pending)
    }

    /// Copies the next request into `request`; false if there is none.
    ///
    /// # Errors
    /// As for [`Self::pending`].
    pub fn pop(&mut self, request: &mut [u8]) -> Result<bool, RingError> {
        if self.pending()? == 0 {
            return Ok(false);
        }
        self.pages.read_slot(self.req_cons, request);
        self.req_cons = self.req_cons.plus(1);
        Ok(true)
    }

    /// Writes a response; false if no popped request is unanswered. The frontend sees it after
    /// [`Self::publish`].
    pub fn push(&mut self, response: &[u8]) -> bool {
        debug_assert!(response.len() <= self.pages.slot_bytes());
        if self.req_cons == self.rsp_prod_pvt {
            return false;
        }
        self.pages.write_slot(self.rsp_prod_pvt, response);
        self.rsp_prod_pvt = self.rsp_prod_pvt.plus(1);
        true
    }

    /// Shows the frontend what was pushed; whether it wants an event for that.
    #[must_use = "the frontend sleeps until the event is sent"]
    pub fn publish(&mut self) -> bool {
        let old = self.rsp_prod;
        if old == self.rsp_prod_pvt {
            return false;
        }
        self.rsp_prod = self.rsp_prod_pvt;
        self.pages.store_and_see(RSP_PROD, self.rsp_prod);
        event_is_due(self.rsp_prod, old, self.pages.load(RSP_EVENT))
    }

    /// Asks for an event for the next request, then looks again whether one is there already.
    ///
    /// # Errors
    /// As for [`Self::pending`].
    #[must_use = "no event comes for what is there already"]
    pub fn arm(&mut self) -> Result<bool, RingError> {
        self.pages.store_and_see(REQ_EVENT, self.req_cons.plus(1));
        Ok(self.pending()? > 0)
    }
}
