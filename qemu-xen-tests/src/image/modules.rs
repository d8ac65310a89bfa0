//! Picks kernel modules and what they depend on, and writes the index that modprobe reads.
//!
//! A module says in its `.modinfo` section what it depends on and which other names it goes by:
//! strings of the form `depends=a,b` and `alias=...`, each ended by a zero byte.

use crate::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The chosen modules and their index.
#[derive(Debug, Default)]
pub struct Modules {
    /// Paths below the folder of the kernel's modules, with the files they come from.
    pub files: Vec<(String, PathBuf)>,
    /// The text of `modules.dep`.
    pub dependencies: String,
    /// The text of `modules.alias`.
    pub aliases: String,
}

/// Picks the modules that match `wanted` (a `*` at the end stands for any rest) and their closure.
///
/// # Errors
/// When a module cannot be read.
pub fn pick(folder: &Path, wanted: &[&str]) -> Result<Modules> {
    let mut all = BTreeMap::new();
    find(folder, &mut all)?;
    let mut waiting: Vec<String> =
        all.keys().filter(|name| matches(name, wanted)).cloned().collect();
    let mut chosen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut modules = Modules::default();
    while let Some(name) = waiting.pop() {
        let Some(path) = all.get(&name) else { continue };
        if chosen.contains_key(&name) {
            continue;
        }
        let bytes = std::fs::read(path).doing(|| format!("read {}", path.display()))?;
        let needs: Vec<String> = values(&bytes, "depends=")
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|name| !name.is_empty())
            .map(plain)
            .collect();
        for alias in values(&bytes, "alias=") {
            modules.aliases.push_str(&format!("alias {alias} {name}\n"));
        }
        waiting.extend(needs.iter().cloned());
        chosen.insert(name, needs);
    }
    let inside = |name: &String| {
        let path = all.get(name)?;
        Some(path.strip_prefix(folder).ok()?.to_str()?.to_string())
    };
    for name in chosen.keys() {
        let Some(file) = inside(name) else { continue };
        let needs: Vec<String> = closure(name, &chosen).iter().filter_map(inside).collect();
        modules.dependencies.push_str(&format!("{file}: {}\n", needs.join(" ")));
        modules.files.push((file, all[name].clone()));
    }
    Ok(modules)
}

/// All that `name` needs, directly or not, in an order that modprobe can load from the end.
fn closure(name: &str, needs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    fn visit(
        name: &str,
        needs: &BTreeMap<String, Vec<String>>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) {
        for need in needs.get(name).into_iter().flatten() {
            if seen.insert(need.clone()) {
                visit(need, needs, seen, order);
                order.push(need.clone());
            }
        }
    }
    let mut order = Vec::new();
    visit(name, needs, &mut BTreeSet::new(), &mut order);
    order.reverse();
    order
}

fn matches(name: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(&plain(start)),
        None => name == plain(pattern),
    })
}

/// Module names take `-` and `_` for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn find(folder: &Path, all: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, all)?;
        } else if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".ko") {
            all.insert(plain(name), path);
        }
    }
    Ok(())
}

/// The values of a key among a module's strings.
fn values(bytes: &[u8], key: &str) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|piece| piece.strip_prefix(key.as_bytes()))
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values() {
        let bytes = b"\x7fELF\0depends=a,b-c\0alias=net-pf-1\0alias=x\0\0";
        assert_eq!(values(bytes, "depends="), ["a,b-c"]);
        assert_eq!(values(bytes, "alias="), ["net-pf-1", "x"]);
    }

    #[test]
    fn patterns_ignore_the_kind_of_dash() {
        assert!(matches("xen_netback", &["xen-netback"]));
        assert!(matches("nft_nat", &["nft-*"]));
        assert!(!matches("nft_nat", &["nf"]));
    }

    #[test]
    fn what_is_needed_first_comes_last() {
        let need = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let needs = BTreeMap::from([
            ("a".to_string(), need(&["b", "c"])),
            ("b".to_string(), need(&["c"])),
            ("c".to_string(), need(&[])),
        ]);
        assert_eq!(closure("a", &needs), ["b", "c"]);
    }
}
