//! The command line: verbs, options and their help.

use clap::{Args, Parser, Subcommand};

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
