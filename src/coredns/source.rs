//! Where the configuration comes from, and what it says now.

use std::path::{Path, PathBuf};

use callsign_dns::{
    block::Config,
    corefile::{Corefile, Files, FilesOnDisk, read_error, read_text},
};

use super::Flags;
use crate::exit::Exit;

/// The file that is looked for where none is named.
const DEFAULT: &str = "Corefile";
/// What is served where there is none (`coredns` `core/dnsserver/register.go`).
const BUILT_IN: &str = ".:{port} {\nwhoami\nlog\n}\n";

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    text: Text,
    port: u16,
}

#[derive(Clone, Debug)]
enum Text {
    /// A file, read again each time, and what CoreDNS calls its loader.
    File(PathBuf, &'static str),
    /// What was read at the start, and its name.
    Fixed(&'static str, String),
}

/// A configuration that has been read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) config: Config,
    /// The SHA-512 of the file and its imports, in hexadecimal digits.
    pub(crate) sha512: String,
}

impl Source {
    /// The source that flags name.
    ///
    /// # Errors
    /// When the standard input cannot be read.
    pub(super) fn of(flags: &Flags) -> Result<Self, Exit> {
        let text = match &flags.conf {
            Some(path) if path.as_os_str() == "stdin" => {
                let text = read_text(std::io::stdin());
                let text = text.map_err(|error| {
                    Exit::configuration(anyhow::anyhow!("loading Caddyfile via flag: stdin: {error}"))
                })?;
                Text::Fixed("stdin", text)
            }
            Some(path) => Text::File(path.clone(), "flag"),
            None if PathBuf::from(DEFAULT).exists() => Text::File(DEFAULT.into(), "default"),
            None => Text::Fixed(DEFAULT, BUILT_IN.replace("{port}", &flags.port.to_string())),
        };
        Ok(Self { text, port: flags.port })
    }

    /// A file, for ports of CoreDNS's default.
    pub(crate) fn file(path: &Path) -> Self {
        Self { text: Text::File(path.to_owned(), "flag"), port: 53 }
    }

    /// What it says now.
    ///
    /// # Errors
    /// When it cannot be read or is wrong; the message names file and line.
    pub(crate) fn read(&self) -> Result<Read, String> {
        let (name, text) = match &self.text {
            Text::File(path, loader) => {
                let text = FilesOnDisk.read(path);
                let text = text.map_err(|error| {
                    format!("loading Caddyfile via {loader}: {}", read_error(path, &error))
                })?;
                (path.display().to_string(), text)
            }
            Text::Fixed(name, text) => ((*name).to_owned(), text.clone()),
        };
        let corefile = Corefile::parse(&name, &text, &FilesOnDisk).map_err(|error| error.to_string())?;
        let config = Config::read(&corefile, self.port).map_err(|error| error.to_string())?;
        Ok(Read { config, sha512: corefile.sha512 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_errors_name_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Corefile");
        let flags = Flags { conf: Some(path.clone()), port: 1053, ..Flags::default() };
        let source = Source::of(&flags).unwrap();
        let missing = source.read().unwrap_err();
        assert_eq!(
            missing,
            format!("loading Caddyfile via flag: open {}: no such file or directory", path.display())
        );
        std::fs::write(&path, ". {\n    reload 5s\n}\n").unwrap();
        let first = source.read().unwrap();
        assert_eq!(first.config.blocks[0].keys[0].port, 1053);
        std::fs::write(&path, ". {\n    reload 6s\n}\n").unwrap();
        assert_ne!(first.sha512, source.read().unwrap().sha512);
        std::fs::write(&path, ". {\n    nosuch\n}\n").unwrap();
        let error = source.read().unwrap_err();
        assert!(
            error.contains(&format!(
                "{}:2 - Error during parsing: Unknown directive 'nosuch'",
                path.display()
            ))
        );
    }

    #[test]
    fn without_a_file_there_is_a_built_in_one() {
        let text = BUILT_IN.replace("{port}", "1053");
        let source = Source { text: Text::Fixed("Corefile", text), port: 53 };
        let config = source.read().unwrap().config;
        assert_eq!(config.blocks[0].keys[0].port, 1053);
        assert_eq!(config.blocks[0].chain.len(), 2);
    }
}
