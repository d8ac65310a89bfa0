//! What an interface is to be, as the boot line says.
//!
//! | option | meaning |
//! |---|---|
//! | `--ipv4 10.0.0.2/24` | an address; `dhcp`, the default, asks for one; `off` |
//! | `--ipv4-gateway 10.0.0.1` | where packets to other networks go |
//! | `--ipv6 2001:db8::2/64` | an address; `auto`, the default, takes what routers say; `off` |
//! | `--ipv6-gateway fe80::1` | where packets to other networks go, whatever routers say |
//! | `--dns 10.0.0.1,…` | who is to be asked for names, before those that are announced |
//!
//! Several addresses are separated by commas. These are for the first interface; those of others
//! begin with their names: `--net1-ipv4 …`.

use super::addresses::Cidr;
use super::limits::Limits;
use crate::boot_line::BootLine;
use crate::time::Duration;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an interface is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceConfig {
    /// Addresses that it has from the start.
    pub addresses: Vec<Cidr>,
    /// Whether a DHCP server is asked for an IPv4 address.
    pub ipv4_dhcp: bool,
    /// Where IPv4 packets to other networks go.
    pub ipv4_gateway: Option<Ipv4Addr>,
    /// Whether it speaks IPv6 at all.
    pub ipv6: bool,
    /// Whether routers may give it IPv6 addresses and say where packets go (RFC 4862).
    pub ipv6_routers: bool,
    /// Where IPv6 packets to other networks go.
    pub ipv6_gateway: Option<Ipv6Addr>,
    /// Who is to be asked for names.
    pub name_servers: Vec<IpAddr>,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            ipv4_dhcp: true,
            ipv4_gateway: None,
            ipv6: true,
            ipv6_routers: true,
            ipv6_gateway: None,
            name_servers: Vec::new(),
        }
    }
}

/// An option of the boot line whose value cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    option: String,
    value: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: '{}' is not understood", self.option, self.value)
    }
}

impl core::error::Error for ConfigError {}

/// Options of one interface.
struct Options<'a> {
    boot_line: &'a BootLine,
    prefix: String,
}

impl<'a> Options<'a> {
    /// Reads an option, if it is there.
    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let option = format!("{}{name}", self.prefix);
        let Some(value) = self.boot_line.option(&option) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError { option, value: value.to_string() }),
        }
    }
}

impl InterfaceConfig {
    /// An interface with these addresses alone, which asks nobody.
    pub fn fixed(addresses: &[Cidr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            ipv4_dhcp: false,
            ipv6_routers: false,
            ..Self::default()
        }
    }

    /// What the boot line says of interface `index`.
    ///
    /// # Errors
    /// The option that cannot be understood.
    pub fn from_boot_line(boot_line: &BootLine, index: u8) -> Result<Self, ConfigError> {
        let prefix = if index == 0 { String::new() } else { format!("net{index}-") };
        let options = Options { boot_line, prefix };
        let mut config = Self::default();
        let ipv4 = |text: &str| cidrs(text).filter(|list| list.iter().all(|c| c.address.is_ipv4()));
        let ipv6 = |text: &str| cidrs(text).filter(|list| list.iter().all(|c| c.address.is_ipv6()));
        let word = |words: &'static [&str], text: &str| words.contains(&text);
        if let Some(list) = options.read("ipv4", |text| {
            if word(&["dhcp", "off"], text) { Some(Vec::new()) } else { ipv4(text) }
        })? {
            let asked = options.read("ipv4", |text| Some(text == "dhcp"))?;
            config.ipv4_dhcp = asked == Some(true);
            config.addresses.extend(list);
        }
        if let Some(list) = options.read("ipv6", |text| {
            if word(&["auto", "off"], text) { Some(Vec::new()) } else { ipv6(text) }
        })? {
            config.ipv6 = options.read("ipv6", |text| Some(text != "off"))? == Some(true);
            config.ipv6_routers = options.read("ipv6", |text| Some(text == "auto"))? == Some(true);
            config.addresses.extend(list);
        }
        config.ipv4_gateway = options.read("ipv4-gateway", |text| text.parse().ok())?;
        config.ipv6_gateway = options.read("ipv6-gateway", |text| text.parse().ok())?;
        let servers = |text: &str| {
            text.split(',').map(|server| server.trim().parse().ok()).collect::<Option<Vec<_>>>()
        };
        config.name_servers = options.read("dns", servers)?.unwrap_or_default();
        Ok(config)
    }
}

fn cidrs(text: &str) -> Option<Vec<Cidr>> {
    text.split(',').map(|cidr| Cidr::parse(cidr.trim())).collect()
}

impl Limits {
    /// The bounds as the boot line has them: `--net-connections 1000` and so on, one option for
    /// each.
    ///
    /// # Errors
    /// The option that cannot be understood.
    pub fn from_boot_line(boot_line: &BootLine) -> Result<Self, ConfigError> {
        let options = Options { boot_line, prefix: String::from("net-") };
        let mut limits = Self::default();
        let count = |name: &str, value: &mut u32| {
            let read = options.read(name, |text| text.parse().ok())?;
            *value = read.unwrap_or(*value);
            Ok(())
        };
        count("connections", &mut limits.connections)?;
        count("half-open", &mut limits.half_open)?;
        count("time-wait", &mut limits.time_wait)?;
        count("errors-per-second", &mut limits.errors_per_s)?;
        let size = |name: &str, value: &mut usize| {
            let read = options.read(name, |text| text.parse().ok())?;
            *value = read.unwrap_or(*value);
            Ok(())
        };
        size("tcp-buffer-bytes", &mut limits.tcp_buffer_bytes)?;
        size("udp-queue-bytes", &mut limits.udp_queue_bytes)?;
        size("udp-queue-datagrams", &mut limits.udp_queue_datagrams)?;
        size("fragment-bytes", &mut limits.fragment_bytes)?;
        size("fragmented-packets", &mut limits.fragmented_packets)?;
        size("neighbors", &mut limits.neighbors)?;
        size("neighbor-queue", &mut limits.neighbor_queue)?;
        size("addresses", &mut limits.addresses)?;
        size("narrow-paths", &mut limits.narrow_paths)?;
        size("batch", &mut limits.batch)?;
        let seconds = |name: &str, value: &mut Duration| {
            let read = options.read(name, |text| text.parse().ok().map(Duration::from_secs))?;
            *value = read.unwrap_or(*value);
            Ok(())
        };
        seconds("orphan-seconds", &mut limits.orphan_time)?;
        seconds("time-wait-seconds", &mut limits.time_wait_time)?;
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(line: &str, index: u8) -> Result<InterfaceConfig, ConfigError> {
        InterfaceConfig::from_boot_line(&BootLine::parse(line.as_bytes()).unwrap(), index)
    }

    #[test]
    fn nothing_said_means_ask() {
        assert_eq!(config("root=/dev/x", 0), Ok(InterfaceConfig::default()));
    }

    #[test]
    fn each_interface_has_its_own_options() {
        let line = "--ipv4 10.0.0.2/24 --ipv4-gateway=10.0.0.1 --ipv6 off --dns 9.9.9.9,::1 \
                    --net1-ipv4 off \
                    --net1-ipv6 2001:db8::2/64,fd00::2/48 --net1-ipv6-gateway fe80::1";
        let first = config(line, 0).unwrap();
        assert_eq!(first.addresses, [Cidr::parse("10.0.0.2/24").unwrap()]);
        assert_eq!((first.ipv4_dhcp, first.ipv6), (false, false));
        assert_eq!(first.ipv4_gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(first.name_servers.len(), 2);
        let second = config(line, 1).unwrap();
        assert_eq!(second.addresses.len(), 2);
        assert_eq!((second.ipv4_dhcp, second.ipv6, second.ipv6_routers), (false, true, false));
        assert_eq!(second.ipv6_gateway, Some("fe80::1".parse().unwrap()));
        assert_eq!(config(line, 2), Ok(InterfaceConfig::default()));
        let asks = config("--ipv4 dhcp --ipv6 auto", 0).unwrap();
        assert_eq!(asks, InterfaceConfig::default());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, message) in [
            ("--ipv4 10.0.0.2", "--ipv4: '10.0.0.2' is not understood"),
            ("--ipv4 ::1/64", "--ipv4: '::1/64' is not understood"),
            ("--ipv6 10.0.0.2/24", "--ipv6: '10.0.0.2/24' is not understood"),
            ("--ipv4-gateway x", "--ipv4-gateway: 'x' is not understood"),
            ("--dns 1.2.3.4,", "--dns: '1.2.3.4,' is not understood"),
        ] {
            assert_eq!(config(line, 0).unwrap_err().to_string(), message);
        }
        let line = BootLine::parse(b"--net-connections many").unwrap();
        assert!(Limits::from_boot_line(&line).is_err());
        let line = BootLine::parse(b"--net-connections 7 --net-time-wait-seconds 9").unwrap();
        let limits = Limits::from_boot_line(&line).unwrap();
        assert_eq!((limits.connections, limits.time_wait_time), (7, Duration::from_secs(9)));
    }
}
