//! What was asked on a ring, kept where the backend cannot write: an answer is believed only if it
//! fits.
//!
//! ```text
//!   id of a request:   63                      16 15          0
//!                      ├─ serial of its use ─────┼─ place ────┤
//! ```
//!
//! The place says where to look; the serial differs at each use of a place, so that an answer to an
//! earlier request is not taken for one to the present request.

use super::job::Piece;
use crate::blkfront::disk::SectorRange;
use crate::blkfront::error::Lie;
use alloc::vec::Vec;
use xen::gnttab::GrantedPage;
use xen_abi::blkif::{Operation, RequestId, Response};

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Read,
    Write,
    Flush,
    Barrier,
    Discard,
}

impl Asked {
    /// Whether it changes the disk's contents.
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Discard)
    }

    fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::READ,
            Self::Write => Operation::WRITE,
            Self::Flush => Operation::FLUSH_DISKCACHE,
            Self::Barrier => Operation::WRITE_BARRIER,
            Self::Discard => Operation::DISCARD,
        }
    }
}

/// A request without answer; or a place for one, its lists empty.
pub(super) struct Shadow {
    pub id: RequestId,
    pub asked: Option<Asked>,
    /// The sectors that it changes or reads.
    pub range: SectorRange,
    /// What of the jobs it does, in the order of the sectors.
    pub parts: Vec<Piece>,
    /// The pages that its segments lie in, if it is an indirect request.
    pub pages: Vec<GrantedPage>,
    /// Counts all requests of a connection in the order in which they were sent.
    pub sequence: u64,
}

impl Shadow {
    /// Whether the segments lie in pages of their own.
    pub fn is_indirect(&self) -> bool {
        !self.pages.is_empty()
    }
}

/// A place in [`Shadows`].
pub(super) type Place = u16;

/// The requests of one ring.
pub(super) struct Shadows {
    places: Vec<Shadow>,
    free: Vec<Place>,
}

impl Shadows {
    /// Room for as many requests as the ring has slots: at most 65536.
    pub fn new(slots: u32) -> Self {
        let shadow = |place| Shadow {
            id: RequestId(u64::from(place)),
            asked: None,
            range: SectorRange::default(),
            parts: Vec::new(),
            pages: Vec::new(),
            sequence: 0,
        };
        let places = (0..slots).map(shadow).collect();
        Self { places, free: (0..slots).rev().map(|place| place as Place).collect() }
    }

    /// Requests without answer.
    pub fn open(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is room for one more.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// A place for a request, with an id that was not used before.
    pub fn add(&mut self, asked: Asked) -> Option<(Place, &mut Shadow)> {
        let place = self.free.pop()?;
        let shadow = &mut self.places[usize::from(place)];
        shadow.id.0 = shadow.id.0.wrapping_add(1 << 16);
        shadow.asked = Some(asked);
        Some((place, shadow))
    }

    /// The request that `response` answers; its place is free after [`Self::remove`].
    ///
    /// # Errors
    /// When there is no such request, or it asked for something else.
    pub fn find(&mut self, response: &Response) -> Result<(Place, Asked), Lie> {
        let place = response.id.0 as Place;
        let shadow = self.places.get(usize::from(place)).filter(|shadow| shadow.id == response.id);
        let shadow = shadow.ok_or(Lie::Id(response.id))?;
        let asked = shadow.asked.ok_or(Lie::Id(response.id))?;
        // Backends answer an indirect request as what it is, or as what it does.
        let as_indirect = shadow.is_indirect() && response.operation == Operation::INDIRECT;
        if response.operation != asked.operation() && !as_indirect {
            let (asked, answered) = (asked.operation(), response.operation);
            return Err(Lie::Operation { asked, answered });
        }
        Ok((place, asked))
    }

    pub fn get_mut(&mut self, place: Place) -> &mut Shadow {
        &mut self.places[usize::from(place)]
    }

    /// Frees a place.
    pub fn remove(&mut self, place: Place) {
        let shadow = self.get_mut(place);
        debug_assert!(shadow.asked.is_some() && shadow.parts.is_empty() && shadow.pages.is_empty());
        shadow.asked = None;
        self.free.push(place);
    }

    /// All requests without answer, in no order.
    pub fn into_open(self) -> impl Iterator<Item = Shadow> {
        self.places.into_iter().filter(|shadow| shadow.asked.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xen_abi::blkif::Status;

    fn answer(id: RequestId, operation: Operation) -> Response {
        Response { id, operation, status: Status::OKAY }
    }

    #[test]
    fn an_answer_fits_once() {
        let mut shadows = Shadows::new(2);
        let (place, shadow) = shadows.add(Asked::Read).unwrap();
        let id = shadow.id;
        assert_eq!(shadows.find(&answer(id, Operation::READ)), Ok((place, Asked::Read)));
        shadows.remove(place);
        assert_eq!(shadows.find(&answer(id, Operation::READ)), Err(Lie::Id(id)));
        let (again, shadow) = shadows.add(Asked::Read).unwrap();
        assert!(again == place && shadow.id != id);
        assert_eq!(shadows.find(&answer(id, Operation::READ)), Err(Lie::Id(id)), "an old one");
    }

    #[test]
    fn no_more_requests_than_places() {
        let mut shadows = Shadows::new(2);
        assert!(shadows.add(Asked::Flush).is_some() && shadows.has_room());
        assert!(shadows.add(Asked::Discard).is_some() && !shadows.has_room());
        assert!(shadows.add(Asked::Read).is_none());
        assert_eq!((shadows.open(), shadows.into_open().count()), (2, 2));
    }

    #[test]
    fn another_operation_is_a_lie() {
        let mut shadows = Shadows::new(1);
        let (_, shadow) = shadows.add(Asked::Write).unwrap();
        let id = shadow.id;
        for operation in [Operation::READ, Operation::FLUSH_DISKCACHE, Operation::INDIRECT] {
            let lie = Lie::Operation { asked: Operation::WRITE, answered: operation };
            assert_eq!(shadows.find(&answer(id, operation)), Err(lie));
        }
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(asked: bool, id: u64, operation: u8) {
            let mut shadows = Shadows::new(32);
            for _ in 0..if asked { 32 } else { 0 } {
                shadows.add(Asked::Barrier).unwrap();
            }
            let fits = asked && id >> 16 == 1 && id & 0xffff < 32 && operation == 2;
            let found = shadows.find(&answer(RequestId(id), Operation(operation)));
            prop_assert_eq!(found.is_ok(), fits);
        }
    }
}
