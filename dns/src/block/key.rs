//! Keys of server blocks: `[SCHEME://]ZONE[:PORT]` (`coredns` `core/dnsserver/register.go`, `plugin/normalize.go`).

use std::fmt;

use hickory_proto::rr::Name;
use ipnet::IpNet;

use super::config::{BlockKey, Scheme};
use crate::{
    corefile::{Error, Token},
    presentation::{read_name, written},
    zone::{is_reverse, reverse_zones},
};

/// The longest that a zone may be as it is written.
const LONGEST: usize = 255;

/// The keys that one word stands for: more than one where it is an address range that is not cut at a label.
///
/// # Errors
/// When it is no zone, or its scheme or port are none.
pub(crate) fn read(token: &Token, default_port: u16) -> Result<Vec<BlockKey>, Error> {
    let (scheme, rest) = scheme(token)?;
    let (zone, port) = split_port(token, rest)?;
    let port = port.or_else(|| scheme.port()).unwrap_or(default_port);
    let key = |zone| BlockKey { scheme, zone, port };
    Ok(zones(token, zone)?.into_iter().map(key).collect())
}

fn scheme(token: &Token) -> Result<(Scheme, &str), Error> {
    let Some((scheme, rest)) = token.text.split_once("://") else {
        return Ok((Scheme::Dns, &token.text));
    };
    let instead = match scheme.to_ascii_lowercase().as_str() {
        "dns" => return Ok((Scheme::Dns, rest)),
        "tls" => return Ok((Scheme::Tls, rest)),
        "https" => return Ok((Scheme::Https, rest)),
        "quic" => "use tls:// (DNS over TLS)",
        "https3" => "use https:// (DNS over HTTPS), which such clients speak too",
        "grpc" => "use tls:// or https://",
        _ => "use dns://, tls:// or https://",
    };
    Err(token.error(format!("{scheme}:// is not served: {instead}")))
}

/// A zone and its port: what is behind the last colon, if it is a number.
fn split_port<'a>(token: &Token, text: &'a str) -> Result<(&'a str, Option<u16>), Error> {
    match text.rsplit_once(':') {
        Some((_, "")) => Err(token.error(format!("expecting data after last colon: \"{text}\""))),
        Some((zone, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = port.parse().map_err(|_| token.error(format!("'{port}' is not a port")))?;
            Ok((zone, Some(number)))
        }
        _ => Ok((text, None)),
    }
}

/// The zones that one word stands for: a name, or the reverse zones of an address range. A range that ends within a label is
/// the zones of its parts, which are 128 at most.
///
/// # Errors
/// When it is neither.
pub fn zones(token: &Token, text: &str) -> Result<Vec<Name>, Error> {
    if let Ok(range) = text.parse::<IpNet>() {
        return Ok(reverse_zones(range));
    }
    if text.len() > LONGEST {
        return Err(token.error(format!("specified zone is too long: {} > {LONGEST}", text.len())));
    }
    let text = if text.is_empty() { "." } else { text };
    let name = read_name(text, &Name::root());
    let name = name.ok_or_else(|| token.error(format!("zone is not a valid domain name: {text}")))?;
    Ok(vec![name.to_lowercase()])
}

/// Whether a zone's name is of the syntax that RFC 1035 2.3.1 prefers; those of addresses need not be.
pub(super) fn is_preferred(zone: &Name) -> bool {
    let label = |label: &[u8]| {
        label.first().is_some_and(u8::is_ascii_alphabetic)
            && label.last().is_some_and(u8::is_ascii_alphanumeric)
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    is_reverse(zone) || zone.iter().all(label)
}

/// A zone's name for people: letters beyond ASCII as such.
pub(super) fn readable(zone: &Name) -> String {
    let labels = zone.iter().map(|label| String::from_utf8_lossy(label));
    labels.fold(String::new(), |text, label| text + &label + ".")
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, written(&self.zone), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::Position;

    fn keys(text: &str) -> Result<Vec<String>, String> {
        let token = Token { text: text.to_owned(), at: Position { file: "Corefile".into(), line: 7 } };
        let keys = read(&token, 1053).map_err(|error| error.message)?;
        Ok(keys.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_have_scheme_zone_and_port() {
        for (text, want) in [
            (".", "dns://.:1053"),
            (".:53", "dns://.:53"),
            (":53", "dns://.:53"),
            ("Example.ORG", "dns://example.org.:1053"),
            ("example.org.:5353", "dns://example.org.:5353"),
            ("dns://a.test", "dns://a.test.:1053"),
            ("tls://.", "tls://.:853"),
            ("tls://a.test:8853", "tls://a.test.:8853"),
            ("https://.", "https://.:443"),
            ("10.0.0.0/8", "dns://10.in-addr.arpa.:1053"),
            ("10.0.0.0/24:53", "dns://0.0.10.in-addr.arpa.:53"),
            ("10.0.0.7/24", "dns://0.0.10.in-addr.arpa.:1053"),
            ("0.0.0.0/0", "dns://in-addr.arpa.:1053"),
            ("10.0.0.1/32", "dns://1.0.0.10.in-addr.arpa.:1053"),
            ("2001:db8::/32", "dns://8.b.d.0.1.0.0.2.ip6.arpa.:1053"),
            ("2001:db8::/32:53", "dns://8.b.d.0.1.0.0.2.ip6.arpa.:53"),
            ("_tcp.a.test", "dns://_tcp.a.test.:1053"),
            ("a-.*.test", "dns://a-.*.test.:1053"),
            (r"a\.b.test", r"dns://a\.b.test.:1053"),
            ("MÜ a", r"dns://m\195\156\ a.:1053"),
        ] {
            assert_eq!(keys(text), Ok(vec![want.to_owned()]), "{text}");
        }
    }

    #[test]
    fn ranges_that_end_within_a_label_are_several_zones() {
        let many = keys("10.0.0.0/17:53").unwrap();
        assert_eq!((many.len(), many[127].as_str()), (128, "dns://127.0.10.in-addr.arpa.:53"));
        assert_eq!(keys("10.0.0.32/27").unwrap().len(), 32);
        let v6 = keys("tls://fd00::/7").unwrap();
        assert_eq!(v6, ["tls://c.f.ip6.arpa.:853", "tls://d.f.ip6.arpa.:853"]);
        assert_eq!(keys("2001:db8::/33").unwrap().len(), 8);
    }

    #[test]
    fn what_is_no_key() {
        for (text, want) in [
            ("a.test:", "expecting data after last colon: \"a.test:\""),
            ("a.test:65536", "'65536' is not a port"),
            ("a..test", "zone is not a valid domain name: a..test"),
            ("..", "zone is not a valid domain name: .."),
            (r"a\9", r"zone is not a valid domain name: a\9"),
            (r"a\999", r"zone is not a valid domain name: a\999"),
            ("quic://.", "quic:// is not served: use tls:// (DNS over TLS)"),
            ("grpc://.", "grpc:// is not served: use tls:// or https://"),
            ("foo://.", "foo:// is not served: use dns://, tls:// or https://"),
        ] {
            assert_eq!(keys(text), Err(want.to_owned()), "{text}");
        }
        assert!(keys("https3://.").unwrap_err().contains("https://"));
        assert!(keys(&"a".repeat(64)).unwrap_err().starts_with("zone is not a valid domain name"));
        assert_eq!(keys(&"a.".repeat(128)).unwrap_err(), "specified zone is too long: 256 > 255");
    }

    #[test]
    fn preferred_names() {
        let preferred = |text: &str| is_preferred(&read_name(text, &Name::root()).unwrap());
        for good in [".", "a", "example.org", "x-1.test", "10.in-addr.arpa", "0.8.ip6.arpa"] {
            assert!(preferred(good), "{good}");
        }
        for odd in ["1and1.test", "_tcp.test", "a-.test", "münchen.test", "10.0.0.1", "*.test", "a b"] {
            assert!(!preferred(odd), "{odd}");
        }
    }
}
