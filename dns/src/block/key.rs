//! Keys of server blocks: `[SCHEME://]ZONE[:PORT]`.

use hickory_proto::rr::Name;
use ipnet::IpNet;

use super::config::{BlockKey, Scheme};
use crate::{
    corefile::{Error, Token},
    zone::reverse_zones,
};

/// The keys that one word stands for: more than one where it is an address range that is not cut at a label.
///
/// # Errors
/// When it is no zone, or its scheme or port are none.
pub(super) fn read(token: &Token, default_port: u16) -> Result<Vec<BlockKey>, Error> {
    let text = token.text.as_str();
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Dns, text),
        Some(("dns", rest)) => (Scheme::Dns, rest),
        Some(("tls", rest)) => (Scheme::Tls, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some((other, _)) => {
            return Err(token.error(format!("{other}:// is not served; dns://, tls:// and https:// are")));
        }
    };
    // The port is what is behind the last colon, if it is a number.
    let (zone, port) = match rest.rsplit_once(':') {
        Some((zone, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = port.parse().map_err(|_| token.error(format!("'{port}' is not a port")))?;
            (zone, Some(port))
        }
        _ => (rest, None),
    };
    let port = port.or_else(|| scheme.port()).unwrap_or(default_port);
    let key = |zone| BlockKey { scheme, zone, port };
    Ok(zones(token, zone)?.into_iter().map(key).collect())
}

/// The zones that one word stands for: a name, or the reverse zones of an address range.
///
/// # Errors
/// When it is neither.
pub fn zones(token: &Token, text: &str) -> Result<Vec<Name>, Error> {
    if let Ok(range) = text.parse::<IpNet>() {
        return Ok(reverse_zones(range));
    }
    let text = if text.is_empty() { "." } else { text };
    let mut name =
        Name::from_ascii(text).map_err(|_| token.error(format!("'{text}' is not a zone")))?.to_lowercase();
    name.set_fqdn(true);
    Ok(vec![name])
}
