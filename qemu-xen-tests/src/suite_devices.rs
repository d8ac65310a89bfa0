//! The suite's looks at what comes and goes beside a domain: devices and other domains.

use crate::Lab;
use crate::lab::Domain;
use crate::suite_life::{Result, XL_LIMIT, end, text, wait, xl};
use crate::xl::Config;

/// A network interface and a disk are plugged and unplugged, twice each.
pub fn hotplug(lab: &Lab, domain: &Domain) -> Result<()> {
    const DISK: &str = "phy:$(cat /run/NAME.loop),xvda,w";
    wait(lab, domain, "ready")?;
    xl(
        lab,
        domain,
        "truncate -s 1M /run/NAME.disk && losetup -f --show /run/NAME.disk > /run/NAME.loop",
    )?;
    let rounds: Result<()> = (1..=2).try_for_each(|round| {
        for (command, line) in [
            ("xl network-attach NAME bridge=xenbr0", "added vif 0"),
            ("xl network-detach NAME 0", "removed vif 0"),
            (&format!("xl block-attach NAME {DISK}"), "added vbd 51712"),
            ("xl block-detach NAME 51712", "removed vbd 51712"),
        ] {
            xl(lab, domain, command).map_err(|error| format!("{command}: {error}"))?;
            wait_for_count(lab, domain, line, round)?;
        }
        Ok(())
    });
    xl(lab, domain, "losetup -d $(cat /run/NAME.loop); rm -f /run/NAME.disk /run/NAME.loop")?;
    rounds?;
    end(lab, domain)
}

/// Waits until a line has come so often.
fn wait_for_count(lab: &Lab, domain: &Domain, wanted: &str, count: usize) -> Result<()> {
    let seen = std::cell::Cell::new(0);
    let found = lab.wait_for_line(domain, crate::suite_life::PATIENCE, |line| {
        seen.set(seen.get() + usize::from(line.contains(wanted)));
        seen.get() == count
    });
    found.map(|_| ()).map_err(|error| format!("{wanted}, time {count}: {error}"))
}

/// A second domain shares memory and an event channel with the first, and is destroyed.
pub fn destroyed_peer(lab: &Lab, domain: &Domain) -> Result<()> {
    wait(lab, domain, "ready")?;
    let id = xl(lab, domain, "xl domid NAME")?;
    let id = id.trim();
    let mut config = Config::new(&lab.fresh_name("victim"), "/share/peer.xen", 32);
    config.cmdline = format!("--peer {id}");
    let victim = lab.create(&config).map_err(text)?;
    let shared = share(lab, domain, &victim, id);
    lab.destroy(&victim).map_err(text)?;
    shared.map_err(|error| {
        let console = lab.console_text(&victim.name);
        format!("{error}; the peer says {:?}", console.lines().last())
    })?;
    wait(lab, domain, "woke ").map(|_| ())
}

/// Makes the two known to each other, and waits until they talk.
fn share(lab: &Lab, domain: &Domain, victim: &Domain, id: &str) -> Result<()> {
    let peer = xl(lab, victim, "xl domid NAME")?;
    let write = format!("xenstore-write /local/domain/{id}/data/peer {}", peer.trim());
    lab.sh_ok(&write, XL_LIMIT).map_err(text)?;
    wait(lab, domain, "the peer is alive").map(|_| ())
}
