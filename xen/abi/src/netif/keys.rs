//! Keys of a network device in xenstore (io/netif.h). A boolean is "0" or "1"; a key that is not
//! there counts as "0".

/// Both ends, by the toolstack: the frontend's address as text.
pub const MAC: &str = "mac";
/// Frontend, by the toolstack: bytes of the longest IP packet. Not there: 1500.
pub const MTU: &str = "mtu";
/// Frontend, by the toolstack: "0" if the backend is not trusted with what else its pages hold.
pub const TRUSTED: &str = "trusted";
/// Backend: "0" while it has no carrier. Few backends write it.
pub const CARRIER: &str = "carrier";

/// Backend: copies into pages of the frontend's. All that are alive do.
pub const FEATURE_RX_COPY: &str = "feature-rx-copy";
/// Frontend: asks for that; without it a backend refuses.
pub const REQUEST_RX_COPY: &str = "request-rx-copy";
/// Frontend: sends events for requests of the receive ring; without it a backend drops packets that
/// find no request.
pub const FEATURE_RX_NOTIFY: &str = "feature-rx-notify";
/// Either end: takes packets of several slots.
pub const FEATURE_SG: &str = "feature-sg";
/// Either end: takes large TCP packets over IPv4. Needs [`FEATURE_SG`].
pub const FEATURE_GSO_TCPV4: &str = "feature-gso-tcpv4";
/// Either end: takes large TCP packets over IPv6. Needs [`FEATURE_SG`].
pub const FEATURE_GSO_TCPV6: &str = "feature-gso-tcpv6";
/// Either end: does not take blank checksums over IPv4. Not there: it does.
pub const FEATURE_NO_CSUM_OFFLOAD: &str = "feature-no-csum-offload";
/// Either end: takes blank checksums over IPv6. Not there: it does not.
pub const FEATURE_IPV6_CSUM_OFFLOAD: &str = "feature-ipv6-csum-offload";

/// Backend: knows an event channel for each ring.
pub const FEATURE_SPLIT_EVENT_CHANNELS: &str = "feature-split-event-channels";
/// Backend: queues that it has; not there: 1.
pub const MULTI_QUEUE_MAX_QUEUES: &str = "multi-queue-max-queues";
/// Frontend: queues that are used. From 2 on, the keys of each are in a folder `queue-N`.
pub const MULTI_QUEUE_NUM_QUEUES: &str = "multi-queue-num-queues";
/// Backend: filters multicast by extra info slots.
pub const FEATURE_MULTICAST_CONTROL: &str = "feature-multicast-control";
/// Frontend: asks for that: no multicast packet comes but to addresses that were added.
pub const REQUEST_MULTICAST_CONTROL: &str = "request-multicast-control";

/// Frontend, for each queue: the grant of the transmit ring.
pub const TX_RING_REF: &str = "tx-ring-ref";
/// Frontend, for each queue: the grant of the receive ring.
pub const RX_RING_REF: &str = "rx-ring-ref";
/// Frontend, for each queue: the port for both rings.
pub const EVENT_CHANNEL: &str = "event-channel";
/// Frontend, for each queue: the port for the transmit ring.
pub const EVENT_CHANNEL_TX: &str = "event-channel-tx";
/// Frontend, for each queue: the port for the receive ring.
pub const EVENT_CHANNEL_RX: &str = "event-channel-rx";

/// Bytes of the longest IP packet where [`MTU`] does not say.
pub const MTU_DEFAULT_BYTES: u32 = 1500;
/// Least that [`MTU`] may say: what IPv4 asks of every link (RFC 791).
pub const MTU_MIN_BYTES: u32 = 68;
/// Most that it may say: with its Ethernet header a packet has to fit into 16 bits.
pub const MTU_MAX_BYTES: u32 = 65_521;
