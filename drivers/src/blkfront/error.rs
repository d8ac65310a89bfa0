//! What can go wrong with a disk, kept apart by what the app can do about it, and by who is to
//! blame.

use core::fmt;
use xen::ring::RingError;
use xen_abi::blkif::{Operation, RequestId};
use xen_abi::gnttab::GrantRef;

/// Why a request was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BlockError {
    /// Place or length are not multiples of the disk's sector size (for a secure discard: of its
    /// granularity). Nothing was sent.
    Misaligned,
    /// It would reach beyond the end of the disk, which may have shrunk meanwhile.
    OutOfRange,
    /// It writes, and the disk is read-only. Nothing was sent.
    ReadOnly,
    /// The backend does not do this operation.
    NotSupported,
    /// The backend has no way to bring data to stable storage: whether a write survives a power cut
    /// is not known.
    NoFlush,
    /// The disk reports an error. A write may have been done in part.
    Io,
    /// The backend died with writes that no flush had covered yet, or an earlier flush failed: some
    /// of what was written since the last good flush may be lost.
    WritesLost,
    /// No memory for the request. Nothing was sent, or it was to be sent again.
    OutOfMemory,
    /// The disk is gone.
    Gone(CloseReason),
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "not a whole number of sectors",
            Self::OutOfRange => "beyond the end of the disk",
            Self::ReadOnly => "the disk is read-only",
            Self::NotSupported => "the backend does not do this",
            Self::NoFlush => "the backend cannot flush",
            Self::Io => "input/output error",
            Self::WritesLost => "unflushed writes may be lost",
            Self::OutOfMemory => "no memory for the request",
            Self::Gone(reason) => return write!(f, "the disk is gone: {reason}"),
        })
    }
}

impl core::error::Error for BlockError {}

/// Why a disk is gone for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// It was unplugged (`xl block-detach`).
    Unplugged,
    /// Its driver was stopped.
    Stopped,
    /// The backend broke the protocol.
    Lie(Lie),
    /// The backend offers something that is no disk of ours.
    Refused(Refusal),
    /// The backend did not come up.
    NoBackend,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unplugged => f.write_str("unplugged"),
            Self::Stopped => f.write_str("its driver was stopped"),
            Self::Lie(lie) => write!(f, "the backend breaks the protocol: {lie}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NoBackend => f.write_str("its backend did not come up"),
        }
    }
}

/// What a backend said that cannot be true. The backend is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Lie {
    /// An index of the ring.
    Ring(RingError),
    /// It answers a request that it was not asked, or has answered before.
    Id(RequestId),
    /// It answers another operation than the one it was asked for.
    Operation {
        /// What was asked.
        asked: Operation,
        /// What it says it was.
        answered: Operation,
    },
    /// It said that it is done, and still uses the page.
    StillInUse(GrantRef),
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => error.fmt(f),
            Self::Id(id) => write!(f, "{id} is not open"),
            Self::Operation { asked, answered } => {
                write!(f, "asked for a {asked}, it answers a {answered}")
            }
            Self::StillInUse(grant) => {
                write!(f, "{grant} is in use after its request was answered")
            }
        }
    }
}

/// Why a backend's disk is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// It is a CD-ROM drive.
    CdRom,
    /// It does not say how many sectors it has, or says nonsense.
    Sectors,
    /// Its sectors have a size other than 512, 1024, 2048 or 4096 bytes.
    SectorSize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CdRom => "CD-ROM drives are not supported; attach the image as a read-only disk",
            Self::Sectors => "the backend does not say how large the disk is",
            Self::SectorSize => "the disk's sector size is none of 512, 1024, 2048, 4096",
        })
    }
}
