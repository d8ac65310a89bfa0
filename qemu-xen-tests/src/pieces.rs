//! The pieces of the lab: which Debian packages make up QEMU and dom0, and where they are unpacked.
//!
//! A [`Set`] is a list of packages that becomes one unpacked tree in the cache. A tree is named
//! after the packages and versions in it, and a record beside it says which list it came from:
//! while that record fits, nothing is asked of the network.

use crate::apt::{self, Apt, Package};
use crate::host::fingerprint;
use crate::{Cache, Context, Progress, Result};
use std::path::{Path, PathBuf};

/// Packages that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// Its name in the cache.
    pub name: &'static str,
    /// What it is, to show to the user.
    pub title: &'static str,
    /// The packages asked for.
    pub wanted: &'static [&'static str],
    /// Packages that these depend on and that are of no use here; a `*` at the end stands for any
    /// rest.
    pub dropped: &'static [&'static str],
    /// Paths that are not unpacked, as patterns of tar.
    pub without: &'static [&'static str],
}

/// The emulator.
pub const QEMU: Set = Set {
    name: "qemu",
    title: "QEMU",
    wanted: &["qemu-system-x86", "seabios"],
    dropped: &["adduser", "debconf", "iso-codes", "ipxe-qemu", "passwd", "libpam*"],
    without: &["./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./etc", "./var"],
};

/// The hypervisor, dom0's kernel, and dom0's programs.
pub const DOM0: Set = Set {
    name: "dom0",
    title: "Xen and dom0",
    wanted: &[
        "xen-hypervisor-4.17-amd64",
        "linux-image-amd64",
        "xen-utils-4.17",
        "xen-utils-common",
        "xenstore-utils",
        "libxenmisc4.17",
        "busybox-static",
        "bash",
        "coreutils",
        "util-linux",
        "mount",
        "grep",
        "gawk",
        "sed",
        "procps",
        "findutils",
        "kmod",
        "iproute2",
        "libgcc-s1",
        "e2fsprogs",
        "xz-utils",
        "dosfstools",
        "iputils-ping",
        "socat",
        "netcat-openbsd",
        "ethtool",
        "nftables",
        "tcpdump",
        "curl",
        "iperf3",
        "wrk",
        "dnsperf",
        "redis-tools",
    ],
    dropped: &[
        "adduser",
        "base-files",
        "cpio",
        "debconf",
        "debianutils",
        "dpkg",
        "init-system-helpers",
        "initramfs-tools*",
        "klibc-utils",
        "libfile-find-rule-perl",
        "libgdbm*",
        "libklibc",
        "libnumber-compare-perl",
        "libpam*",
        "libperl*",
        "libpython3*",
        "libsemanage*",
        "libtext-glob-perl",
        "linux-base",
        "logsave",
        "media-types",
        "passwd",
        "perl*",
        "python3*",
        "readline-common",
        "sensible-utils",
        "systemd*",
        "sysvinit-utils",
        "tar",
        "ucf",
        "udev",
        "usrmerge",
        "util-linux-extra",
    ],
    without: &[
        "./usr/share/doc",
        "./usr/share/man",
        "./usr/share/locale",
        "./usr/share/info",
        "./usr/share/bash-completion",
        "./usr/share/lintian",
        "./usr/share/bug",
        "./usr/share/i18n",
        "./usr/share/zoneinfo",
        "./usr/lib/xen-4.17/boot",
        "./usr/lib/x86_64-linux-gnu/gconv",
        "./usr/lib/x86_64-linux-gnu/perl*",
        "./lib/x86_64-linux-gnu/gconv",
        "./boot/System.map*",
        "./var",
        "./lib/modules/*/kernel/sound",
        "./lib/modules/*/kernel/drivers/gpu",
        "./lib/modules/*/kernel/drivers/media",
        "./lib/modules/*/kernel/drivers/net/wireless",
        "./lib/modules/*/kernel/drivers/net/ethernet",
        "./lib/modules/*/kernel/drivers/net/phy",
        "./lib/modules/*/kernel/drivers/net/usb",
        "./lib/modules/*/kernel/drivers/net/can",
        "./lib/modules/*/kernel/drivers/infiniband",
        "./lib/modules/*/kernel/drivers/staging",
        "./lib/modules/*/kernel/drivers/iio",
        "./lib/modules/*/kernel/drivers/hwmon",
        "./lib/modules/*/kernel/drivers/usb",
        "./lib/modules/*/kernel/drivers/scsi",
        "./lib/modules/*/kernel/drivers/sound",
        "./lib/modules/*/kernel/drivers/input",
        "./lib/modules/*/kernel/drivers/mfd",
        "./lib/modules/*/kernel/drivers/bluetooth",
        "./lib/modules/*/kernel/drivers/isdn",
        "./lib/modules/*/kernel/drivers/video",
        "./lib/modules/*/kernel/drivers/ata",
        "./lib/modules/*/kernel/drivers/mtd",
        "./lib/modules/*/kernel/drivers/hid",
        "./lib/modules/*/kernel/drivers/platform",
        "./lib/modules/*/kernel/drivers/thunderbolt",
        "./lib/modules/*/kernel/drivers/accessibility",
        "./lib/modules/*/kernel/drivers/nvme",
        "./lib/modules/*/kernel/drivers/target",
        "./lib/modules/*/kernel/drivers/message",
        "./lib/modules/*/kernel/drivers/comedi",
        "./lib/modules/*/kernel/drivers/edac",
        "./lib/modules/*/kernel/drivers/rtc",
        "./lib/modules/*/kernel/drivers/leds",
        "./lib/modules/*/kernel/drivers/power",
        "./lib/modules/*/kernel/drivers/regulator",
        "./lib/modules/*/kernel/drivers/clk",
        "./lib/modules/*/kernel/drivers/w1",
        "./lib/modules/*/kernel/drivers/i2c",
        "./lib/modules/*/kernel/drivers/spi",
        "./lib/modules/*/kernel/drivers/gpio",
        "./lib/modules/*/kernel/drivers/pinctrl",
        "./lib/modules/*/kernel/drivers/firmware",
        "./lib/modules/*/kernel/drivers/mmc",
        "./lib/modules/*/kernel/drivers/memstick",
        "./lib/modules/*/kernel/drivers/misc",
        "./lib/modules/*/kernel/drivers/parport",
        "./lib/modules/*/kernel/drivers/pcmcia",
    ],
};

/// The compiler for `build --hardened`, with the source of the Rust library.
pub const RUSTC: Set = Set {
    name: "rustc",
    title: "Debian's rustc with the library's source",
    wanted: &["rustc-web", "rust-web-src"],
    dropped: &[
        "binutils*",
        "cpp*",
        "gcc*",
        "libasan*",
        "libatomic1",
        "libbinutils",
        "libc-dev-bin",
        "libc6-dev",
        "libcc1-0",
        "libcrypt-dev",
        "libctf*",
        "libgcc-12-dev",
        "libgomp1",
        "libgprofng0",
        "libisl23",
        "libitm1",
        "liblsan0",
        "libmpc3",
        "libnsl-dev",
        "libquadmath0",
        "libtirpc-dev",
        "libtsan*",
        "libubsan*",
        "linux-libc-dev",
        "rpcsvc-proto",
    ],
    without: &[
        "./usr/share/doc",
        "./usr/share/man",
        "./usr/share/locale",
        "./usr/src/rustc-*/compiler",
        "./usr/src/rustc-*/src",
        "./usr/lib/x86_64-linux-gnu/gconv",
        "./etc",
        "./var",
    ],
};

impl Set {
    /// The unpacked tree: from the cache, or fetched now.
    ///
    /// # Errors
    /// When the tree is not there and cannot be fetched.
    pub fn root(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
        if let Some(root) = self.recorded(cache) {
            return Ok(root);
        }
        let _locked = cache.lock(progress)?;
        // Another tool may have done the work while this one waited.
        if let Some(root) = self.recorded(cache) {
            return Ok(root);
        }
        let result = self.fetch(cache, progress);
        progress.end();
        result
    }

    /// Forgets the tree, so that the next [`Set::root`] asks the archive for what is current.
    pub fn forget(&self, cache: &Cache) {
        // If there is no record, there is nothing to forget.
        let _ = std::fs::remove_file(self.record(cache));
    }

    fn record(&self, cache: &Cache) -> PathBuf {
        cache.path(format!("{}.record", self.name))
    }

    /// What decides the contents of a tree, apart from the archive.
    fn recipe(&self) -> String {
        let parts = [self.wanted, self.dropped, self.without];
        fingerprint(parts.into_iter().flatten().copied())
    }

    fn recorded(&self, cache: &Cache) -> Option<PathBuf> {
        let text = std::fs::read_to_string(self.record(cache)).ok()?;
        let (recipe, name) = text.trim_end().split_once(' ')?;
        let root = cache.path("roots").join(name);
        (recipe == self.recipe() && root.is_dir()).then_some(root)
    }

    fn fetch(&self, cache: &Cache, progress: &Progress) -> Result<PathBuf> {
        let apt = Apt::open(cache)?;
        apt.update(progress)?;
        let mut packages = apt.resolve(self.wanted)?;
        packages.retain(|package| !self.drops(&package.name));
        let name = format!("{}-{}", self.name, self.version(&packages));
        let roots = cache.folder("roots")?;
        let root = roots.join(&name);
        if !root.is_dir() {
            let files = apt.download(self.title, &packages, progress)?;
            progress.step(format!("unpacking {}", self.title));
            let unfinished = roots.join(format!("{name}.unfinished"));
            remove_tree(&unfinished)?;
            std::fs::create_dir(&unfinished)
                .doing(|| format!("create {}", unfinished.display()))?;
            apt::unpack(&files, &unfinished, self.without, progress)?;
            std::fs::rename(&unfinished, &root).doing(|| format!("create {}", root.display()))?;
            apt.clean();
        }
        let record = self.record(cache);
        std::fs::write(&record, format!("{} {name}\n", self.recipe()))
            .doing(|| format!("write {}", record.display()))?;
        self.remove_others(&roots, &name);
        Ok(root)
    }

    fn drops(&self, name: &str) -> bool {
        self.dropped.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern,
        })
    }

    fn version(&self, packages: &[Package]) -> String {
        let recipe = self.recipe();
        let names = packages.iter().flat_map(|p| [p.name.as_str(), p.version.as_str()]);
        fingerprint(names.chain([recipe.as_str()]))
    }

    /// Older trees of the same set are of no use any more.
    fn remove_others(&self, roots: &Path, keep: &str) {
        let ours = format!("{}-", self.name);
        for entry in std::fs::read_dir(roots).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&ours) && name != keep {
                // A lab that is running may still use it; leftovers cost nothing but space.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_by_name_and_by_start() {
        assert!(DOM0.drops("python3.11-minimal"));
        assert!(DOM0.drops("tar"));
        assert!(!DOM0.drops("tarantool"));
        assert!(!DOM0.drops("bash"));
    }

    #[test]
    fn another_list_is_another_recipe() {
        let other = Set { wanted: &["bash"], ..DOM0 };
        assert_ne!(DOM0.recipe(), other.recipe());
    }
}
