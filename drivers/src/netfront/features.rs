//! What the backend offers, what of it is used, and the keys that say so.

use super::config::Config;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use xen::xenbus::{DeviceError, KeyFault, Keys, Value};
use xen_abi::netif::{Mac, keys};

/// Most queues of a device.
const QUEUES_MAX: u32 = 16;
/// Bytes of an address as text.
const MAC_TEXT_BYTES: usize = 17;

/// What a backend offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// Copies into our pages.
    pub rx_copy: bool,
    /// Takes packets of several slots.
    pub scatter_gather: bool,
    /// Cuts TCP over IPv4 into segments.
    pub gso_v4: bool,
    /// Cuts TCP over IPv6 into segments.
    pub gso_v6: bool,
    /// Does not take blank checksums over IPv4.
    pub no_checksum_v4: bool,
    /// Takes blank checksums over IPv6.
    pub checksum_v6: bool,
    /// Knows an event channel for each ring.
    pub split_channels: bool,
    /// Filters multicast.
    pub multicast_filter: bool,
    /// Has so many queues; nothing if it does not say.
    pub queues: Option<u32>,
}

impl Offer {
    /// Reads what a backend offers.
    ///
    /// # Errors
    /// When a key makes no sense.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn read(backend: Keys<'_>) -> Result<Self, DeviceError> {
        Ok(Self {
            rx_copy: backend.flag(keys::FEATURE_RX_COPY).await?,
            scatter_gather: backend.flag(keys::FEATURE_SG).await?,
            gso_v4: backend.flag(keys::FEATURE_GSO_TCPV4).await?,
            gso_v6: backend.flag(keys::FEATURE_GSO_TCPV6).await?,
            no_checksum_v4: backend.flag(keys::FEATURE_NO_CSUM_OFFLOAD).await?,
            checksum_v6: backend.flag(keys::FEATURE_IPV6_CSUM_OFFLOAD).await?,
            split_channels: backend.flag(keys::FEATURE_SPLIT_EVENT_CHANNELS).await?,
            multicast_filter: backend.flag(keys::FEATURE_MULTICAST_CONTROL).await?,
            queues: backend.number(keys::MULTI_QUEUE_MAX_QUEUES).await?,
        })
    }

    /// What of it is used.
    pub fn agree(&self, config: &Config) -> Features {
        let scatter_gather = self.scatter_gather && config.scatter_gather;
        let checksum_v4 = !self.no_checksum_v4 && config.checksums;
        let checksum_v6 = self.checksum_v6 && config.checksums;
        let queues = self.queues.unwrap_or(1).min(u32::from(config.queues)).clamp(1, QUEUES_MAX);
        Features {
            scatter_gather,
            // A packet that is to be cut has a blank checksum, and several slots.
            gso_v4: self.gso_v4 && config.segments && scatter_gather && checksum_v4,
            gso_v6: self.gso_v6 && config.segments && scatter_gather && checksum_v6,
            checksum_v4,
            checksum_v6,
            split_channels: self.split_channels && config.split_channels,
            multicast_filter: self.multicast_filter && config.multicast_filter,
            queues: queues as usize,
        }
    }
}

/// What is used: of what is sent, and between the two ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Packets of several slots may be sent.
    pub scatter_gather: bool,
    /// TCP packets over IPv4 to be cut may be sent.
    pub gso_v4: bool,
    /// TCP packets over IPv6 to be cut may be sent.
    pub gso_v6: bool,
    /// Blank checksums over IPv4 may be sent.
    pub checksum_v4: bool,
    /// Blank checksums over IPv6 may be sent.
    pub checksum_v6: bool,
    /// Each ring has its event channel.
    pub split_channels: bool,
    /// The backend is told which multicast packets are wanted.
    pub multicast_filter: bool,
    /// Pairs of rings.
    pub queues: usize,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queues {}", self.queues)?;
        for (on, name) in [
            (self.scatter_gather, "sg"),
            (self.checksum_v4, "checksum"),
            (self.checksum_v6, "checksum6"),
            (self.gso_v4, "tso"),
            (self.gso_v6, "tso6"),
            (self.split_channels, "split"),
            (self.multicast_filter, "multicast-filter"),
        ] {
            if on {
                write!(f, " {name}")?;
            }
        }
        Ok(())
    }
}

/// References and ports of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct QueueKeys {
    pub tx_ring: u32,
    pub rx_ring: u32,
    /// Of the transmit ring; of both, if the receive ring has none of its own.
    pub channel: u32,
    pub rx_channel: Option<u32>,
}

/// A key and its value.
pub(super) type NumberKey = (String, u64);

impl Features {
    /// All keys that tell the backend of `queues`. None is left out for being 0: an earlier use of
    /// the device may have left another value.
    pub(super) fn keys(&self, config: &Config, queues: &[QueueKeys]) -> Vec<NumberKey> {
        let large = config.large_receive && config.scatter_gather;
        let flags = [
            (keys::REQUEST_RX_COPY, true),
            (keys::FEATURE_RX_NOTIFY, true),
            (keys::FEATURE_SG, config.scatter_gather),
            (keys::FEATURE_GSO_TCPV4, large),
            (keys::FEATURE_GSO_TCPV6, large),
            (keys::FEATURE_NO_CSUM_OFFLOAD, !config.checksums),
            (keys::FEATURE_IPV6_CSUM_OFFLOAD, config.checksums),
            (keys::REQUEST_MULTICAST_CONTROL, self.multicast_filter),
        ];
        let mut all: Vec<NumberKey> =
            flags.iter().map(|(key, on)| (String::from(*key), u64::from(*on))).collect();
        all.push((keys::MULTI_QUEUE_NUM_QUEUES.into(), queues.len() as u64));
        for (index, queue) in queues.iter().enumerate() {
            // Xen: io/netif.h, "Frontends requesting two or more queues must not write the
            // toplevel".
            let folder = if queues.len() > 1 { format!("queue-{index}/") } else { String::new() };
            let mut add = |key: &str, number: u32| {
                all.push((format!("{folder}{key}"), u64::from(number)));
            };
            add(keys::TX_RING_REF, queue.tx_ring);
            add(keys::RX_RING_REF, queue.rx_ring);
            match queue.rx_channel {
                None => add(keys::EVENT_CHANNEL, queue.channel),
                Some(rx_channel) => {
                    add(keys::EVENT_CHANNEL_TX, queue.channel);
                    add(keys::EVENT_CHANNEL_RX, rx_channel);
                }
            }
        }
        all
    }

    /// Keys that an earlier use may have left and that would mislead the backend now.
    pub(super) fn stale_keys(&self) -> &'static [&'static str] {
        match (self.queues > 1, self.split_channels) {
            (true, _) => &[
                keys::TX_RING_REF,
                keys::RX_RING_REF,
                keys::EVENT_CHANNEL,
                keys::EVENT_CHANNEL_TX,
                keys::EVENT_CHANNEL_RX,
            ],
            (false, true) => &[keys::EVENT_CHANNEL],
            (false, false) => &[keys::EVENT_CHANNEL_TX, keys::EVENT_CHANNEL_RX],
        }
    }
}

/// Keys as the store takes them.
pub(super) fn borrowed(all: &[NumberKey]) -> Vec<(&str, Value<'_>)> {
    all.iter().map(|(key, number)| (key.as_str(), Value::Number(*number))).collect()
}

/// What the toolstack has written for the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Settings {
    pub mac: Mac,
    /// Bytes of the longest IP packet.
    pub mtu_bytes: u16,
}

impl Settings {
    /// Reads our own end's keys.
    pub async fn read(own: Keys<'_>) -> Result<Self, DeviceError> {
        let text = own.text(keys::MAC, MAC_TEXT_BYTES).await?;
        let text = text.ok_or_else(|| own.fault(keys::MAC, KeyFault::Missing))?;
        let mac = Mac::parse(text.as_bytes()).filter(|mac| mac.is_station());
        let mac = mac.ok_or_else(|| own.fault(keys::MAC, KeyFault::Malformed))?;
        let mtu = own.number(keys::MTU).await?.unwrap_or(keys::MTU_DEFAULT_BYTES);
        if !(keys::MTU_MIN_BYTES..=keys::MTU_MAX_BYTES).contains(&mtu) {
            return Err(own.fault(keys::MTU, KeyFault::Malformed));
        }
        let mtu_bytes =
            u16::try_from(mtu).map_err(|_| own.fault(keys::MTU, KeyFault::Malformed))?;
        Ok(Self { mac, mtu_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer {
        rx_copy: true,
        scatter_gather: true,
        gso_v4: true,
        gso_v6: true,
        no_checksum_v4: false,
        checksum_v6: true,
        split_channels: true,
        multicast_filter: true,
        queues: Some(8),
    };

    #[test]
    fn segmentation_needs_scatter_gather_and_blank_checksums() {
        let config = Config::default();
        let features = ALL.agree(&config);
        assert!(features.gso_v4 && features.gso_v6);
        let features = Offer { scatter_gather: false, ..ALL }.agree(&config);
        assert!(!features.gso_v4 && !features.gso_v6 && features.checksum_v4);
        let features = Offer { no_checksum_v4: true, checksum_v6: false, ..ALL }.agree(&config);
        assert!(!features.gso_v4 && !features.gso_v6 && features.scatter_gather);
        let features = ALL.agree(&Config { checksums: false, ..config });
        assert!(!features.gso_v4 && !features.checksum_v4 && !features.checksum_v6);
        // What is not there: blank checksums over IPv4 are, all else is not.
        let features = Offer::default().agree(&config);
        let expected = Features { checksum_v4: true, queues: 1, ..Features::default() };
        assert_eq!(features, expected);
    }

    #[test]
    fn there_are_as_many_queues_as_both_want() {
        let agree = |queues, wanted| {
            Offer { queues, ..ALL }.agree(&Config { queues: wanted, ..Config::default() }).queues
        };
        assert_eq!(agree(Some(8), 4), 4);
        assert_eq!(agree(Some(2), 4), 2);
        assert_eq!(agree(None, 4), 1);
        assert_eq!(agree(Some(0), 0), 1);
        assert_eq!(agree(Some(u32::MAX), u16::MAX), 16);
    }

    #[test]
    fn the_keys_of_one_queue_are_at_the_top() {
        let config = Config::default();
        let queue = QueueKeys { tx_ring: 8, rx_ring: 9, channel: 3, rx_channel: Some(4) };
        let keys = ALL.agree(&config).keys(&config, &[queue]);
        let all: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = [
            "request-rx-copy=1",
            "feature-rx-notify=1",
            "feature-sg=1",
            "feature-gso-tcpv4=1",
            "feature-gso-tcpv6=1",
            "feature-no-csum-offload=0",
            "feature-ipv6-csum-offload=1",
            "request-multicast-control=0",
            "multi-queue-num-queues=1",
            "tx-ring-ref=8",
            "rx-ring-ref=9",
            "event-channel-tx=3",
            "event-channel-rx=4",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn the_keys_of_several_queues_are_in_folders() {
        let config = Config { queues: 2, ..Config::default() };
        let queue = QueueKeys { tx_ring: 8, rx_ring: 9, channel: 3, rx_channel: None };
        let keys = ALL.agree(&config).keys(&config, &[queue, queue]);
        let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
        let expected = [
            "multi-queue-num-queues",
            "queue-0/tx-ring-ref",
            "queue-0/rx-ring-ref",
            "queue-0/event-channel",
            "queue-1/tx-ring-ref",
            "queue-1/rx-ring-ref",
            "queue-1/event-channel",
        ];
        assert_eq!(names[8..], expected);
    }
}
