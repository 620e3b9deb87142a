//! What `cargo tree --prefix depth` prints: the one view of Cargo's that knows the features, the target and the kinds of
//! dependencies at once. `cargo metadata` mixes in what tests and build scripts ask for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

/// Name and version. No two packages of a lock file share both, unless their sources differ; that is refused.
pub(crate) type Id = (String, String);

/// The packages of a tree, and what each of them needs by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The package that the tree is of.
    pub root: Id,
    /// All packages, the root too.
    pub needs: BTreeMap<Id, BTreeSet<Id>>,
}

impl Tree {
    /// Reads lines such as `2 bytes v1.12.1 (*)`: depth, name, version, and what is in parentheses, which is left out.
    ///
    /// # Errors
    /// At a line that is none of these, with the line.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut tree = Self::default();
        // The packages from the root to the last line.
        let mut path: Vec<Id> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (depth, id) = package(line).with_context(|| format!("a line of cargo tree: {line:?}"))?;
            ensure!(depth <= path.len(), "a line of cargo tree that skips a level: {line:?}");
            ensure!(depth > 0 || path.is_empty(), "a second root: {line:?}");
            path.truncate(depth);
            match path.last() {
                Some(parent) => {
                    tree.needs.entry(parent.clone()).or_default().insert(id.clone());
                }
                None => tree.root = id.clone(),
            }
            tree.needs.entry(id.clone()).or_default();
            path.push(id);
        }
        ensure!(!path.is_empty(), "cargo tree printed nothing");
        Ok(tree)
    }
}

fn package(line: &str) -> Option<(usize, Id)> {
    let digits = line.len() - line.trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let (depth, rest) = line.split_at_checked(digits)?;
    let mut words = rest.split_whitespace();
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((depth.parse().ok()?, (name.to_owned(), version.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn edges_follow_the_depth_and_what_was_shown_before_is_named_again() {
        let text = "0app v0.1.0 (/src)\n1a v1.0.0\n2c v3.0.0+x\n1b v2.0.0\n2a v1.0.0 (*)\n1c v3.0.0+x\n";
        let tree = Tree::read(text).unwrap();
        assert_eq!(tree.root, id("app", "0.1.0"));
        let needs = |name, version| tree.needs[&id(name, version)].iter().cloned().collect::<Vec<_>>();
        assert_eq!(needs("app", "0.1.0"), [id("a", "1.0.0"), id("b", "2.0.0"), id("c", "3.0.0+x")]);
        assert_eq!(needs("b", "2.0.0"), [id("a", "1.0.0")]);
        assert_eq!(needs("a", "1.0.0"), [id("c", "3.0.0+x")]);
        assert!(needs("c", "3.0.0+x").is_empty());
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for text in [
            "",
            "app v0.1.0",
            "0app 0.1.0",
            "0app",
            "0a v1.0.0\n2b v1.0.0",
            "0a v1.0.0\n0b v1.0.0",
            "1a v1.0.0",
        ] {
            assert!(Tree::read(text).is_err(), "{text:?}");
        }
    }
}
