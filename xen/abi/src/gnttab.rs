//! Grant tables: entries of both versions and the operations of `grant_table_op` (Xen:
//! grant_table.h).

use crate::DomId;
use core::fmt;

/// A grant reference: an index into the granting domain's table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct GrantRef(pub u32);

impl fmt::Display for GrantRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grant {}", self.0)
    }
}

/// Entries that the toolstack fills: 0 is the console's page, 1 xenstore's; none is ever ours.
pub const RESERVED_ENTRIES: u32 = 8;

/// Flags of an entry (Xen: grant_table.h, GTF_*).
pub mod flags {
    /// The grantee may map or copy the frame.
    pub const PERMIT_ACCESS: u16 = 1;
    /// But not write to it.
    pub const READONLY: u16 = 1 << 2;
    /// Set by Xen: the grantee has it mapped, or is copying from it.
    pub const READING: u16 = 1 << 3;
    /// Set by Xen: the grantee has it mapped for writing, or is copying to it.
    pub const WRITING: u16 = 1 << 4;
}

/// Version 1: 8 bytes an entry. Offsets of its fields.
pub mod v1 {
    /// Bytes of an entry.
    pub const ENTRY_BYTES: usize = 8;
    /// u16: flags.
    pub const FLAGS: usize = 0;
    /// u16: the grantee.
    pub const DOMID: usize = 2;
    /// u32: the guest frame.
    pub const FRAME: usize = 4;
    /// Entries in a frame of the table.
    pub const PER_FRAME: u32 = 512;
}

/// Version 2: 16 bytes an entry; Xen's own flags are in a status word of 2 bytes elsewhere.
pub mod v2 {
    /// Bytes of an entry.
    pub const ENTRY_BYTES: usize = 16;
    /// u16: flags.
    pub const FLAGS: usize = 0;
    /// u16: the grantee.
    pub const DOMID: usize = 2;
    /// u64: the guest frame.
    pub const FRAME: usize = 8;
    /// Entries in a frame of the table.
    pub const PER_FRAME: u32 = 256;
    /// Status words in a status frame.
    pub const STATUS_PER_FRAME: u32 = 2048;
    /// Added to the index of a status frame in `ADD_TO_PHYSMAP`.
    pub const STATUS_INDEX: u64 = 0x8000_0000;
}

/// `grant_table_op` commands.
pub mod op {
    /// Maps a peer's frames.
    pub const MAP_GRANT_REF: u64 = 0;
    /// Unmaps them.
    pub const UNMAP_GRANT_REF: u64 = 1;
    /// Copies between frames, granted or own.
    pub const COPY: u64 = 5;
    /// How many frames the table has and may have.
    pub const QUERY_SIZE: u64 = 6;
    /// Changes the table's version.
    pub const SET_VERSION: u64 = 8;
    /// Asks for it.
    pub const GET_VERSION: u64 = 10;
}

/// The outcome of one element of a batch (Xen: grant_table.h, GNTST_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct GrantStatus(pub i16);

impl GrantStatus {
    /// Done.
    pub const OKAY: Self = Self(0);
    /// Not looked at by Xen; what every element is set to before a batch.
    pub const UNTOUCHED: Self = Self(1);
    /// Refused for no reason that has a number of its own, such as an entry that is for someone
    /// else.
    pub const GENERAL_ERROR: Self = Self(-1);
    /// No such domain.
    pub const BAD_DOMAIN: Self = Self(-2);
    /// A reference beyond the end of the table.
    pub const BAD_GRANT: Self = Self(-3);
    /// Nothing is mapped under this handle.
    pub const BAD_HANDLE: Self = Self(-4);
    /// Not for this domain.
    pub const PERMISSION_DENIED: Self = Self(-8);
    /// There is no RAM at the frame, or (for one that a page is to be mapped at) there is.
    pub const BAD_PAGE: Self = Self(-9);
    /// A copy crosses the end of a page.
    pub const BAD_COPY: Self = Self(-10);
    /// The peer's frame is not there right now; to be tried again.
    pub const EAGAIN: Self = Self(-12);

    /// `Ok` for [`Self::OKAY`], the status itself for anything else.
    pub const fn result(self) -> Result<(), Self> {
        if self.0 == 0 { Ok(()) } else { Err(self) }
    }
}

/// Words for the statuses.
const STATUS_NAMES: [(i16, &str); 14] = [
    (0, "okay"),
    (1, "not attempted"),
    (-1, "general error"),
    (-2, "no such domain"),
    (-3, "no such grant"),
    (-4, "no such handle"),
    (-5, "bad address"),
    (-6, "bad device address"),
    (-7, "no room in the device's map"),
    (-8, "permission denied"),
    (-9, "bad page"),
    (-10, "a copy crosses a page boundary"),
    (-11, "address too big"),
    (-12, "try again"),
];

impl fmt::Display for GrantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match STATUS_NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "grant status {}", self.0),
        }
    }
}

/// Flag of a mapping: into our address space (the only kind a PVH domain can make).
pub const MAP_HOST: u32 = 1 << 1;
/// Flag of a mapping: for reading only.
pub const MAP_READONLY: u32 = 1 << 2;

/// Element of `MAP_GRANT_REF` (Xen: gnttab_map_grant_ref).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MapGrant {
    /// Guest-physical address of an empty frame of ours.
    pub host_addr: u64,
    /// [`MAP_HOST`], perhaps [`MAP_READONLY`].
    pub flags: u32,
    /// The peer's grant.
    pub grant: GrantRef,
    /// The peer.
    pub domid: u16,
    /// Out.
    pub status: GrantStatus,
    /// Out: needed to unmap.
    pub handle: u32,
    /// Out: no meaning here.
    pub dev_bus_addr: u64,
}

/// Element of `UNMAP_GRANT_REF` (Xen: gnttab_unmap_grant_ref).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnmapGrant {
    /// As it was mapped.
    pub host_addr: u64,
    /// 0.
    pub dev_bus_addr: u64,
    /// From the mapping.
    pub handle: u32,
    /// Out.
    pub status: GrantStatus,
    /// Padding.
    pub pad: u16,
}

impl MapGrant {
    /// To be filled in; not looked at by Xen yet.
    pub const UNUSED: Self = Self {
        host_addr: 0,
        flags: 0,
        grant: GrantRef(0),
        domid: 0,
        status: GrantStatus::UNTOUCHED,
        handle: 0,
        dev_bus_addr: 0,
    };
}

impl UnmapGrant {
    /// To be filled in; not looked at by Xen yet.
    pub const UNUSED: Self =
        Self { host_addr: 0, dev_bus_addr: 0, handle: 0, status: GrantStatus::UNTOUCHED, pad: 0 };
}

/// One side of a copy: a grant of a peer's, or a frame of ours.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CopySide {
    /// The grant reference, or our guest frame.
    pub frame: u64,
    /// The granting domain, or `DomId::SELF`.
    pub domid: u16,
    /// First byte in the page.
    pub offset: u16,
    /// Padding.
    pub pad: u32,
}

/// Flag of a copy: the source is a grant.
pub const COPY_SOURCE_GRANT: u16 = 1 << 0;
/// Flag of a copy: the destination is a grant.
pub const COPY_DEST_GRANT: u16 = 1 << 1;

/// Element of `COPY` (Xen: gnttab_copy).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GrantCopy {
    /// From.
    pub source: CopySide,
    /// To.
    pub dest: CopySide,
    /// Bytes; neither side may cross the end of its page.
    pub len_bytes: u16,
    /// [`COPY_SOURCE_GRANT`], [`COPY_DEST_GRANT`].
    pub flags: u16,
    /// Out.
    pub status: GrantStatus,
    /// Padding.
    pub pad: u16,
}

impl GrantCopy {
    /// To be filled in; not looked at by Xen yet.
    pub const UNUSED: Self = Self {
        source: CopySide::own(0, 0),
        dest: CopySide::own(0, 0),
        len_bytes: 0,
        flags: 0,
        status: GrantStatus::UNTOUCHED,
        pad: 0,
    };
}

impl CopySide {
    /// A granted page of `domid`'s.
    pub const fn grant(domid: DomId, grant: GrantRef, offset: u16) -> Self {
        Self { frame: grant.0 as u64, domid: domid.0, offset, pad: 0 }
    }

    /// A page of our own RAM.
    pub const fn own(gfn: u64, offset: u16) -> Self {
        Self { frame: gfn, domid: DomId::SELF.0, offset, pad: 0 }
    }
}

/// Argument of `QUERY_SIZE` (Xen: gnttab_query_size).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct QuerySize {
    /// `DomId::SELF`.
    pub domid: u16,
    /// Padding.
    pub pad: u16,
    /// Out: frames that the table has.
    pub frames: u32,
    /// Out: frames that it may have.
    pub frames_max: u32,
    /// Out.
    pub status: GrantStatus,
    /// Padding.
    pub pad2: u16,
}

/// Argument of `GET_VERSION` (Xen: gnttab_get_version).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GetVersion {
    /// `DomId::SELF`.
    pub domid: u16,
    /// Padding.
    pub pad: u16,
    /// Out: 1 or 2.
    pub version: u32,
}

const _: () = assert!(size_of::<MapGrant>() == 32 && size_of::<UnmapGrant>() == 24);
const _: () = assert!(size_of::<CopySide>() == 16 && size_of::<GrantCopy>() == 40);
const _: () = assert!(core::mem::offset_of!(GrantCopy, status) == 36);
const _: () = assert!(size_of::<QuerySize>() == 16 && size_of::<GetVersion>() == 8);
