//! Reads what apt prints.

use super::Package;

/// The packages that a simulated installation would install.
///
/// The lines in question look like `Inst bash (5.2.15-2+b9 Debian:12.9/stable [amd64])`, with the
/// version that is installed in brackets before the parenthesis, if there is one.
pub fn installs(output: &str) -> Vec<Package> {
    output.lines().filter_map(install).collect()
}

fn install(line: &str) -> Option<Package> {
    let rest = line.strip_prefix("Inst ")?;
    let name = rest.split(' ').next()?;
    let (_, inside) = rest.split_once('(')?;
    let version = inside.split([' ', ')']).next()?;
    if name.is_empty() || version.is_empty() {
        return None;
    }
    Some(Package { name: name.into(), version: version.into() })
}

/// The progress that a line of the status stream reports: `dlstatus:ITEM:PERCENT:TEXT`.
pub fn percent(line: &str) -> Option<f64> {
    let mut parts = line.strip_prefix("dlstatus:")?.splitn(3, ':');
    let _item = parts.next()?;
    parts.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_simulated_installation() {
        let output = "Reading package lists...\n\
                      Inst gcc-12-base (12.2.0-14 Debian:12.9/stable [amd64])\n\
                      Inst libc6 [2.35] (1:2.36-9+deb12u9 Debian:12.9/stable [amd64]) []\n\
                      Conf libc6 (2.36-9+deb12u9 Debian:12.9/stable [amd64])\n\
                      Inst broken\n";
        let names = installs(output);
        assert_eq!(names.len(), 2);
        assert_eq!(names[0].name, "gcc-12-base");
        assert_eq!(names[0].version, "12.2.0-14");
        assert_eq!(names[1].version, "1:2.36-9+deb12u9");
    }

    #[test]
    fn reads_the_progress() {
        assert_eq!(percent("dlstatus:3:41.9872:Retrieving file 3 of 130"), Some(41.9872));
        assert_eq!(percent("pmstatus:bash:1:x"), None);
        assert_eq!(percent("dlstatus:3"), None);
    }
}
