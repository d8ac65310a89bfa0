//! What comes back: responses are checked, and end requests.

use super::job::{Action, Piece};
use super::link::Link;
use super::shadow::Asked;
use super::work::Work;
use crate::blkfront::error::{BlockError, Lie};
use xen::Hypervisor;
use xen_abi::blkif::{Response, Status};

impl<X: Hypervisor> Link<X> {
    /// Takes all responses that are there.
    ///
    /// # Errors
    /// When the backend lies. Nothing it says is believed from then on.
    pub(super) fn collect(&mut self, work: &mut Work) -> Result<(), Lie> {
        for queue in 0..self.queues.len() {
            while let Some(response) = self.queues[queue].pop()? {
                self.answered(queue, work, &response)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, index: usize, work: &mut Work, response: &Response) -> Result<(), Lie> {
        let queue = &mut self.queues[index];
        let (place, asked) = queue.shadows.find(response)?;
        let shadow = queue.shadows.get_mut(place);
        let was_indirect = shadow.is_indirect();
        let mut parts = core::mem::take(&mut shadow.parts);
        let mut pages = core::mem::take(&mut shadow.pages);
        queue.release_segment_pages(&mut pages);
        queue.shadows.remove(place);
        self.order.remove(index, place);
        self.segments_limit = usize::MAX;
        work.counters.answered += 1;
        match asked {
            Asked::Read | Asked::Write => {
                let copy_back = asked == Asked::Read && response.status == Status::OKAY;
                self.take_back(&mut work.jobs, &parts, copy_back)?;
                self.data_answered(work, &parts, was_indirect, response.status);
            }
            Asked::Flush | Asked::Barrier => self.flush_answered(work, asked, response.status),
            Asked::Discard => self.discard_answered(work, &parts, response.status),
        }
        // The list keeps its memory for the next request in this place.
        parts.clear();
        self.queues[index].shadows.get_mut(place).parts = parts;
        Ok(())
    }

    fn data_answered(
        &mut self,
        work: &mut Work,
        parts: &[Piece],
        was_indirect: bool,
        status: Status,
    ) {
        if status == Status::OKAY {
            parts.iter().for_each(|part| work.piece_done(part, Ok(())));
            return;
        }
        let unsupported = status == Status::EOPNOTSUPP;
        if unsupported && was_indirect {
            self.features.indirect_segments = 0;
            work.counters.again += 1;
            work.send_again(parts.iter().copied());
            return;
        }
        if let [part] = parts {
            let error = if unsupported { BlockError::NotSupported } else { BlockError::Io };
            work.piece_done(part, Err(error));
        } else {
            // Each on its own, so that the error is told to whom it belongs.
            work.counters.again += parts.len() as u64;
            work.send_again(parts.iter().map(|part| Piece { alone: true, ..*part }));
        }
    }

    fn flush_answered(&mut self, work: &mut Work, asked: Asked, status: Status) {
        match status {
            Status::OKAY => work.flush_answered(Ok(())),
            Status::EOPNOTSUPP => {
                // If there is another way it is tried next; if not, that is told there.
                match asked {
                    Asked::Flush => self.features.flush = false,
                    _ => self.features.barrier = false,
                }
                work.counters.again += 1;
                work.stable.again();
            }
            _ => work.flush_answered(Err(BlockError::Io)),
        }
    }

    fn discard_answered(&mut self, work: &mut Work, parts: &[Piece], status: Status) {
        let result = match status {
            Status::OKAY => Ok(()),
            Status::EOPNOTSUPP => Err(BlockError::NotSupported),
            _ => Err(BlockError::Io),
        };
        for part in parts {
            if result == Err(BlockError::NotSupported) {
                self.discard_unsupported(part);
            }
            work.piece_done(part, result);
        }
    }

    /// The backend does not do what it said it does: it is not asked again.
    fn discard_unsupported(&mut self, part: &Piece) {
        match &mut self.features.discard {
            Some(limits) if part.action == (Action::Discard { secure: true }) => {
                limits.secure = false;
            }
            discard => *discard = None,
        }
    }
}
