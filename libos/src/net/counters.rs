//! What the operator can read: counters of interfaces, of the stack, of each connection.

/// What an interface has seen. All count up and wrap around.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct InterfaceCounters {
    /// Frames that came in.
    pub frames_in: u64,
    /// Their bytes, headers included.
    pub bytes_in: u64,
    /// Frames that went out; one that the device cuts into segments counts once.
    pub frames_out: u64,
    /// Their bytes, headers included.
    pub bytes_out: u64,
    /// Frames that went out for the device to cut into segments.
    pub large_out: u64,
    /// Frames and packets that came in and make no sense.
    pub malformed: u64,
    /// Packets that came in with a wrong checksum.
    pub bad_checksum: u64,
    /// Packets for other hosts, and for groups that we are not in.
    pub not_for_us: u64,
    /// Packets of protocols that we do not speak, and for ports that are not in use.
    pub no_port: u64,
    /// Pieces of packets that came in.
    pub fragments_in: u64,
    /// Packets whose pieces did not all come in time, or that made no sense together.
    pub fragments_lost: u64,
    /// Packets that could not go out: no room, no neighbour, no route.
    pub dropped_out: u64,
    /// Datagrams that found their socket's queue full.
    pub queue_full: u64,
    /// Errors and resets that were sent to who spoke to no one.
    pub errors_out: u64,
    /// Such answers that were not given, because there were too many.
    pub errors_withheld: u64,
}

/// What TCP has seen. All count up and wrap around.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpCounters {
    /// Connections that others opened.
    pub accepted: u64,
    /// Connections that we opened.
    pub connected: u64,
    /// Connections that were ended by the peer's reset.
    pub reset_by_peer: u64,
    /// Connections that were given up because the peer was silent.
    pub timed_out: u64,
    /// First segments that were not answered: the backlog, or all connections, are used up.
    pub refused: u64,
    /// First segments that were answered without keeping anything (SYN cookies).
    pub cookies_sent: u64,
    /// Connections that came of such answers.
    pub cookies_accepted: u64,
    /// Half-open connections that came to nothing.
    pub half_open_lost: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
    /// How often a connection was looked at: for a packet, to send, or for a deadline. The measure
    /// of what the stack does: it must not grow with the number of connections.
    pub polls: u64,
}

/// How many there are now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpCounts {
    /// Connections, waiting to be accepted or in use, and those that go on after the app dropped
    /// them.
    pub open: u32,
    /// Connections of which only the first segment has come.
    pub half_open: u32,
    /// Connections that are over but may still be spoken to.
    pub time_wait: u32,
    /// Bytes of all their buffers.
    pub buffer_bytes: usize,
}

/// What a connection has seen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConnectionCounters {
    /// Segments that came in; several that were joined on the way count once.
    pub segments_in: u64,
    /// Segments that went out; several that the device cuts apart count once.
    pub segments_out: u64,
    /// Bytes that the app has read.
    pub bytes_in: u64,
    /// Bytes that the app has written.
    pub bytes_out: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
}
