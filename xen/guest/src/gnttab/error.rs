//! What can go wrong with grants of ours, and whose fault it is.

use crate::page::PageError;
use core::fmt;
use xen_abi::Errno;
use xen_abi::gnttab::GrantRef;

/// The peer still uses the page of a grant that was to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StillInUse(pub GrantRef);

impl fmt::Display for StillInUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is still in use by its peer", self.0)
    }
}

impl core::error::Error for StillInUse {}

/// Why a page could not be granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GrantError {
    /// All references are taken, and the table is as large as the toolstack lets it be.
    Exhausted,
    /// The holder has as many references as it may have.
    OwnerLimit {
        /// The holder.
        name: &'static str,
        /// How many that is.
        limit: u32,
    },
    /// An entry of version 1 cannot name this guest frame.
    WideFrame(u64),
    /// Xen did not let the table grow.
    Xen(Errno),
    /// A new frame of the table could not be mapped.
    Page(PageError),
    /// The heap is out of memory.
    OutOfMemory,
}

impl GrantError {
    /// Whether it passes when a reference becomes free.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Exhausted | Self::OwnerLimit { .. })
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => f.write_str("all grant references are taken (max_grant_frames=)"),
            Self::OwnerLimit { name, limit } => write!(f, "{name} has all {limit} of its grants"),
            Self::WideFrame(gfn) => {
                write!(f, "guest frame {gfn:#x} needs a grant table of version 2")
            }
            Self::Xen(errno) => write!(f, "Xen refuses a frame of the grant table: {errno}"),
            Self::Page(error) => error.fmt(f),
            Self::OutOfMemory => f.write_str("no memory to keep account of a grant"),
        }
    }
}

impl core::error::Error for GrantError {}

/// Why there is no grant table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// Xen refused to tell about it.
    Xen(Errno),
    /// Xen has a version that is neither 1 nor 2.
    UnknownVersion(u32),
    /// Version 2 was asked for, and this host does not have it (`max_grant_version=`).
    NoVersion2(Errno),
    /// An earlier kernel has left more frames than the window has room for.
    WindowTooSmall {
        /// Frames that there are.
        frames: u32,
        /// Frames that there is room for.
        room: u32,
    },
    /// A frame that Xen has could not be had.
    Frame(GrantError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xen(errno) => write!(f, "Xen tells nothing of the grant table: {errno}"),
            Self::UnknownVersion(version) => write!(f, "the grant table is of version {version}"),
            Self::NoVersion2(errno) => write!(f, "no grant table of version 2 here: {errno}"),
            Self::WindowTooSmall { frames, room } => {
                write!(f, "the grant table has {frames} frames, and there is room for {room}")
            }
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SetupError {}
