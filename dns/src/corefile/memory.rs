//! Files and variables of tests.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::Files;

/// Files by their whole names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    files: BTreeMap<PathBuf, String>,
    variables: BTreeMap<String, String>,
}

impl Memory {
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_str().unwrap();
        let fits = |path: &&PathBuf| match pattern.split_once('*') {
            Some((head, tail)) => {
                let path = path.to_str().unwrap();
                path.len() >= pattern.len() - 1 && path.starts_with(head) && path.ends_with(tail)
            }
            None => path.to_str() == Some(pattern),
        };
        Ok(self.files.keys().filter(fits).cloned().collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}
