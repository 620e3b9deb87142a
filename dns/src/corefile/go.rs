//! What Go says about files, for messages that are CoreDNS's.

use std::{io, path::Path};

/// Why a file could not be read: `open /x: no such file or directory`.
pub fn read_error(path: &Path, error: &io::Error) -> String {
    let verb = if error.kind() == io::ErrorKind::IsADirectory { "read" } else { "open" };
    format!("{verb} {}: {}", path.display(), reason(error))
}

/// The system's words for an error, as Go has them: in lower case, without its number.
fn reason(error: &io::Error) -> String {
    let error = match error.kind() {
        // Errors that are not the system's have the same words.
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    };
    let text = error.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_gos() {
        let missing = std::fs::read("/nonexistent/file").unwrap_err();
        assert_eq!(read_error(Path::new("/x"), &missing), "open /x: no such file or directory");
        let folder = std::fs::read("/").unwrap_err();
        assert_eq!(read_error(Path::new("/"), &folder), "read /: is a directory");
        let other = io::Error::from_raw_os_error(40);
        assert_eq!(read_error(Path::new("/x"), &other), "open /x: too many levels of symbolic links");
    }
}
