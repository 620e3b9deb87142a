//! What is said at the start, and by `-version` and `-plugins`, in CoreDNS's form.

use callsign_dns::{
    block::{Config, Scheme},
    plugins::{How, TABLE},
};

pub(crate) use callsign_dns::VERSION;

/// The commit this was built from, where the build says so.
pub(crate) const REVISION: &str = match option_env!("CALLSIGN_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// `CoreDNS-…`, and platform, language and commit.
pub(crate) fn version() -> String {
    // Go's names of processors.
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("CoreDNS-{VERSION}\n{}/{processor}, rust, {REVISION}", std::env::consts::OS)
}

/// The plugins that may stand in a file.
pub(crate) fn plugins() -> String {
    let served = TABLE.iter().filter(|entry| !matches!(entry.how, How::Refused(_)));
    let mut names: Vec<&str> = served.map(|entry| entry.name).collect();
    names.sort_unstable();
    let names: Vec<String> = names.iter().map(|name| format!("  dns.{name}\n")).collect();
    format!(
        "Server types:\n  dns\n\nCaddyfile loaders:\n  flag\n  default\n\nOther plugins:\n{}",
        names.concat()
    )
}

/// A line for each zone and address: `.:53`, `tls://example.org.:853 on 10.0.0.1`.
pub(crate) fn zones(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for block in &config.blocks {
        for key in &block.keys {
            let scheme = match key.scheme {
                Scheme::Dns => "",
                Scheme::Tls => "tls://",
                Scheme::Https => "https://",
            };
            let zone = format!("{scheme}{}:{}", key.zone.to_ascii(), key.port);
            if block.bind.is_empty() {
                lines.push(zone);
            } else {
                lines.extend(block.bind.iter().map(|ip| format!("{zone} on {ip}")));
            }
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_plugins_have_coredns_form() {
        let text = version();
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("CoreDNS-1."), "{first}");
        assert_eq!(second.split(", ").count(), 3, "{second}");
        let plugins = plugins();
        assert!(plugins.contains("\n  dns.kubernetes\n") && plugins.starts_with("Server types:\n  dns\n"));
        assert!(!plugins.contains("dns.route53"));
    }
}
