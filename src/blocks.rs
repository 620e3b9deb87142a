//! The flags of `serve`, `dns` and `sandbox` as server blocks: there is one way to serve, a Corefile's.
//!
//! The cluster's names have blocks of their own, so that other names are refused without an upstream; with one, a block of the
//! root forwards and caches them.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use callsign_dns::{
    block::Config,
    corefile::{Corefile, Error, Files},
};

use crate::args::{DnsArgs, PodNames};

/// How long answers of others are kept, at most, seconds: CoreDNS's default Corefile says so.
const CACHE: u32 = 30;

/// The blocks of these flags, on these addresses.
///
/// # Errors
/// When a flag's value makes no sense in a Corefile: a domain that is no name.
pub(crate) fn of_flags(args: &DnsArgs, listen: &[SocketAddr]) -> Result<Config, Error> {
    let corefile = Corefile::parse("flags", &text(args, listen), &Nothing)?;
    Config::read(&corefile, 53)
}

fn text(args: &DnsArgs, listen: &[SocketAddr]) -> String {
    let mut ports: Vec<u16> = listen.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut text = String::new();
    for port in ports {
        let ips: Vec<IpAddr> = listen.iter().filter(|at| at.port() == port).map(SocketAddr::ip).collect();
        let bind = bind(&ips);
        let domain = &args.cluster_domain;
        let (ttl, pods) = (args.ttl, pods(args.pods));
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{domain}:{port} in-addr.arpa:{port} ip6.arpa:{port} {{\n{bind}    errors\n    prometheus\n    \
             loadbalance\n    kubernetes {domain} in-addr.arpa ip6.arpa {{\n        pods {pods}\n        \
             ttl {ttl}\n{fallthrough}    }}\n{forward}}}\n",
            fallthrough =
                if args.upstream.is_empty() { "" } else { "        fallthrough in-addr.arpa ip6.arpa\n" },
            forward = forward(args),
        );
        if !args.upstream.is_empty() {
            let _ = write!(
                text,
                ".:{port} {{\n{bind}    errors\n    prometheus\n    loadbalance\n{forward}}}\n",
                forward = forward(args),
            );
        }
    }
    text
}

/// Every address needs no line.
fn bind(ips: &[IpAddr]) -> String {
    let wildcards = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    if wildcards.iter().all(|wildcard| ips.contains(wildcard)) {
        return String::new();
    }
    let ips: Vec<String> = ips.iter().map(ToString::to_string).collect();
    format!("    bind {}\n", ips.join(" "))
}

fn forward(args: &DnsArgs) -> String {
    if args.upstream.is_empty() {
        return String::new();
    }
    let upstreams: Vec<String> = args.upstream.iter().map(ToString::to_string).collect();
    let upstreams = upstreams.join(" ");
    format!(
        "    cache {CACHE}\n    forward . {upstreams} {{\n        policy sequential\n        failover SERVFAIL\n    }}\n"
    )
}

fn pods(names: PodNames) -> &'static str {
    match names {
        PodNames::Disabled => "disabled",
        PodNames::Insecure => "insecure",
        PodNames::Verified => "verified",
    }
}

/// Flags import nothing.
struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn glob(&self, _: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}
