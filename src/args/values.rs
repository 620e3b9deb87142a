//! What the values of flags may be: each reads a text, or says what it wants instead.

use std::{net::SocketAddr, time::Duration};

/// `ADDR:PORT`, or `:PORT` for every address of the machine.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "want ADDR:PORT or :PORT".to_owned())
}

/// `ADDR:PORT`, or `ADDR` for its port 53.
pub(super) fn upstream(text: &str) -> Result<SocketAddr, String> {
    let plain = || text.parse::<std::net::IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse().or_else(|_| plain()).map_err(|_| "want ADDR or ADDR:PORT, with an IP address".to_owned())
}

/// A domain in plain letters: it becomes a word of a Corefile.
pub(super) fn domain(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(plain);
    let good = text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label);
    if good { Ok(text.to_owned()) } else { Err("want a name such as cluster.local".to_owned()) }
}

/// The name of an object: an RFC 1123 subdomain.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = text.len() <= 253
        && text.chars().all(plain)
        && ends(text.chars().next())
        && ends(text.chars().last());
    if good { Ok(text.to_owned()) } else { Err("want lower case letters, digits, - and .".to_owned()) }
}

/// The reference of an image with a tag or a digest, in plain letters.
pub(super) fn image(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    let last = text.rsplit('/').next().unwrap_or_default();
    let named = last.split_once(['@', ':']).is_some_and(|(name, tag)| !name.is_empty() && !tag.is_empty());
    let good = text.len() <= 512 && text.chars().all(plain) && !text.starts_with('/') && named;
    if good {
        Ok(text.to_owned())
    } else {
        Err("want an image with its tag or digest, such as registry.example/callsign:0.1.0".to_owned())
    }
}

/// `NAMESPACE/NAME` of a Service.
pub(super) fn service(text: &str) -> Result<(String, String), String> {
    let (namespace, name) =
        text.split_once('/').ok_or("want NAMESPACE/NAME, such as kube-system/kube-dns")?;
    Ok((object_name(namespace)?, object_name(name)?))
}

/// What can stand for a replica: visible ASCII.
pub(super) fn identity(text: &str) -> Result<String, String> {
    let good = (1..=253).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err("want 1 to 253 visible ASCII characters".to_owned()) }
}

/// A duration as Go writes them, in whole units: `5s`, `500ms`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u32 = number.parse().map_err(|_| "want a number with ms, s or m, such as 5s".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(u64::from(number) * 60)),
        "" if number == 0 => Ok(Duration::ZERO),
        _ => Err("want a number with ms, s or m, such as 5s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_durations() {
        assert_eq!(listen_address(":8080").unwrap().to_string(), "[::]:8080");
        assert_eq!(listen_address("127.0.0.1:1").unwrap().to_string(), "127.0.0.1:1");
        assert!(listen_address("8080").is_err());
        for good in ["cluster.local", "Cluster.Local.", "local", "a_b.c-d"] {
            assert_eq!(domain(good).as_deref(), Ok(good));
        }
        for bad in ["", ".", "a..b", "a b", "a {", "{$A}", "a,", "a:53", "tls://a", "é", &"a".repeat(64)] {
            assert!(domain(bad).is_err(), "{bad}");
        }
        for good in ["callsign:0.1.0", "r.example:5000/a/callsign@sha256:0123"] {
            assert_eq!(image(good).as_deref(), Ok(good));
        }
        for bad in ["", "callsign", "r.example:5000/callsign", "/callsign:1", "a b:1", "callsign:"] {
            assert!(image(bad).is_err(), "{bad}");
        }
        assert_eq!(service("kube-system/kube-dns"), Ok(("kube-system".to_owned(), "kube-dns".to_owned())));
        assert!(service("kube-dns").is_err() && service("a/B").is_err() && service("/a").is_err());
        assert_eq!(upstream("10.0.0.2").unwrap().to_string(), "10.0.0.2:53");
        assert_eq!(upstream("[fd00::1]:5300").unwrap().to_string(), "[fd00::1]:5300");
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        assert!(duration("5").is_err() && duration("s").is_err() && duration("5 s").is_err());
    }
}
