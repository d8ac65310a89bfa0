//! Copies between pages, of which one or both are a peer's: Xen does them, nothing is mapped.
//!
//! What arrives is a private copy: it is checked after the copy, and stays as it was checked.

use crate::Hypervisor;
use crate::page::{PAGE_BYTES, SharedPage};
use core::fmt;
use xen_abi::gnttab::{
    COPY_DEST_GRANT, COPY_SOURCE_GRANT, CopySide, GrantCopy, GrantRef, GrantStatus,
};
use xen_abi::{DomId, Errno};

/// Copies in one hypercall.
const CHUNK: usize = 32;
/// How often a copy is tried at once while the peer's page is not there; then it is the caller's to
/// wait.
pub const EAGAIN_TRIES: u32 = 3;

/// One end of a copy.
#[derive(Clone, Copy)]
pub enum CopyEnd<'a> {
    /// A page that a peer has granted to us.
    Peer {
        /// The peer.
        domid: DomId,
        /// Its grant.
        grant: GrantRef,
        /// First byte.
        offset: usize,
    },
    /// A page of ours.
    Own {
        /// The page.
        page: &'a SharedPage,
        /// First byte.
        offset: usize,
    },
}

/// A copy that is to be done.
pub struct CopyOp<'a> {
    source: CopyEnd<'a>,
    dest: CopyEnd<'a>,
    len_bytes: usize,
    result: Result<(), CopyError>,
}

/// Why a copy was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CopyError {
    /// It would cross the end of a page.
    BeyondPage,
    /// Xen refused this copy. [`GrantStatus::UNTOUCHED`]: it was not tried;
    /// [`GrantStatus::EAGAIN`]: it was tried [`EAGAIN_TRIES`] times, and may succeed later. All
    /// else is the peer's fault.
    Status(GrantStatus),
    /// Xen refused the batch.
    Xen(Errno),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondPage => f.write_str("a copy crosses the end of a page"),
            Self::Status(status) => write!(f, "Xen refuses to copy: {status}"),
            Self::Xen(errno) => write!(f, "Xen refuses to copy: {errno}"),
        }
    }
}

impl core::error::Error for CopyError {}

impl<'a> CopyOp<'a> {
    /// A copy of `len_bytes` bytes. Neither end may cross the end of its page.
    pub fn new(source: CopyEnd<'a>, dest: CopyEnd<'a>, len_bytes: usize) -> Self {
        let result = Err(CopyError::Status(GrantStatus::UNTOUCHED));
        Self { source, dest, len_bytes, result }
    }

    /// Whether it was done.
    pub fn result(&self) -> Result<(), CopyError> {
        self.result
    }

    /// What Xen is told. Nothing if an end lies beyond its page.
    fn encode(&self) -> Option<GrantCopy> {
        let (source, source_flag) = self.source.encode(self.len_bytes, COPY_SOURCE_GRANT)?;
        let (dest, dest_flag) = self.dest.encode(self.len_bytes, COPY_DEST_GRANT)?;
        let (len_bytes, flags) = (self.len_bytes as u16, source_flag | dest_flag);
        Some(GrantCopy { source, dest, len_bytes, flags, ..GrantCopy::UNUSED })
    }
}

impl CopyEnd<'_> {
    /// What Xen is told of this end, and the flag that says that it is a grant.
    fn encode(&self, len_bytes: usize, grant_flag: u16) -> Option<(CopySide, u16)> {
        let (Self::Peer { offset, .. } | Self::Own { offset, .. }) = *self;
        if offset > PAGE_BYTES || len_bytes > PAGE_BYTES - offset {
            return None;
        }
        let offset = offset as u16;
        Some(match self {
            Self::Peer { domid, grant, .. } => {
                (CopySide::grant(*domid, *grant, offset), grant_flag)
            }
            Self::Own { page, .. } => (CopySide::own(page.gfn(), offset), 0),
        })
    }
}

/// Does all of `batch` that can be done.
pub(super) fn run(xen: &impl Hypervisor, batch: &mut [CopyOp<'_>]) {
    for chunk in batch.chunks_mut(CHUNK) {
        for op in chunk.iter_mut() {
            op.result = match op.encode() {
                None => Err(CopyError::BeyondPage),
                // Nothing to copy, and nothing that Xen need know.
                Some(_) if op.len_bytes == 0 => Ok(()),
                Some(_) => Err(CopyError::Status(GrantStatus::EAGAIN)),
            };
        }
        for _ in 0..EAGAIN_TRIES {
            if !round(xen, chunk) {
                break;
            }
        }
    }
}

/// Has Xen do those of `chunk` that are to be tried; whether any is to be tried again.
fn round(xen: &impl Hypervisor, chunk: &mut [CopyOp<'_>]) -> bool {
    let mut raw = [GrantCopy::UNUSED; CHUNK];
    let mut count = 0;
    for op in chunk.iter().filter(|op| op.is_waiting()) {
        if let Some(copy) = op.encode() {
            raw[count] = copy;
            count += 1;
        }
    }
    if count == 0 {
        return false;
    }
    let outcome = xen.grant_copy(&mut raw[..count]);
    let mut again = false;
    for (op, copy) in chunk.iter_mut().filter(|op| op.is_waiting()).zip(&raw[..count]) {
        op.result = match (copy.status, outcome) {
            (GrantStatus::UNTOUCHED, Err(errno)) => Err(CopyError::Xen(errno)),
            (status, _) => status.result().map_err(CopyError::Status),
        };
        again |= op.is_waiting();
    }
    again
}

impl CopyOp<'_> {
    /// Whether it is to be tried (again).
    fn is_waiting(&self) -> bool {
        self.result == Err(CopyError::Status(GrantStatus::EAGAIN))
    }
}
