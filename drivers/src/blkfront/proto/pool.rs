//! Pages for requests whose data lies in slices of the app's, of which there is a bounded number.
//!
//! Who wants pages while there are none waits in line, and the first in line is served first, so
//! that a large request is not overtaken for ever by small ones.

use crate::blkfront::buffer::Page;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;
use xen::Hypervisor;
use xen::gnttab::{Access, GrantError, GrantedPage, Grants};
use xen::page::SharedPage;
use xen_abi::DomId;

/// A place in the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u64);

struct Waiter {
    place: Place,
    pages: usize,
    waker: Waker,
}

/// How many pages may be out, and who waits for them.
pub(super) struct Budget {
    limit: usize,
    out: usize,
    line: VecDeque<Waiter>,
    last: u64,
}

impl Budget {
    pub fn new(limit: usize) -> Self {
        Self { limit, out: 0, line: VecDeque::new(), last: 0 }
    }

    /// Pages that can be out.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Pages that are out.
    #[cfg(test)]
    pub fn out(&self) -> usize {
        self.out
    }

    /// Takes `pages` pages, at most the limit, out. If it is not the asker's turn, it gets a place
    /// in line (or keeps its own), and `waker` is woken when it is worth asking again.
    pub fn take(
        &mut self,
        pages: usize,
        place: &mut Option<Place>,
        waker: &Waker,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let first = self.line.front().is_none_or(|waiter| Some(waiter.place) == *place);
        if first && pages <= self.limit - self.out {
            self.leave(place, wakers);
            self.out += pages;
            return true;
        }
        match self.line.iter_mut().find(|waiter| Some(waiter.place) == *place) {
            Some(waiter) if waiter.waker.will_wake(waker) => {}
            // What is dropped under the lock must not run code of its owner's.
            Some(waiter) => wakers.push(core::mem::replace(&mut waiter.waker, waker.clone())),
            None => {
                self.last += 1;
                let (new, waker) = (Place(self.last), waker.clone());
                self.line.push_back(Waiter { place: new, pages, waker });
                *place = Some(new);
            }
        }
        false
    }

    /// Gives up a place in line.
    pub fn leave(&mut self, place: &mut Option<Place>, wakers: &mut Vec<Waker>) {
        let Some(place) = place.take() else { return };
        if let Some(at) = self.line.iter().position(|waiter| waiter.place == place) {
            wakers.extend(self.line.remove(at).map(|waiter| waiter.waker));
        }
        self.call_first(wakers);
    }

    /// Pages come back.
    pub fn put(&mut self, pages: usize, wakers: &mut Vec<Waker>) {
        self.out -= pages;
        self.call_first(wakers);
    }

    fn call_first(&mut self, wakers: &mut Vec<Waker>) {
        let free = self.limit - self.out;
        if let Some(waiter) = self.line.front().filter(|waiter| waiter.pages <= free) {
            wakers.push(waiter.waker.clone());
        }
    }

    /// Has everyone in line ask again: there is nothing to wait for any more.
    pub fn call_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.line.drain(..).map(|waiter| waiter.waker));
    }
}

/// Pages that are kept between requests.
pub(super) struct Pool {
    pub budget: Budget,
    idle: Vec<SharedPage>,
    idle_limit: usize,
}

impl Pool {
    pub fn new(limit: usize, idle_limit: usize) -> Self {
        Self { budget: Budget::new(limit), idle: Vec::new(), idle_limit }
    }

    /// A page; those that are kept hold what they held. Nothing if memory is out.
    pub fn page(&mut self) -> Option<Page> {
        self.idle.pop().or_else(SharedPage::allocate).map(Page::Plain)
    }

    /// Gives up the pages that are kept: the next backend is not to see what the last one gave.
    pub fn forget(&mut self) {
        self.idle.clear();
    }

    /// Takes a page that nobody else has access to.
    pub fn keep(&mut self, page: SharedPage) {
        if self.idle.len() < self.idle_limit {
            self.idle.push(page);
        }
    }
}

/// Pages that stay granted as long as a connection lasts. The one used last is used next: the
/// backend keeps few of them mapped.
pub(super) struct PersistentPool {
    free: Vec<GrantedPage>,
    made: usize,
    limit: usize,
    /// How many of the pages can be out for slices: the others are for requests with pages of the
    /// app's, which need them only while on a ring, so that they always get on.
    limit_for_slices: usize,
    out_for_slices: usize,
}

impl PersistentPool {
    pub fn new(limit_for_slices: usize, reserve: usize) -> Self {
        let limit = limit_for_slices + reserve;
        Self { free: Vec::new(), made: 0, limit, limit_for_slices, out_for_slices: 0 }
    }

    /// A page for a slice; nothing if all are out or none can be granted.
    pub fn take_for_slice<X: Hypervisor>(
        &mut self,
        grants: &Grants<X>,
        backend: DomId,
    ) -> Option<GrantedPage> {
        if self.out_for_slices == self.limit_for_slices {
            return None;
        }
        let page = self.take(grants, backend).ok()?;
        self.out_for_slices += 1;
        Some(page)
    }

    /// A page that takes the place of one of the app's.
    ///
    /// # Errors
    /// [`GrantError::Exhausted`] if all are out; else why no further one could be granted.
    pub fn take<X: Hypervisor>(
        &mut self,
        grants: &Grants<X>,
        backend: DomId,
    ) -> Result<GrantedPage, GrantError> {
        if let Some(page) = self.free.pop() {
            return Ok(page);
        }
        if self.made == self.limit {
            return Err(GrantError::Exhausted);
        }
        let page = SharedPage::allocate().ok_or(GrantError::OutOfMemory)?;
        let page = grants.grant(backend, page, Access::ReadWrite)?;
        self.made += 1;
        Ok(page)
    }

    pub fn put(&mut self, page: GrantedPage) {
        self.free.push(page);
    }

    pub fn put_from_slice(&mut self, page: GrantedPage) {
        self.out_for_slices -= 1;
        self.free.push(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(budget: &mut Budget, pages: usize, place: &mut Option<Place>) -> bool {
        budget.take(pages, place, Waker::noop(), &mut Vec::new())
    }

    #[test]
    fn the_first_in_line_is_served_first() {
        let (mut budget, mut wakers) = (Budget::new(10), Vec::new());
        let (mut small, mut large) = (None, None);
        assert!(take(&mut budget, 8, &mut None));
        assert!(!take(&mut budget, 9, &mut large));
        assert!(!take(&mut budget, 1, &mut small), "there is one, but someone waits longer");
        budget.put(4, &mut wakers);
        assert!(wakers.is_empty(), "not enough for the first");
        budget.put(4, &mut wakers);
        assert_eq!(wakers.len(), 1);
        assert!(!take(&mut budget, 1, &mut small));
        assert!(take(&mut budget, 9, &mut large));
        assert!(large.is_none() && budget.out() == 9);
        assert!(take(&mut budget, 1, &mut small));
    }

    #[test]
    fn who_leaves_the_line_lets_the_next_one_ask() {
        let (mut budget, mut wakers) = (Budget::new(2), Vec::new());
        let (mut first, mut second) = (None, None);
        assert!(take(&mut budget, 1, &mut None));
        assert!(!take(&mut budget, 2, &mut first) && !take(&mut budget, 1, &mut second));
        budget.leave(&mut first, &mut wakers);
        assert_eq!(wakers.len(), 2, "its own, and the next one's");
        wakers.clear();
        assert!(take(&mut budget, 1, &mut second));
        assert!(!take(&mut budget, 1, &mut first));
        budget.call_all(&mut wakers);
        assert_eq!(wakers.len(), 1);
    }

    #[test]
    fn few_pages_are_kept() {
        let mut pool = Pool::new(10, 1);
        let (a, b) = (SharedPage::allocate().unwrap(), SharedPage::allocate().unwrap());
        let gfn = a.gfn();
        pool.keep(a);
        pool.keep(b);
        assert_eq!(pool.page().unwrap().shared().unwrap().gfn(), gfn);
        assert!(pool.idle.is_empty());
    }
}
