//! Reading zone files that are not on a disk: for fuzz targets.

use std::{collections::BTreeMap, io, path::Path};

use hickory_proto::rr::{Name, Record};

use super::master::{Master, Source};

struct Texts<'a>(&'a BTreeMap<String, Vec<u8>>);

impl Texts<'_> {
    fn find(&self, path: &Path) -> io::Result<&Vec<u8>> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Source for Texts<'_> {
    fn size(&self, path: &Path) -> io::Result<u64> {
        self.find(path).map(|text| text.len() as u64)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.find(path).cloned()
    }
}

/// The records of a zone, from files by their names.
///
/// # Errors
/// With what is wrong, behind file and line.
pub fn read(files: &BTreeMap<String, Vec<u8>>, first: &str, zone: &Name) -> Result<Vec<Record>, String> {
    let master = Master::read_from(&Texts(files), Path::new(first), zone);
    master.map(|master| master.records).map_err(|error| error.to_string())
}
