//! Where to forward to: `10.0.0.10`, `10.0.0.10:1053`, `[2001:db8::1]:53`, `dns://…`, `tls://9.9.9.9%dns.quad9.net:853`, or
//! a file in the syntax of resolv.conf (`coredns` `plugin/pkg/parse/host.go`).

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::Path,
};

use crate::corefile::{Error, Token};

/// The most upstreams of a directive.
pub(super) const MOST: usize = 15;
/// A resolv.conf is short; this is a bound on what a wrong file name costs.
const LARGEST_FILE: u64 = 1 << 20;

const DNS_PORT: u16 = 53;
const TLS_PORT: u16 = 853;

/// One upstream, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
    /// The name in its certificate, where it is written with it.
    pub(super) server_name: Option<String>,
}

/// The upstreams that the words stand for.
///
/// # Errors
/// When a word is neither an address nor a file that can be read, or there is no upstream or too many.
pub(super) fn read(words: &[Token]) -> Result<Vec<Target>, Error> {
    let mut targets = Vec::new();
    for word in words {
        let (scheme, host) = match word.text.split_once("://") {
            None => ("dns", word.text.as_str()),
            Some((scheme, host)) => (scheme, host),
        };
        if host.is_empty() {
            return Err(word.error(format!("invalid address: \"{}\"", word.text)));
        }
        match scheme {
            "dns" | "tls" => {}
            other => {
                return Err(word.error(format!(
                    "'{other}' is not supported as a destination protocol in forward: {}",
                    word.text
                )));
            }
        }
        match parse(host, scheme == "tls") {
            Some(target) => targets.push(target),
            None => targets.extend(from_file(word, host)?),
        }
    }
    match (targets.len(), words.last()) {
        (0, Some(word)) => Err(word.error("no nameservers found")),
        (count, Some(word)) if count > MOST => {
            Err(word.error(format!("more than {MOST} TOs configured: {count}")))
        }
        _ => Ok(targets),
    }
}

/// An address with or without a port, and a name or an interface behind a percent sign.
fn parse(host: &str, tls: bool) -> Option<Target> {
    let port = if tls { TLS_PORT } else { DNS_PORT };
    if let Some(address) = address(host) {
        return Some(Target { address: SocketAddr::new(address, port), tls, server_name: None });
    }
    let (head, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address are none before a port, unless it is in brackets.
        Some((head, digits)) if !head.contains(':') || head.contains(']') || head.contains('%') => {
            (head, digits.parse().ok()?)
        }
        _ => (host, port),
    };
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    match head.split_once('%') {
        None => {
            Some(Target { address: SocketAddr::new(address(&bare(head))?, port), tls, server_name: None })
        }
        Some((ip, zone)) => {
            let (ip, zone) = (address(&bare(ip))?, bare(zone));
            match (ip, interface(&zone)) {
                (IpAddr::V6(v6), Some(scope)) if is_link_local(v6) => {
                    let address = SocketAddrV6::new(v6, port, 0, scope).into();
                    Some(Target { address, tls, server_name: None })
                }
                _ => Some(Target {
                    address: SocketAddr::new(ip, port),
                    tls,
                    server_name: tls.then_some(zone).filter(|zone| !zone.is_empty()),
                }),
            }
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local()
}

fn interface(name: &str) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    name.parse().ok().or_else(|| nix::net::if_::if_nametoindex(name).ok())
}

fn from_file(word: &Token, path: &str) -> Result<Vec<Target>, Error> {
    let failed = |why: String| word.error(format!("not an IP address or file: \"{path}\": {why}"));
    let file = Path::new(path);
    let about = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    if about.len() > LARGEST_FILE || !about.is_file() {
        return Err(failed("not a file in the syntax of resolv.conf".to_owned()));
    }
    let text = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
    Ok(nameservers(&String::from_utf8_lossy(&text)))
}

/// The `nameserver` lines of a resolv.conf (resolv.conf(5)); lines that say anything else are not for us.
pub(super) fn nameservers(text: &str) -> Vec<Target> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        parse(words.next()?, false).filter(|target| target.address.port() == DNS_PORT)
    };
    text.lines().filter_map(address).collect()
}
