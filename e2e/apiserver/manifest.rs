//! Manifests from files and folders: YAML with several documents, JSON, and lists.
//!
//! Objects of the kinds the server knows come back in the order of the files; the others are named, so that nothing is
//! dropped silently. Types and unknown fields are not looked at here: that is the API's part, in its own words.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::kind::Kind;
use super::rules::value::text;

/// What files are taken from a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
/// How deep folders may lie in folders: a link that leads back to its parent ends here.
const MAX_DEPTH: usize = 32;
/// How long a manifest may be.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// Objects of known kinds, in file order.
    pub objects: Vec<Manifest>,
    /// What the server has no kind for.
    pub unknown: Vec<Unknown>,
}

/// One object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// The object as it was written.
    pub value: Value,
    /// Where it was found.
    pub source: Source,
}

/// An object of a kind that the server does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its `metadata.name`.
    pub name: String,
    /// Where it was found.
    pub source: Source,
}

/// A document in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The document in it, from 1.
    pub document: usize,
    /// The line on which the document begins, from 1.
    pub line: usize,
}

/// Why manifests cannot be read. Each says where.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file or folder that cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A folder with nothing in it to load.
    #[error("{}: no manifest here (*.yaml, *.yml, *.json)", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
    },
    /// A file that is too long.
    #[error("{}: longer than {MAX_BYTES} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// A document that is neither YAML nor JSON.
    #[error("{}:{line}:{column}: document {document}: {why}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The document in it, from 1.
        document: usize,
        /// The line of the file, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What the parser says.
        why: String,
    },
    /// A document that is no Kubernetes object.
    #[error("{place}: {why}")]
    NoObject {
        /// Where, with the item of a list.
        place: String,
        /// What is missing.
        why: &'static str,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: document {}", self.file.display(), self.line, self.document)
    }
}

/// Reads files and folders, in the order given; folders in alphabetical order, with the folders in them.
///
/// # Errors
/// The first thing that cannot be read; nothing is half read.
pub fn load(paths: &[PathBuf]) -> Result<Manifests, ManifestError> {
    let mut manifests = Manifests::default();
    for path in paths {
        let mut files = Vec::new();
        collect(path, 0, &mut files)?;
        if files.is_empty() {
            return Err(ManifestError::Nothing { path: path.clone() });
        }
        for file in files {
            let read = |error| ManifestError::Read { path: file.clone(), error };
            if fs::metadata(&file).map_err(read)?.len() > MAX_BYTES {
                return Err(ManifestError::TooLong { path: file });
            }
            let found = parse(&file, &fs::read_to_string(&file).map_err(read)?)?;
            manifests.objects.extend(found.objects);
            manifests.unknown.extend(found.unknown);
        }
    }
    Ok(manifests)
}

/// Reads the text of one file. Its name says whether it is JSON; YAML is assumed otherwise.
///
/// # Errors
/// The first document that is no object, by file, document and line.
pub fn parse(file: &Path, text: &str) -> Result<Manifests, ManifestError> {
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let documents = if json { json_documents(file, text)? } else { yaml_documents(file, text)? };
    let mut manifests = Manifests::default();
    for (source, value) in documents {
        add(&mut manifests, value, &source, None)?;
    }
    Ok(manifests)
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), ManifestError> {
    let read = |error| ManifestError::Read { path: path.to_path_buf(), error };
    if !fs::metadata(path).map_err(read)?.is_dir() {
        // A file that was named is read whatever it is called.
        files.push(path.to_path_buf());
        return Ok(());
    }
    if depth >= MAX_DEPTH {
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let named = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension.to_lowercase().as_str()));
        if !hidden && (named || path.is_dir()) {
            collect(&path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Splits at `---` lines, as kubectl does; a document of comments is none.
fn yaml_documents(file: &Path, text: &str) -> Result<Vec<(Source, Value)>, ManifestError> {
    let mut documents = Vec::new();
    let mut parts: Vec<(usize, String)> = vec![(1, String::new())];
    for (index, line) in text.trim_start_matches('\u{feff}').split_inclusive('\n').enumerate() {
        let marker =
            line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        match (marker, parts.last_mut()) {
            // What follows the marker on its line belongs to the document.
            (Some(rest), _) => parts.push((index + 1, format!("   {rest}"))),
            (None, Some((_, part))) => part.push_str(line),
            (None, None) => {}
        }
    }
    for (line, part) in parts {
        let bare = part.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if bare {
            continue;
        }
        let source = Source { file: file.to_path_buf(), document: documents.len() + 1, line };
        // kubectl reads YAML 1.1, where `defaultMode: 0644` is octal.
        let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
        let value: Value = serde_saphyr::from_str_with_options(&part, options).map_err(|error| {
            let place = error.location();
            ManifestError::Syntax {
                file: file.to_path_buf(),
                document: source.document,
                line: line - 1 + place.map_or(1, |place| place.line() as usize),
                column: place.map_or(1, |place| place.column() as usize),
                why: error.without_snippet().to_string(),
            }
        })?;
        if !value.is_null() {
            documents.push((source, value));
        }
    }
    Ok(documents)
}

/// JSON values one after another.
fn json_documents(file: &Path, text: &str) -> Result<Vec<(Source, Value)>, ManifestError> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let rest = text.get(values.byte_offset()..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        let before = text.get(..values.byte_offset() + blank).unwrap_or(text);
        let source = Source {
            file: file.to_path_buf(),
            document: documents.len() + 1,
            line: 1 + before.matches('\n').count(),
        };
        match values.next() {
            None => return Ok(documents),
            Some(Ok(value)) => documents.push((source, value)),
            Some(Err(error)) => {
                return Err(ManifestError::Syntax {
                    file: file.to_path_buf(),
                    document: source.document,
                    line: error.line(),
                    column: error.column(),
                    why: error.to_string(),
                });
            }
        }
    }
}

/// Adds an object, or the items of a list. An item without a kind of its own is of the kind its list names.
fn add(
    into: &mut Manifests,
    mut value: Value,
    source: &Source,
    item: Option<(&str, usize)>,
) -> Result<(), ManifestError> {
    let place = || match item {
        Some((list, index)) => format!("{source}: item {} of the {list}", index + 1),
        None => source.to_string(),
    };
    let refuse = |why| Err(ManifestError::NoObject { place: place(), why });
    if !value.is_object() {
        return refuse("not an object");
    }
    let (api_version, kind) = (text(&value, &["apiVersion"]).to_owned(), text(&value, &["kind"]).to_owned());
    if kind.is_empty() {
        return refuse("no `kind`");
    }
    if api_version.is_empty() {
        return refuse("no `apiVersion`");
    }
    if let (Some(of), true) = (kind.strip_suffix("List"), value.get("items").is_some()) {
        if item.is_some() {
            return refuse("a list in a list");
        }
        let Some(Value::Array(items)) = value.get_mut("items").map(Value::take) else {
            return refuse("`items` is not a list");
        };
        for (index, mut value) in items.into_iter().enumerate() {
            if let (Some(map), false) = (value.as_object_mut(), of.is_empty()) {
                map.entry("apiVersion").or_insert_with(|| Value::from(api_version.as_str()));
                map.entry("kind").or_insert_with(|| Value::from(of));
            }
            add(into, value, source, Some((&kind, index)))?;
        }
        return Ok(());
    }
    match Kind::of(&api_version, &kind) {
        Some(kind) => into.objects.push(Manifest { kind, value, source: source.clone() }),
        None => {
            let name = text(&value, &["metadata", "name"]).to_owned();
            into.unknown.push(Unknown { api_version, kind, name, source: source.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
