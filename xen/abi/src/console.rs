//! Layout of the console ring page (Xen: io/console.h).

/// Bytes of the ring from the backend to us.
pub const IN_BYTES: usize = 1024;
/// Bytes of the ring from us to the backend.
pub const OUT_BYTES: usize = 2048;
/// Offset of the ring to us.
pub const IN: usize = 0;
/// Offset of the ring from us.
pub const OUT: usize = 1024;
/// Index up to which we have read.
pub const IN_CONS: usize = 3072;
/// Index up to which the backend has written.
pub const IN_PROD: usize = 3076;
/// Index up to which the backend has read.
pub const OUT_CONS: usize = 3080;
/// Index up to which we have written.
pub const OUT_PROD: usize = 3084;
