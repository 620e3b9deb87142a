//! The parts of the image: the packages that are compiled into the binary, and what comes with the system it is built on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use cargo_lock::Lockfile;
use cargo_metadata::Metadata;

use crate::tree::{Id, Tree};

/// One thing that the image contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its name where it comes from.
    pub name: String,
    /// Its version there.
    pub version: String,
    /// A package URL, for what is published.
    pub purl: Option<String>,
    /// One line.
    pub description: Option<String>,
    /// An SPDX expression.
    pub licence: Option<String>,
    /// Where its source is kept.
    pub repository: Option<String>,
    /// SHA-256 of what the registry gave out, in hex.
    pub checksum: Option<String>,
    /// Where its files are, where we have them.
    pub folder: Option<PathBuf>,
    /// References of the parts it needs by itself.
    pub needs: BTreeSet<String>,
}

impl Part {
    /// What other parts call it: its package URL, or its name and version.
    pub(crate) fn reference(&self) -> String {
        self.purl.clone().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    /// A package of the distribution, from `NAME=VERSION=ARCH=LICENCE`: `glibc=2.36-9=amd64=LGPL-2.1-or-later`.
    ///
    /// # Errors
    /// When a field is missing or empty.
    pub(crate) fn of_debian(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.splitn(4, '=').collect();
        let [name, version, arch, licence] = fields[..] else {
            anyhow::bail!("{text:?}: wanted NAME=VERSION=ARCH=LICENCE")
        };
        ensure!(fields.iter().all(|field| !field.is_empty()), "{text:?}: an empty field");
        // The one character of Debian's versions that a package URL does not take as it is.
        let escaped = version.replace('+', "%2B").replace('~', "%7E").replace(':', "%3A");
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: Some(format!("pkg:deb/debian/{name}@{escaped}?arch={arch}&distro=debian")),
            licence: Some(licence.to_owned()),
            ..Self::default()
        })
    }

    /// Rust's standard library, of a release of the compiler.
    pub(crate) fn of_rust(release: &str) -> Self {
        Self {
            name: "rust-std".to_owned(),
            version: release.to_owned(),
            purl: Some(format!("pkg:generic/rust-std@{release}")),
            description: Some("The Rust standard library".to_owned()),
            licence: Some("MIT OR Apache-2.0".to_owned()),
            repository: Some("https://github.com/rust-lang/rust".to_owned()),
            ..Self::default()
        }
    }
}

/// The parts of a tree, the root first, with what the metadata and the lock file know of each.
///
/// # Errors
/// When they do not know one, or know two of the same name and version.
pub(crate) fn of_tree(tree: &Tree, metadata: &Metadata, lock: &Lockfile) -> Result<Vec<Part>> {
    let mut known = BTreeMap::<Id, Part>::new();
    for package in &metadata.packages {
        let id = (package.name.to_string(), package.version.to_string());
        let published = package.source.is_some();
        let part = Part {
            name: id.0.clone(),
            version: id.1.clone(),
            purl: published.then(|| format!("pkg:cargo/{}@{}", id.0, id.1.replace('+', "%2B"))),
            description: package.description.as_deref().map(one_line),
            // Cargo once took a slash for "or".
            licence: package.license.as_ref().map(|it| it.replace(" / ", "/").replace('/', " OR ")),
            repository: package.repository.clone().filter(|it| it.starts_with("http")),
            checksum: checksum(lock, &id),
            folder: if published {
                package.manifest_path.parent().map(|it| it.as_std_path().to_owned())
            } else {
                // Our own crates share one text.
                Some(metadata.workspace_root.as_std_path().to_owned())
            },
            needs: BTreeSet::new(),
        };
        ensure!(!published || part.checksum.is_some(), "{} {}: no checksum in the lock file", id.0, id.1);
        let twice = known.insert(id.clone(), part).is_some();
        ensure!(!twice || !tree.needs.contains_key(&id), "{} {} comes from two sources", id.0, id.1);
    }
    let find =
        |id: &Id| known.get(id).with_context(|| format!("cargo metadata does not know {} {}", id.0, id.1));
    let mut parts = Vec::new();
    let root = tree.needs.get_key_value(&tree.root).context("the root")?;
    for (id, needs) in std::iter::once(root).chain(tree.needs.iter().filter(|(id, _)| **id != tree.root)) {
        let mut part = find(id)?.clone();
        for need in needs {
            part.needs.insert(find(need)?.reference());
        }
        parts.push(part);
    }
    Ok(parts)
}

fn checksum(lock: &Lockfile, (name, version): &Id) -> Option<String> {
    let package = lock
        .packages
        .iter()
        .find(|package| package.name.as_str() == name && package.version.to_string() == *version)?;
    Some(package.checksum.as_ref()?.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The files of a folder that hold a licence or a notice, by name.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn licence_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        let named = ["license", "licence", "copying", "copyright", "notice", "unlicense"];
        if named.iter().any(|it| name.starts_with(it)) && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_the_distribution_has_an_url_of_its_own() {
        let part = Part::of_debian("glibc=2.36-9+deb12u9=amd64=LGPL-2.1-or-later").unwrap();
        assert_eq!(part.reference(), "pkg:deb/debian/glibc@2.36-9%2Bdeb12u9?arch=amd64&distro=debian");
        assert_eq!(part.version, "2.36-9+deb12u9");
        for wrong in ["glibc", "glibc=2.36", "=1=amd64=MIT", "glibc=1=amd64", "glibc=1=amd64="] {
            assert!(Part::of_debian(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_published_is_referred_to_by_name() {
        let part = Part { name: "callsign".into(), version: "0.1.0".into(), ..Part::default() };
        assert_eq!(part.reference(), "callsign@0.1.0");
    }
}
