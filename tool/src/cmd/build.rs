//! `cargo xenios build`: an app becomes an image, a configuration, and a file to debug with.

use crate::cli;
use crate::image;
use crate::kernel::{self, Options, Profile};
use crate::workspace::{App, find_app};
use qemu_xen_tests::xl::{Config, OnEnd};
use qemu_xen_tests::{Context, Result};
use std::path::PathBuf;

/// The memory that a generated configuration gives to an app.
pub const MEMORY_MIB: u32 = 32;

/// What `build` leaves behind.
#[derive(Debug, Clone)]
pub struct Built {
    /// The app.
    pub app: App,
    /// The bootable image.
    pub image: PathBuf,
    /// The configuration for `xl create`.
    pub config: PathBuf,
    /// The linked file with its symbols.
    pub debug: PathBuf,
    /// The image's size.
    pub image_bytes: u64,
}

/// The verb.
pub fn run(options: &cli::Build) -> Result<u8> {
    let built = build(&options.app, &options.profile)?;
    let here = std::env::current_dir().unwrap_or_default();
    let show = |path: &PathBuf| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    println!("{} ({} bytes)", show(&built.image), built.image_bytes);
    println!("{}", show(&built.config));
    println!("{}", show(&built.debug));
    Ok(0)
}

/// Builds one app.
pub fn build(name: &str, profile: &cli::Profile) -> Result<Built> {
    let app = find_app(name)?;
    let mut built = build_all(vec![app], profile)?;
    built.pop().ok_or_else(|| qemu_xen_tests::Error::new("nothing was built"))
}

/// Builds several apps of one workspace with one run of cargo.
pub fn build_all(apps: Vec<App>, profile: &cli::Profile) -> Result<Vec<Built>> {
    let options = Options {
        profile: if profile.dev { Profile::Dev } else { Profile::Release },
        hardened: profile.hardened,
    };
    let linked = kernel::build(&apps, options)?;
    apps.into_iter().zip(linked).map(|(app, linked)| finish(app, &linked)).collect()
}

/// Checks and strips a linked image, and writes its configuration beside it.
fn finish(app: App, linked: &std::path::Path) -> Result<Built> {
    let bytes = std::fs::read(linked).doing(|| format!("read {}", linked.display()))?;
    image::check(&bytes)?;
    let stripped = image::strip(&bytes)?;
    image::check(&stripped)?;
    let directory = app.output_directory();
    std::fs::create_dir_all(&directory).doing(|| format!("create {}", directory.display()))?;
    let built = Built {
        image: directory.join(format!("{}.xen", app.name)),
        config: directory.join(format!("{}.cfg", app.name)),
        debug: directory.join(format!("{}.debug", app.name)),
        image_bytes: stripped.len() as u64,
        app,
    };
    let write = |path: &PathBuf, bytes: &[u8]| {
        std::fs::write(path, bytes).doing(|| format!("write {}", path.display()))
    };
    write(&built.image, &stripped)?;
    write(&built.debug, &bytes)?;
    write(&built.config, config_text(&built.app.name).as_bytes())?;
    Ok(built)
}

/// The configuration for a real host.
fn config_text(name: &str) -> String {
    let mut config = Config::new(name, &format!("{name}.xen"), MEMORY_MIB);
    config.on_crash = OnEnd::Preserve;
    format!(
        "# {name}, a Xenios app. Start it with its console:  xl create -c {name}.cfg
#
# `xl` looks for the kernel in the directory it is started in: run it beside {name}.xen, or write
# the full path here. The words of the boot line go into `cmdline`. A crashed domain is kept, so
# that `xl console {name}` still shows its report; `xl destroy {name}` frees it.
{}
# A network interface and a disk, for apps that want them:
#vif        = [ \"bridge=xenbr0\" ]
#disk       = [ \"format=raw,vdev=xvda,access=rw,target=/path/to/disk.img\" ]
",
        config.text()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_ready_for_xl() {
        let text = config_text("hello");
        assert!(text.contains("\nkernel      = \"hello.xen\"\n"), "{text}");
        assert!(text.contains("\non_crash    = \"preserve\"\n"), "{text}");
        assert!(text.starts_with("# hello"), "{text}");
    }
}
