//! `https { max_connections N }`: limits of a block's DoH listeners (`coredns` `plugin/https/setup.go`).

use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugins::reading::once,
};

/// Reads the directive. 0 lifts its limit, and leaves those of all streams.
///
/// # Errors
/// When an option is unknown or no number.
pub fn https(block: &mut BlockConfig, directives: &[&Directive]) -> Result<(), Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    for option in &directive.body {
        match option.name.text.as_str() {
            "max_connections" => {
                let [count] = option.exactly::<1>()?;
                if block.https_connections.is_some() {
                    return Err(option.error("max_connections already defined for this server block"));
                }
                let invalid = || {
                    count.error(format!(
                        "invalid max_connections value '{}': want a non-negative integer",
                        count.text
                    ))
                };
                block.https_connections = Some(count.text.parse().map_err(|_| invalid())?);
            }
            _ => return Err(option.unknown()),
        }
    }
    Ok(())
}
