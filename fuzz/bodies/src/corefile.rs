//! Any text as a Corefile: understood or refused, and what is understood means the same when it is written out.
//!
//! Lines `=== NAME` begin further files, for `import`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use callsign_dns::{
    block::Config,
    corefile::{Corefile, Error, Files},
};

/// Any bytes as a Corefile and the files beside it.
///
/// # Panics
/// When a property does not hold.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // Some directives look at files of this machine.
    if ["/dev", "/proc", "/sys"].iter().any(|folder| text.contains(folder)) {
        return;
    }
    let mut parts = text.split("\n=== ");
    let main = parts.next().unwrap_or_default();
    let files = Texts(parts.filter_map(|part| part.split_once('\n')).collect());
    let config = match read(main, &files) {
        Ok(config) => config,
        Err(error) => return placed(&error, main, &files),
    };
    for warning in &config.warnings {
        assert!(warning.at.line > 0 && !warning.message.is_empty());
    }
    let shown = described(&config);
    // A zone with a space in its name has no use; its name is shown as logs have it. What looks like a variable because a
    // variable's value does cannot be written so that it stays, nor can a backslash before a quote.
    if ["\\ ", "\\\"", "{$", "{%"].iter().any(|odd| shown.contains(odd)) {
        return;
    }
    let again = match read(&shown, &Texts::default()) {
        Ok(again) => again,
        // Names in which every byte is written as four.
        Err(error) if error.message.contains("is too long") && shown.contains("\\0") => return,
        Err(error) => panic!("{error}\n{text}\nwas understood as\n{shown}"),
    };
    assert_eq!(described(&again), shown, "{text}");
}

/// Files by their names, and a few variables.
#[derive(Default)]
struct Texts<'a>(BTreeMap<&'a str, &'a str>);

impl Files for Texts<'_> {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.map(|text| (*text).to_owned()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_str().unwrap_or_default();
        let fits = |name: &&&str| match pattern.split_once('*') {
            Some((head, tail)) => {
                name.len() + 1 >= pattern.len() && name.starts_with(head) && name.ends_with(tail)
            }
            None => **name == pattern,
        };
        Ok(self.0.keys().filter(fits).map(PathBuf::from).collect())
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "A" => Some("a.test".to_owned()),
            "B" => Some("x y".to_owned()),
            "SELF" => Some("{$SELF}{$SELF}".to_owned()),
            "LONG" => Some("x".repeat(1000)),
            _ => None,
        }
    }
}

fn read(text: &str, files: &Texts<'_>) -> Result<Config, Error> {
    Config::read(&Corefile::parse("Corefile", text, files)?, 53)
}

fn described(config: &Config) -> String {
    config.blocks.iter().flat_map(|block| block.describe()).map(|line| line + "\n").collect()
}

/// An error says where: a file that there is, and a line that it has.
fn placed(error: &Error, main: &str, files: &Texts<'_>) {
    let Some(at) = &error.at else { panic!("no place: {error}") };
    let text = match &*at.file {
        "Corefile" => main,
        other => files.0.get(other).unwrap_or_else(|| panic!("no such file: {error}")),
    };
    let lines = text.split('\n').count();
    let line = usize::try_from(at.line).unwrap();
    assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
    assert!(!error.message.is_empty());
}
