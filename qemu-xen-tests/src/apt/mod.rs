//! Debian packages without root: apt with a state of our own, and nothing ever installed.
//!
//! apt is told (in a configuration file of ours) to keep its lists, its downloads and its idea of
//! what is installed inside our cache. Nothing is installed there, so the closure of a list of
//! packages is complete: it does not lean on what the host happens to have. The host's own settings
//! that matter for reaching the archive (sources, keys, proxies) stay in force.

mod status;

use crate::{Cache, Context, Error, Progress, Result};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// One package at one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its full version.
    pub version: String,
}

/// apt, with its state in the cache.
#[derive(Debug)]
pub struct Apt {
    configuration: PathBuf,
    archives: PathBuf,
}

/// How long the lists of packages are taken for current.
const FRESH: Duration = Duration::from_secs(120);
/// How often a download is tried.
const ATTEMPTS: u32 = 3;

impl Apt {
    /// Sets apt up in the cache.
    ///
    /// # Errors
    /// When the host has no apt, or the cache cannot be written.
    pub fn open(cache: &Cache) -> Result<Self> {
        for program in ["apt-get", "apt-config", "dpkg-deb", "tar"] {
            if !crate::host::has_program(program) {
                return Err(no_apt(program));
            }
        }
        let state = cache.folder("apt/state")?;
        cache.folder("apt/state/lists/partial")?;
        let store = cache.folder("apt/cache")?;
        let archives = cache.folder("apt/cache/archives")?;
        cache.folder("apt/cache/archives/partial")?;
        let nothing = cache.path("apt/nothing-installed");
        std::fs::write(&nothing, "").doing(|| format!("write {}", nothing.display()))?;
        let configuration = cache.path("apt/apt.conf");
        let host =
            Command::new("apt-config").arg("dump").output().doing(|| "run apt-config".into())?;
        let text = configuration_text(
            &String::from_utf8_lossy(&host.stdout),
            [("Dir::State", &state), ("Dir::Cache", &store), ("Dir::State::status", &nothing)],
        );
        std::fs::write(&configuration, text)
            .doing(|| format!("write {}", configuration.display()))?;
        Ok(Self { configuration, archives })
    }

    /// Fetches the archive's current lists of packages, unless that was done a moment ago.
    ///
    /// # Errors
    /// When the archive cannot be reached.
    pub fn update(&self, progress: &Progress) -> Result<()> {
        let mark = self.configuration.with_file_name("updated");
        let age = std::fs::metadata(&mark).and_then(|mark| mark.modified()).ok();
        if age.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        progress.step("fetching the list of Debian packages");
        self.fetch(&["update"], progress).map_err(|error| error.help(NETWORK_HELP))?;
        std::fs::write(&mark, "").doing(|| format!("write {}", mark.display()))
    }

    /// The packages that `wanted` needs, itself included, each at the version the archive has now.
    ///
    /// # Errors
    /// When a package is not in the archive.
    pub fn resolve(&self, wanted: &[&str]) -> Result<Vec<Package>> {
        let output = self
            .command("apt-get")
            .args(["install", "--simulate", "--no-install-recommends"])
            .args(wanted)
            .output()
            .doing(|| "run apt-get".into())?;
        if !output.status.success() {
            let text = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            return Err(Error::new(format!("apt cannot resolve the packages:\n{}", text.trim()))
                .help(
                    "the lab is made from the packages of Debian 12 (bookworm). On another system, \
                     give its pieces by hand: see `cargo xenios lab --help`",
                ));
        }
        let mut packages = status::installs(&String::from_utf8_lossy(&output.stdout));
        packages.sort();
        Ok(packages)
    }

    /// Downloads packages; gives the files.
    ///
    /// # Errors
    /// When the archive cannot be reached, or has moved on since the lists were fetched.
    pub fn download(
        &self,
        what: &str,
        packages: &[Package],
        progress: &Progress,
    ) -> Result<Vec<PathBuf>> {
        let names: Vec<String> = packages
            .iter()
            .map(|package| format!("{}={}", package.name, package.version))
            .collect();
        let mut arguments = vec!["download"];
        arguments.extend(names.iter().map(String::as_str));
        progress.step(format!("downloading {what} ({} packages)", packages.len()));
        let mut attempt = 1;
        loop {
            match self.fetch(&arguments, progress) {
                Ok(()) => break,
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.help(NETWORK_HELP)),
            }
        }
        packages.iter().map(|package| self.archive_of(package)).collect()
    }

    /// Removes what was downloaded: unpacked, it is not needed any more.
    pub fn clean(&self) {
        for entry in std::fs::read_dir(&self.archives).into_iter().flatten().flatten() {
            // Leftovers cost space and nothing else.
            let _ = std::fs::remove_file(entry.path());
        }
    }

    fn archive_of(&self, package: &Package) -> Result<PathBuf> {
        let version = package.version.replace(':', "%3a");
        let candidates = ["amd64", "all"]
            .map(|kind| self.archives.join(format!("{}_{version}_{kind}.deb", package.name)));
        candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            Error::new(format!("the package {} {} did not arrive", package.name, package.version))
                .help(NETWORK_HELP)
        })
    }

    /// Runs apt-get, with its progress shown.
    fn fetch(&self, arguments: &[&str], progress: &Progress) -> Result<()> {
        let mut child = self
            .command("apt-get")
            .args(["-o", "APT::Status-Fd=1", "-o", "Acquire::Retries=3"])
            .args(arguments)
            .current_dir(&self.archives)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| "run apt-get".into())?;
        let messages = crate::host::collect(child.stderr.take());
        let mut said = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            for line in std::io::BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                match status::percent(&line) {
                    Some(percent) => progress.percent(percent),
                    None => said.push(line),
                }
            }
        }
        let status = child.wait().doing(|| "wait for apt-get".into())?;
        let messages = messages.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        progress.abandon();
        let why = if messages.trim().is_empty() { said.join("\n") } else { messages };
        Err(Error::new(format!("apt-get {} failed:\n{}", arguments[0], why.trim())))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

const NETWORK_HELP: &str = "check the network and the apt sources of this machine, then run the \
                            same command again: what has arrived is kept";

fn no_apt(program: &str) -> Error {
    Error::new(format!("this machine has no `{program}`, which the lab's pieces are fetched with"))
        .help(
            "run this on Debian 12 (bookworm), or give the pieces by hand: XENIOS_QEMU names a \
         qemu-system-x86_64 (7.2 or newer), and XENIOS_LAB_ROOT names a folder with the unpacked \
         Debian 12 packages that `cargo xenios lab --help` lists",
        )
}

/// The text of our configuration file: the host's settings for reaching the archive, and our
/// folders.
fn configuration_text(host: &str, folders: [(&str, &PathBuf); 3]) -> String {
    let keep = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        name.starts_with("Acquire::")
            && !name.starts_with("Acquire::IndexTargets")
            && !name.starts_with("Acquire::Languages")
    };
    let mut text: Vec<String> = host.lines().filter(keep).map(String::from).collect();
    text.extend(folders.map(|(name, path)| format!("{name} \"{}\";", path.display())));
    // No hooks of the host, no lists in other languages, no change of user, one architecture.
    text.extend(
        [
            "Dir::Etc::Main \"/dev/null\";",
            "Dir::Etc::Parts \"/dev/null/\";",
            "Acquire::Languages \"none\";",
            "Dir::Cache::pkgcache \"\";",
            "Dir::Cache::srcpkgcache \"\";",
            "APT::Sandbox::User \"root\";",
            "APT::Architecture \"amd64\";",
            "APT::Architectures { \"amd64\"; };",
        ]
        .map(String::from),
    );
    text.push(String::new());
    text.join("\n")
}

/// Unpacks packages into `root`, leaving out the paths that match a pattern of `without`.
///
/// # Errors
/// When a package is damaged, or the disk is full.
pub fn unpack(files: &[PathBuf], root: &Path, without: &[&str], progress: &Progress) -> Result<()> {
    // Debian's tree is merged: /bin is a link to /usr/bin, and so on.
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = root.join("usr").join(name);
        std::fs::create_dir_all(&target).doing(|| format!("create {}", target.display()))?;
        std::os::unix::fs::symlink(Path::new("usr").join(name), root.join(name))
            .doing(|| format!("link {name} in {}", root.display()))?;
    }
    for (index, file) in files.iter().enumerate() {
        progress.percent(index as f64 * 100.0 / files.len() as f64);
        unpack_one(file, root, without)?;
    }
    Ok(())
}

fn unpack_one(file: &Path, root: &Path, without: &[&str]) -> Result<()> {
    let mut contents = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .doing(|| "run dpkg-deb".into())?;
    let mut tar = tar_into(root, without);
    if let Some(stdout) = contents.stdout.take() {
        tar.stdin(stdout);
    }
    let unpacked = tar.status().doing(|| "run tar".into())?;
    let read = contents.wait().doing(|| "wait for dpkg-deb".into())?;
    if unpacked.success() && read.success() {
        return Ok(());
    }
    Err(Error::new(format!("the package {} cannot be unpacked", file.display()))
        .help("see whether the disk is full; else remove that file and run the command again"))
}

/// tar, told to unpack its input into `root` without the paths that match a pattern of `without`.
fn tar_into(root: &Path, without: &[&str]) -> Command {
    let mut tar = Command::new("tar");
    tar.args(["-x", "--keep-directory-symlink", "--no-same-owner", "--delay-directory-restore"]);
    // Programs that are set-uid, or unreadable for others, would be in the way later.
    tar.args(["--mode=u+rwX,go+rX", "-C"]).arg(root);
    // A `*` stands for one name: else `rustc-*/src` would be `rustc-1/library/core/src` as well.
    tar.arg("--no-wildcards-match-slash");
    tar.args(without.iter().map(|pattern| format!("--exclude={pattern}")));
    tar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_settings_for_the_network_only() {
        let host = "APT \"\";\nAcquire::Check-Date \"false\";\nAcquire::http::Proxy \"p\";\n\
                    Acquire::IndexTargets::deb \"x\";\nDPkg::Post-Invoke:: \"rm\";\n";
        let path = PathBuf::from("/c/state");
        let text = configuration_text(host, [("Dir::State", &path), ("A", &path), ("B", &path)]);
        assert!(text.contains("Acquire::http::Proxy \"p\";"), "{text}");
        assert!(text.contains("Dir::State \"/c/state\";"), "{text}");
        assert!(!text.contains("IndexTargets") && !text.contains("Post-Invoke"), "{text}");
    }

    #[test]
    fn a_star_in_what_is_left_out_stands_for_one_name() {
        let folder = std::env::temp_dir().join(format!("xenios-unpack-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        std::fs::create_dir_all(&to).unwrap();
        for path in ["a-1/src", "a-1/library/core/src", "a-1/doc"] {
            std::fs::create_dir_all(from.join(path)).unwrap();
            std::fs::write(from.join(path).join("file"), "").unwrap();
        }
        let archive = folder.join("archive");
        let mut pack = Command::new("tar");
        pack.arg("-cf").arg(&archive).arg("-C").arg(&from).arg(".");
        assert!(pack.status().unwrap().success());
        let mut tar = tar_into(&to, &["./a-*/src", "./a-1/d*"]);
        tar.stdin(std::fs::File::open(&archive).unwrap());
        assert!(tar.status().unwrap().success());
        assert!(to.join("a-1/library/core/src/file").is_file());
        assert!(!to.join("a-1/src").exists() && !to.join("a-1/doc").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
