//! The build recipe of an image: which flags make a package into a kernel.
//!
//! Images are built for the host's own triple with the prebuilt library, in a target directory of
//! their own. The triple is named all the same: then the flags here do not reach build scripts and
//! procedural macros, which run on the host.

use crate::hardened;
use crate::workspace::{App, cargo, checkout};
use qemu_xen_tests::{Context, Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The triple that images are built for.
pub const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The target of hardened images; its description is a file of that name beside this package.
const HARDENED_TARGET: &str = "x86_64-xenios";

/// How to build images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// With or without optimisation.
    pub profile: Profile,
    /// With a library of our own making.
    pub hardened: bool,
}

/// With or without optimisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As it is shipped.
    Release,
    /// Quick to build.
    Dev,
}

impl Profile {
    /// The folder cargo puts the results into.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// Builds programs, all of one workspace, in one go; gives the linked files, in order.
pub fn build(apps: &[App], options: Options) -> Result<Vec<PathBuf>> {
    let Some(first) = apps.first() else { return Ok(Vec::new()) };
    let root = checkout()?;
    let mut target = PathBuf::from(TRIPLE);
    let mut folder = "build";
    let mut more_flags: &[&str] = &[];
    let mut rustc = None;
    if options.hardened {
        target = root.join("tool").join(format!("{HARDENED_TARGET}.json"));
        folder = "build-hardened";
        more_flags = &["--cfg=xenios_hardened"];
        rustc = hardened::toolchain()?.rustc;
    }
    let folder = first.target_directory.join("xenios").join(folder);
    let mut command = cargo_command("build", apps, options.profile, &target, more_flags)?;
    command.arg("--target-dir").arg(&folder);
    if options.hardened {
        command.args(["-Zjson-target-spec", "-Zbuild-std=core,alloc"]);
    }
    if let Some(rustc) = rustc {
        command.env("RUSTC", rustc);
    }
    run(command, apps)?;
    let triple = target.file_stem().unwrap_or_default();
    let folder = folder.join(triple).join(options.profile.folder());
    Ok(apps.iter().map(|app| folder.join(&app.name)).collect())
}

/// Runs clippy over programs, with the flags of an image; a warning is an error.
pub fn lint(apps: &[App]) -> Result<()> {
    let Some(first) = apps.first() else { return Ok(()) };
    let mut command = cargo_command("clippy", apps, Profile::Dev, Path::new(TRIPLE), &[])?;
    let folder = first.target_directory.join("xenios").join("build");
    command.arg("--target-dir").arg(folder).args(["--quiet", "--", "-Dwarnings"]);
    run(command, apps)
}

fn run(mut command: Command, apps: &[App]) -> Result<()> {
    let status = command.status().doing(|| "run cargo".into())?;
    if status.success() {
        return Ok(());
    }
    let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
    Err(Error::new(format!("{} did not build", names.join(", ")))
        .help("the compiler's messages above say why"))
}

fn cargo_command(
    verb: &str,
    apps: &[App],
    profile: Profile,
    target: &Path,
    more_flags: &[&str],
) -> Result<Command> {
    let mut command = Command::new(cargo());
    command.arg(verb);
    if let Some(first) = apps.first() {
        command.arg("--manifest-path").arg(&first.manifest);
    }
    command.arg("--target").arg(target);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let packages: BTreeSet<&str> = apps.iter().map(|app| app.package.as_str()).collect();
    for package in packages {
        command.args(["--package", package]);
    }
    for app in apps {
        command.args(["--bin", &app.name]);
    }
    let mut flags = flags(&checkout()?)?;
    flags.extend(more_flags.iter().map(ToString::to_string));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // The stack protector is not stable yet; nothing else here needs this.
    command.env("RUSTC_BOOTSTRAP", "1");
    for name in ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// The compiler's flags for everything that goes into an image.
pub fn flags(root: &Path) -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        "-Crelocation-model=static",
        "-Crelro-level=off",
        "-Cforce-frame-pointers=yes",
        "-Cno-redzone=yes",
        "-Zstack-protector=strong",
        "--cfg=xenios_kernel",
        "--check-cfg=cfg(xenios_kernel, xenios_hardened)",
        "--cfg=getrandom_backend=\"custom\"",
        "-Clinker-flavor=ld.lld",
    ]
    .map(String::from)
    .into();
    flags.push(format!("-Clinker={}", linker()?.display()));
    flags.extend(path_remaps(root));
    let script = root.join("link.ld");
    let script = script.to_str().ok_or_else(|| {
        Error::new(format!("the path {} is not valid UTF-8", script.display()))
            .help("move the checkout to a path of plain characters")
    })?;
    let link = [
        "-nostdlib",
        "-static",
        "--no-pie",
        "--build-id=none",
        "--no-eh-frame-hdr",
        "-zmax-page-size=4096",
        "-znorelro",
    ];
    flags.extend(link.iter().map(|argument| format!("-Clink-arg={argument}")));
    flags.push(format!("-Clink-arg=-T{script}"));
    Ok(flags)
}

/// Cuts this machine's folders out of the paths in panic messages: shorter, and the same
/// everywhere.
fn path_remaps(root: &Path) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let registries = home.map(|home| home.join("registry/src"));
    let sources = registries.and_then(|registries| std::fs::read_dir(registries).ok());
    let folders = sources.into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = folders.chain([root.to_path_buf()]);
    folders.map(|folder| format!("--remap-path-prefix={}/=", folder.display())).collect()
}

/// The linker that comes with the toolchain.
fn linker() -> Result<PathBuf> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output =
        Command::new(rustc).args(["--print", "sysroot"]).output().doing(|| "run rustc".into())?;
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let linker =
        Path::new(sysroot.trim()).join("lib/rustlib").join(TRIPLE).join("bin").join("rust-lld");
    if linker.is_file() {
        return Ok(linker);
    }
    Err(Error::new(format!("the toolchain has no linker at {}", linker.display()))
        .help("install the toolchain that rust-toolchain.toml names with rustup"))
}
