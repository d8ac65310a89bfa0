//! The command line: verbs, options and their help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use qemu_xen_tests::{LabOptions, lab};
use std::path::PathBuf;

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
    /// Build an app and run it as a Xen guest, with its console here
    #[command(after_help = "Examples:
  cargo xenios run hello                        the status is the app's
  cargo xenios run hello -- --name='two words'  words of the boot line
  cargo xenios run hello --memory 16 --time-limit 30

The tool exits with the app's status, or with 101 if the guest crashed, 124 if the time limit ended
it, and 130 after Ctrl-C. Addresses in a crash report are shown with the function and the line.")]
    Run(Run),
    /// Run all tests: formatting, lints, style, host tests, and the test kernels on Xen
    #[command(after_help = "Examples:
  cargo xenios test                    everything
  cargo xenios test --host-only        what needs no Xen
  cargo xenios test --xen-only --filter console")]
    Test(Test),
    /// Make a fresh app that builds and runs as it is
    #[command(after_help = "Examples:
  cargo xenios new web                 in the checkout: apps/web
  cargo xenios new web --path ~/web    on its own, with this checkout as dependency")]
    New(New),
    /// Show what takes the bytes of an image
    #[command(after_help = "Examples:
  cargo xenios size hello")]
    Size(Size),
    /// Measure in counted time, where figures repeat on any machine
    #[command(after_help = "Examples:
  cargo xenios bench boot              size, least memory, and times of a start
  cargo xenios bench boot --app dns --repeat 20
  cargo xenios bench executor          tasks and timers, on the host and in a guest
  cargo xenios bench heap              the heap with its checks, and the bare allocator below it")]
    Bench(Bench),
    /// Build the documentation
    #[command(after_help = "Examples:
  cargo xenios doc --open")]
    Doc(Doc),
    /// Check the style rules that no compiler knows
    #[command(after_help = "Examples:
  cargo xenios tidy                    prints FILE:LINE: what is wrong; silent if all is well")]
    Tidy,
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

/// `cargo xenios run`.
#[derive(Args)]
pub struct Run {
    /// The app: a package of this workspace, or the package of the current directory
    pub app: String,
    /// How to build it.
    #[command(flatten)]
    pub profile: Profile,
    /// The lab's machine.
    #[command(flatten)]
    pub machine: Machine,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = crate::cmd::build::MEMORY_MIB)]
    pub memory: u32,
    /// The guest's virtual CPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub vcpus: u32,
    /// A file to hand to the guest as its first module
    #[arg(long, value_name = "FILE")]
    pub ramdisk: Option<PathBuf>,
    /// A line for the guest's configuration, as in --config 'vif=["bridge=xenbr0"]'
    #[arg(long, value_name = "LINE")]
    pub config: Vec<String>,
    /// Give up after this many seconds of the guest's life
    #[arg(long, value_name = "SECONDS")]
    pub time_limit: Option<u64>,
    /// Words of the guest's boot line
    #[arg(last = true, value_name = "WORDS")]
    pub words: Vec<String>,
}

/// `cargo xenios test`.
#[derive(Args)]
pub struct Test {
    /// Only tests whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Leave out the test kernels
    #[arg(long, conflicts_with = "xen_only")]
    pub host_only: bool,
    /// Run the test kernels alone
    #[arg(long)]
    pub xen_only: bool,
    /// How to build the test kernels.
    #[command(flatten)]
    pub profile: Profile,
    /// The lab's machine.
    #[command(flatten)]
    pub machine: Machine,
}

/// `cargo xenios new`.
#[derive(Args)]
pub struct New {
    /// The app's name
    pub name: String,
    /// The folder for it
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

/// `cargo xenios size`.
#[derive(Args)]
pub struct Size {
    /// The app
    pub app: String,
    /// How to build it.
    #[command(flatten)]
    pub profile: Profile,
}

/// `cargo xenios bench`.
#[derive(Args)]
pub struct Bench {
    /// What to measure
    #[arg(value_enum)]
    pub what: BenchWhat,
    /// The app whose start is measured
    #[arg(long, default_value = "hello")]
    pub app: String,
    /// How often it is started
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub repeat: u32,
    /// The guest's memory in MiB, for the times
    #[arg(long, value_name = "MIB", default_value_t = crate::cmd::build::MEMORY_MIB)]
    pub memory: u32,
    /// How to build it.
    #[command(flatten)]
    pub profile: Profile,
}

/// What can be measured.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BenchWhat {
    /// A guest's start
    Boot,
    /// Tasks and timers.
    Executor,
    /// Allocating and freeing
    Heap,
}

/// `cargo xenios doc`.
#[derive(Args)]
pub struct Doc {
    /// Show it in the browser
    #[arg(long)]
    pub open: bool,
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
