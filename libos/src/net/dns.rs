//! Names.
/// Name servers that are remembered of each interface.
pub const MAX_SERVERS: usize = 8;
