//! `root PATH`: what relative names of files begin at.

use std::path::PathBuf;

use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
};

/// Reads the directive; of several the last counts. A folder that is not there may come later.
///
/// # Errors
/// When there is no path, or it cannot be looked at.
pub fn root(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    for directive in directives {
        let [path, ..] = directive.some()? else { return Err(directive.wrong_count()) };
        block.root = PathBuf::from(&path.text);
        match std::fs::metadata(&block.root) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(target: "plugin/root", "Root path does not exist: {}", path.text);
            }
            Err(error) => {
                return Err(path.error(format!("unable to access root path '{}': {error}", path.text)));
            }
        }
    }
    Ok(())
}
