//! The command line: verbs, options and their help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use qemu_xen_tests::{LabOptions, lab};

/// Build, run, test and measure Xen guests made with Xenios.
#[derive(Parser)]
#[command(name = "cargo xenios", bin_name = "cargo xenios", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand)]
pub enum Verb {
    /// Build an app into a bootable image and its configuration for xl
    #[command(after_help = "Examples:
  cargo xenios build hello             the image goes to target/xenios/hello/
  cargo xenios build hello --dev       quicker to build, slower to run")]
    Build(Build),
    /// A shell in dom0 of the Xen lab, or one command there
    #[command(after_help = LAB_HELP)]
    Lab(Lab),
}

const LAB_HELP: &str = "Examples:
  cargo xenios lab                     a shell; files go through /share
  cargo xenios lab -- xl list          one command, and its exit status
  cargo xenios lab --refresh -- true   fetch the current packages

The lab's pieces are Debian 12 packages, which apt-get and dpkg-deb fetch into the cache
($XENIOS_CACHE, else ~/.cache/xenios) without root. On a machine without these programs:
  XENIOS_QEMU      the path of a qemu-system-x86_64, version 7.2 or newer
  XENIOS_LAB_ROOT  a folder with these packages and what they depend on unpacked in it:
                   xen-hypervisor-4.17-amd64, linux-image-amd64, xen-utils-4.17, xen-utils-common,
                   xenstore-utils, busybox-static, bash, coreutils, util-linux, mount, grep, gawk,
                   sed, findutils, iproute2, socat";

/// The machine that the lab is.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// What executes the guests: tcg works everywhere, kvm needs nested virtualisation
    #[arg(long, value_enum, default_value = "tcg")]
    pub accel: Accel,
    /// Let every instruction take 2 ns of a virtual time, so that figures repeat (slower)
    #[arg(long)]
    pub counted_time: bool,
}

/// What executes the guests.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// QEMU's translator.
    Tcg,
    /// The host's CPU.
    Kvm,
}

impl Machine {
    /// The lab that these options describe.
    pub fn lab_options(&self) -> LabOptions {
        LabOptions {
            accel: match self.accel {
                Accel::Tcg => lab::Accel::Tcg,
                Accel::Kvm => lab::Accel::Kvm,
            },
            counted_time: self.counted_time,
            ..LabOptions::default()
        }
    }
}

/// `cargo xenios lab`.
#[derive(Args)]
pub struct Lab {
    /// The lab's machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Fetch the lab's pieces again, at their current versions
    #[arg(long)]
    pub refresh: bool,
    /// A command for dom0: one word is a shell script, several are a program and its arguments
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// How to build an image.
#[derive(Args, Clone, Debug)]
pub struct Profile {
    /// Build without optimisation
    #[arg(long, conflicts_with = "release")]
    pub dev: bool,
    /// Build with optimisation (this is the default)
    #[arg(long)]
    pub release: bool,
    /// Build the Rust library from source too, so that stack canaries cover all code
    #[arg(long)]
    pub hardened: bool,
}

/// `cargo xenios build`.
#[derive(Args)]
pub struct Build {
    /// The app: a package of this workspace, or the package of the current directory
    pub app: String,
    /// How to build it.
    #[command(flatten)]
    pub profile: Profile,
}
