//! Starts QEMU with Xen and dom0, and makes sure that it never outlives the tool.
//!
//! QEMU runs under a small shell script that holds the reading end of a pipe. When the tool ends,
//! in whatever way, the kernel closes the writing end; the script then kills QEMU and removes the
//! lab's folder. So neither Ctrl-C nor a crash of the tool needs any care elsewhere.

use crate::image::Image;
use crate::{Cache, Context, Error, Progress, Result, pieces};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accel {
    /// QEMU itself; works everywhere.
    #[default]
    Tcg,
    /// The host's CPU; needs hardware with nested virtualisation.
    Kvm,
}

/// How to start QEMU.
#[derive(Debug)]
pub struct Start<'a> {
    /// The folder that QEMU runs in.
    pub folder: &'a Path,
    /// What to boot.
    pub image: &'a Image,
    /// What executes it.
    pub accel: Accel,
    /// One virtual time for all: each instruction takes 2 ns of it.
    pub counted_time: bool,
    /// The machine's memory.
    pub memory_mib: u32,
    /// dom0's share of it.
    pub dom0_memory_mib: u32,
    /// Where the machine's serial line goes.
    pub console_log: &'a Path,
}

/// The script around QEMU: `$1` is the lab's folder, the rest is the command.
const GUARD: &str = r#"
folder=$1; shift
exec 3<&0
"$@" < /dev/null 3<&- & qemu=$!
{ read -r _; kill -9 $qemu; } <&3 2> /dev/null & guard=$!
exec 3<&-
wait $qemu; status=$?
kill $guard 2> /dev/null
rm -rf "$folder"
exit $status
"#;

/// What QEMU says while it runs, in the lab's folder.
pub const MESSAGES: &str = "qemu.log";

impl Start<'_> {
    /// Starts QEMU. It lives until the child's standard input is closed.
    pub fn spawn(&self, cache: &Cache, progress: &Progress) -> Result<Child> {
        let link = |name: &str, target: &Path| {
            std::os::unix::fs::symlink(target, self.folder.join(name))
                .doing(|| format!("link {name} in {}", self.folder.display()))
        };
        // Short names without blanks or commas, whatever the paths behind them look like.
        link("xen", &self.image.xen)?;
        link("linux", &self.image.linux)?;
        link("dom0", &self.image.initramfs)?;
        link("tools", &self.image.tools)?;
        link("xen.log", self.console_log)?;
        let messages = self.folder.join(MESSAGES);
        let messages =
            std::fs::File::create(&messages).doing(|| format!("write {}", messages.display()))?;
        Command::new("/bin/sh")
            .args(["-c", GUARD, "lab"])
            .arg(self.folder)
            .args(emulator(cache, progress)?)
            .args(self.arguments())
            .current_dir(self.folder)
            // A group of its own: Ctrl-C on the terminal reaches the tool, and through it QEMU.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(messages)
            .spawn()
            .doing(|| "start QEMU".into())
    }

    fn arguments(&self) -> Vec<String> {
        let processor = match self.accel {
            // -smap, -smep: the PV dom0 dies with them in its first instructions.
            // -monitor: Xen panics in its idle loop. -rdtscp: a guest that uses it stops.
            Accel::Tcg => "EPYC,+svm,+npt,-smap,-smep,-monitor,-rdtscp",
            Accel::Kvm => "host",
        };
        let accel = match (self.accel, self.counted_time) {
            (Accel::Kvm, _) => "kvm",
            (Accel::Tcg, true) => "tcg,thread=single",
            (Accel::Tcg, false) => "tcg,thread=multi",
        };
        let processors = if self.counted_time { "1" } else { "2" };
        let memory = self.memory_mib.to_string();
        let xen = format!(
            "console=com1 com1=115200,8n1 dom0_mem={0}M,max:{0}M dom0_max_vcpus=1 loglvl=warning \
             guest_loglvl=all cpuidle=0 {XEN_SPEED}",
            self.dom0_memory_mib
        );
        let linux = format!("linux console=hvc0 quiet loglevel=3 {LINUX_SPEED},dom0");
        let mut arguments: Vec<String> = [
            ["-accel", accel],
            ["-cpu", processor],
            ["-M", "q35"],
            ["-m", &memory],
            ["-smp", processors],
            ["-display", "none"],
            ["-monitor", "none"],
            ["-serial", "file:xen.log"],
            ["-kernel", "xen"],
            ["-append", &xen],
            ["-initrd", &linux],
            ["-virtfs", "local,path=share,mount_tag=host,security_model=none,id=host"],
            [
                "-virtfs",
                "local,path=tools,mount_tag=tools,security_model=none,id=tools,readonly=on",
            ],
            ["-device", "virtio-serial-pci"],
            ["-chardev", "socket,id=agent,path=agent,server=on,wait=off"],
            ["-device", "virtserialport,chardev=agent,nr=1"],
            ["-chardev", "socket,id=shell,path=shell,server=on,wait=off"],
            ["-device", "virtserialport,chardev=shell,nr=2"],
            ["-chardev", "socket,id=keys,path=keys,server=on,wait=off"],
            ["-device", "virtserialport,chardev=keys,nr=3"],
        ]
        .concat()
        .into_iter()
        .map(String::from)
        .collect();
        // Without -no-reboot a crash hangs instead of ending QEMU.
        arguments.extend(["-nodefaults", "-no-reboot"].map(String::from));
        if self.counted_time {
            arguments.extend(["-icount", "shift=1,sleep=off"].map(String::from));
        }
        arguments
    }
}

/// What makes an emulated Xen quicker: no defence against attacks on real CPUs, and no scrubbing at
/// boot, which would make the host find real memory for all of the machine's.
const XEN_SPEED: &str = "spec-ctrl=no xpti=no bootscrub=no";

/// The same for dom0; `rodata=off` saves a walk over all page tables.
const LINUX_SPEED: &str = "mitigations=off rodata=off init_on_alloc=0 audit=0 apparmor=0 \
                           random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1";

/// The command that runs QEMU: the one that is named, or the one from the cache.
fn emulator(cache: &Cache, progress: &Progress) -> Result<Vec<PathBuf>> {
    if let Some(named) = std::env::var_os("XENIOS_QEMU").filter(|name| !name.is_empty()) {
        let path = PathBuf::from(&named);
        return match crate::host::find_program(path.to_string_lossy().as_ref()) {
            Some(found) => Ok(vec![found]),
            None => Err(Error::new(format!("XENIOS_QEMU names no program: {}", path.display()))
                .help("set it to the path of a qemu-system-x86_64, or unset it")),
        };
    }
    let root = pieces::QEMU.root(cache, progress)?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    // The modules' folder is found through the environment, as the program runs under its own
    // loader.
    let modules = PathBuf::from(format!("QEMU_MODULE_DIR={}", libraries.join("qemu").display()));
    Ok(vec![
        "env".into(),
        modules,
        root.join("lib64/ld-linux-x86-64.so.2"),
        "--library-path".into(),
        libraries,
        root.join("usr/bin/qemu-system-x86_64"),
        "-L".into(),
        root.join("usr/share/qemu"),
        "-L".into(),
        root.join("usr/share/seabios"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_ends_the_program_and_removes_the_folder() {
        let folder = std::env::temp_dir().join(format!("xenios-guard-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARD, "lab"])
            .arg(&folder)
            .args(["sleep", "60"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(child.stdin.take());
        assert!(!child.wait().unwrap().success());
        assert!(!folder.exists());
    }
}
