//! Files of this machine, and its variables.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf, absolute},
};

use super::Files;

/// How long a file may be, bytes. A ConfigMap holds a sixteenth of it.
const LONGEST: u64 = 16 << 20;

/// The files and variables that the process sees.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesOnDisk;

impl Files for FilesOnDisk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        read_text(file)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = absolute(pattern)?;
        let text = pattern.to_str().ok_or_else(|| io::Error::other("not UTF-8"))?;
        if !text.contains(['*', '?', '[', ']']) {
            return Ok(if pattern.exists() { vec![pattern] } else { Vec::new() });
        }
        // As Go's: a star takes neither a slash nor care of a leading dot.
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let found = glob::glob_with(text, options).map_err(|error| io::Error::other(error.msg))?;
        // Folders that cannot be read match nothing, and folders that match are nothing to read: in a mounted ConfigMap
        // there is always one.
        let mut files: Vec<PathBuf> = found.flatten().filter(|path| !path.is_dir()).collect();
        files.sort_unstable();
        Ok(files)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// All that can be read, as text: the whole of a Corefile.
///
/// # Errors
/// When it cannot be read, or is too long.
pub fn read_text(from: impl io::Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("longer than {LONGEST} bytes")));
    }
    // What is no UTF-8 is as strange to Go, which goes on with a placeholder.
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::Corefile;

    #[test]
    fn a_mounted_config_map_is_imported() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Corefile", ".:53 {\n errors\n import custom/*\n}\nimport servers/*.server\nimport one\n");
        write("custom/..2026_11_21/log.override", "log\n");
        std::os::unix::fs::symlink("..2026_11_21", root.join("custom/..data")).unwrap();
        std::os::unix::fs::symlink("..data/log.override", root.join("custom/log.override")).unwrap();
        write("one", "b.test {\n whoami }\n");
        let path = root.join("Corefile");
        let name = path.to_str().unwrap();
        let text = FilesOnDisk.read(&path).unwrap();
        let error = Corefile::parse(name, &text, &FilesOnDisk).unwrap_err();
        let one = root.join("one");
        assert_eq!(error.at.as_ref().map(|at| &*at.file), one.to_str(), "{error}");
        write("one", "b.test {\n whoami\n}\n");
        let file = Corefile::parse(name, &text, &FilesOnDisk).unwrap();
        let names: Vec<_> =
            file.blocks[0].directives.iter().map(|directive| directive.name.text.as_str()).collect();
        assert_eq!(names, ["errors", "log"]);
        assert_eq!(file.blocks[1].keys[0].text, "b.test");
        assert_eq!(file.warnings.len(), 1, "{:?}", file.warnings);
        assert_eq!(file.sources.files, [root.join("custom/log.override"), one]);
        assert_eq!(file.sources.folders, [root.join("custom"), root.join("servers")]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(FilesOnDisk.read(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        let bytes = folder.path().join("bytes");
        std::fs::write(&bytes, b". {\n chaos \xff\n}\n").unwrap();
        assert_eq!(FilesOnDisk.read(&bytes).unwrap(), ". {\n chaos \u{fffd}\n}\n");
        File::create(&bytes).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(FilesOnDisk.read(&bytes).is_err());
        assert!(FilesOnDisk.glob(&folder.path().join("a[*")).is_err());
        assert!(FilesOnDisk.glob(&folder.path().join("nosuch/*")).unwrap().is_empty());
    }
}
