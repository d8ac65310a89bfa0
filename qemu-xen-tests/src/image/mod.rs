//! Makes dom0's first root from the unpacked packages.
//!
//! Everything that has to be there at boot is in the image; the rest of the packages (the big
//! libraries and load tools) stays on the host and is mounted as `/tools`, because unpacking it in
//! an emulated machine would cost seconds at every boot. Links lead there from the usual places, so
//! that nothing in dom0 has to know.

mod cpio;
mod libraries;
mod linux;
mod modules;
mod tree;

use crate::host::fingerprint;
use crate::{Cache, Context, Error, Progress, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What QEMU boots.
#[derive(Debug, Clone)]
pub struct Image {
    /// The hypervisor, as a plain ELF.
    pub xen: PathBuf,
    /// dom0's kernel.
    pub linux: PathBuf,
    /// dom0's first root.
    pub initramfs: PathBuf,
    /// The unpacked packages, for `/tools`.
    pub tools: PathBuf,
}

/// Our own files in dom0.
const SCRIPTS: [(&str, &str); 3] = [
    ("init", include_str!("../dom0/init.sh")),
    ("usr/lib/xenios/agent.sh", include_str!("../dom0/agent.sh")),
    ("usr/lib/xenios/shell.sh", include_str!("../dom0/shell.sh")),
];

/// The kernel modules in the image.
#[rustfmt::skip]
const MODULES: &[&str] = &[
    "virtio_pci", "virtio_console", "9pnet_virtio", "9p",
    "xenfs", "xen-privcmd", "xen-evtchn", "xen-gntdev", "xen-gntalloc",
    "xen-netback", "xen-blkback", "loop", "brd", "dm-mod", "dm-flakey", "dm-delay",
    "bridge", "br_netfilter", "tun", "veth", "dummy", "ifb", "8021q", "af_packet",
    "nf_tables", "nft_*", "nf_conntrack", "nf_nat", "sch_netem", "sch_tbf", "sch_htb",
    "tcp_diag", "udp_diag", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "ext4",
    "crc32c_generic", "crc32c-intel",
];

/// The programs in the image: what the boot, the agent and `xl create` run.
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "bash", "cat", "cut", "basename", "dirname", "expr", "flock", "gawk", "grep", "head", "id",
    "ip", "ln", "logger", "losetup", "ls", "mkdir", "mount", "readlink", "rm", "sed", "sleep",
    "socat",
    "sort", "stat", "timeout", "tr", "busybox", "xenstore-exists", "xenstore-ls", "xenstore-read",
    "xenstore-rm", "xenstore-write", "xenstore-list", "xenstore-watch", "libxl-save-helper", "xl",
    "xen-init-dom0", "xenconsoled", "xenstored", "xenconsole",
];

/// Folders that hold programs.
const PROGRAM_FOLDERS: [&str; 3] = ["usr/bin", "usr/sbin", "usr/lib/xen-4.17/bin"];

/// Folders that libraries are looked for in.
const LIBRARY_FOLDERS: [&str; 2] =
    ["usr/lib/x86_64-linux-gnu", "usr/lib/xen-4.17/lib/x86_64-linux-gnu"];

/// Folders that are links to `/tools` as a whole.
const FOLDERS_ELSEWHERE: &[&str] =
    &["usr/share", "usr/libexec", "usr/lib/xen-4.17/lib/python", "usr/lib/locale"];

/// Folders that dom0 does not have at all.
const LEFT_OUT: &[&str] = &[
    "boot",
    "etc/systemd",
    "etc/init.d",
    "usr/include",
    "usr/lib/debug",
    "usr/lib/modules",
    "usr/lib/systemd",
    "usr/lib/udev",
];

/// Empty folders, to mount on or write to.
const MOUNT_POINTS: &[&str] = &[
    "dev",
    "mnt",
    "proc",
    "root",
    "run",
    "share",
    "sys",
    "tmp",
    "tools",
    "var",
    "var/lib",
    "var/lib/xen",
    "var/log",
    "usr/lib/xenios",
    "usr/lib/modules",
];

/// Links of our own, with their targets.
const LINKS: [(&str, &str); 6] = [
    ("usr/bin/sh", "busybox"),
    ("usr/bin/awk", "gawk"),
    ("usr/sbin/modprobe", "../bin/busybox"),
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("var/log/xen", "/share/xl"),
];

impl Image {
    /// The image made from the unpacked packages at `root`: from the cache, or made now.
    ///
    /// # Errors
    /// When a piece is missing, or the cache cannot be written.
    pub fn of(root: &Path, cache: &Cache, progress: &Progress) -> Result<Self> {
        let images = cache.folder("images")?;
        let name = fingerprint(
            [root.to_string_lossy().as_ref(), env!("CARGO_PKG_VERSION"), RECIPE]
                .into_iter()
                .chain(SCRIPTS.iter().map(|(_, text)| *text)),
        );
        let image = Self {
            xen: images.join(format!("xen-{name}")),
            linux: images.join(format!("linux-{name}")),
            initramfs: images.join(format!("dom0-{name}.img")),
            tools: root.to_path_buf(),
        };
        let made =
            || [&image.xen, &image.linux, &image.initramfs].iter().all(|path| path.is_file());
        if made() {
            return Ok(image);
        }
        let _locked = cache.lock(progress)?;
        // Another tool may have done the work while this one waited.
        if made() {
            return Ok(image);
        }
        progress.step("making dom0's image");
        let vmlinuz = find(&root.join("boot"), "vmlinuz-")?;
        remove_files(&images);
        write_whole(&image.xen, |out| unpack_xen(root, out))?;
        write_whole(&image.linux, |out| linux::unpack(root, &vmlinuz, out))?;
        write_whole(&image.initramfs, |out| write_initramfs(root, &vmlinuz, out))?;
        progress.end();
        Ok(image)
    }
}

/// The text of this module: another recipe is another image.
const RECIPE: &str = include_str!("mod.rs");

/// Writes a file that is either whole or not there.
fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let unfinished = path.with_extension("unfinished");
    let mut out = BufWriter::new(File::create(&unfinished).doing(doing)?);
    write(&mut out)?;
    out.flush().doing(doing)?;
    std::fs::rename(&unfinished, path).doing(doing)
}

/// QEMU's loader wants the hypervisor as a plain ELF.
fn unpack_xen(root: &Path, out: &mut impl Write) -> Result<()> {
    let path = root.join("boot/xen-4.17-amd64.gz");
    let file = File::open(&path).doing(|| format!("read {}", path.display()))?;
    std::io::copy(&mut flate2::read::GzDecoder::new(file), out)
        .doing(|| format!("unpack {}", path.display()))?;
    Ok(())
}

fn write_initramfs(root: &Path, vmlinuz: &Path, out: &mut impl Write) -> Result<()> {
    let doing = || "write dom0's image".to_string();
    let mut tree = tree::Tree::default();
    tree.add_packages(root)?;
    for folder in MOUNT_POINTS {
        tree.folder(folder);
    }
    for (path, target) in LINKS {
        tree.link(path, target);
    }
    for (path, text) in SCRIPTS {
        tree.text(path, text);
    }
    let release = vmlinuz.file_name().unwrap_or_default().to_string_lossy().replace("vmlinuz-", "");
    tree.add_modules(&root.join("usr/lib/modules").join(&release), &release)?;
    // Not compressed: an emulated machine takes longer to unpack than QEMU to load.
    tree.write(cpio::Writer::new(out)).doing(doing)?;
    Ok(())
}

/// The file in `folder` whose name begins with `start`.
fn find(folder: &Path, start: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop().ok_or_else(|| {
        Error::new(format!("there is no {start}... in {}", folder.display()))
            .help("run `cargo xenios lab --refresh` to fetch the lab's pieces again")
    })
}

/// Older images are of no use any more.
fn remove_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        // A leftover costs nothing but space.
        let _ = std::fs::remove_file(entry.path());
    }
}
