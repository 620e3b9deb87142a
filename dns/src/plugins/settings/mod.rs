//! Directives that are settings of a block or of the process: they answer nothing.

mod bind;
mod https;
mod limits;
mod pages;
mod reload;
mod root;
mod tls;

pub use bind::bind;
pub use https::https;
pub use limits::{bufsize, debug, multisocket, timeouts};
pub use pages::{health, prometheus, ready};
pub use reload::reload;
pub use root::root;
pub use tls::tls;

use crate::corefile::{Error, Token};

/// A `[HOST]:PORT` as it is written.
///
/// # Errors
/// When there is no port, or it is no number.
fn host_port(token: &Token) -> Result<String, Error> {
    let text = token.text.as_str();
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(token.error(format!("address {text}: missing port in address")));
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err(token.error(format!("address {text}: too many colons in address")));
    }
    if port.parse::<u16>().is_err() {
        return Err(token.error(format!("address {text}: '{port}' is not a port")));
    }
    Ok(text.to_owned())
}

/// A duration, which without a unit is in seconds (`coredns` `plugin/pkg/durations`).
fn seconds_or_duration(token: &Token) -> Result<std::time::Duration, Error> {
    match token.text.parse::<u32>() {
        Ok(seconds) => Ok(std::time::Duration::from_secs(seconds.into())),
        Err(_) => token.duration(),
    }
}

#[cfg(test)]
mod tests;
