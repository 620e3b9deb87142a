//! Random files: whatever stands in one, it is read or refused, and what is understood of it means the same.

use proptest::prelude::*;

use crate::{
    block::Config,
    corefile::Corefile,
    plugins::{How, TABLE},
    testing::NoFiles,
};

/// Words that stand in options, right and wrong ones.
const WORDS: &[&str] = &[
    ".",
    "a.test",
    "b.a.test.",
    "in-addr.arpa",
    "10.0.0.0/8",
    "10.0.0.0/17",
    "fd00::/7",
    "127.0.0.1",
    "::1",
    "192.0.2.53:54",
    "tls://192.0.2.53",
    "tls://192.0.2.53%dns.test",
    ":9153",
    "localhost:8080",
    "/nonexistent",
    "0",
    "1",
    "5",
    "30",
    "512",
    "3600",
    "65535",
    "65536",
    "99999999999999999999",
    "-1",
    "5s",
    "500ms",
    "1h30m",
    "1000000h",
    "1d",
    "10%",
    "101%",
    "A",
    "AAAA",
    "ANY",
    "MX",
    "TYPE65280",
    "IN",
    "CH",
    "NOERROR",
    "NXDOMAIN",
    "SERVFAIL",
    "yes",
    "true",
    "on",
    "off",
    "*",
    "(.*)\\.test",
    "^x$",
    "(",
    "[",
    "{1}.test",
    "{name}",
    "\"\"",
    "\"a b\"",
    "\"{{ .Name }} 60 IN A 192.0.2.1\"",
    "\"{{\"",
    "\"x () y\"",
    "\"name() == 'a.test.'\"",
    "é",
    "\"\\\"\"",
    "name",
    "exact",
    "suffix",
    "prefix",
    "substring",
    "regex",
    "stop",
    "continue",
    "answer",
    "auto",
    "type",
    "class",
    "edns0",
    "local",
    "nsid",
    "subnet",
    "set",
    "append",
    "replace",
    "unset",
    "ttl",
    "rcode",
    "cname",
    "0xffee",
    "allow",
    "block",
    "drop",
    "filter",
    "net",
    "to",
    "all",
    "success",
    "denial",
    "error",
    "random",
    "round_robin",
    "sequential",
    "weighted",
    "aa",
    "ra",
    "rd",
    "query",
    "response",
    "disabled",
    "insecure",
    "verified",
    "until-ready",
    "continuously",
    "nocert",
    "verify",
    "immediate",
    "x=y",
    "x in (y,z)",
    "local-host",
    "64:ff9b::/96",
    "warning",
    "stale",
    "servfail",
    "2",
    "9984",
];

/// The first words of options.
const OPTIONS: &[&str] = &[
    "fallthrough",
    "ttl",
    "success",
    "denial",
    "servfail",
    "prefetch",
    "serve_stale",
    "keepttl",
    "disable",
    "lameduck",
    "monitor",
    "tls",
    "tls_servername",
    "policy",
    "max_fails",
    "expire",
    "max_concurrent",
    "force_tcp",
    "prefer_udp",
    "health_check",
    "except",
    "failover",
    "next",
    "failfast_all_unhealthy_upstreams",
    "pods",
    "namespaces",
    "labels",
    "namespace_labels",
    "noendpoints",
    "ignore",
    "endpoint",
    "kubeconfig",
    "endpoint_pod_names",
    "apex",
    "headless",
    "class",
    "answer",
    "match",
    "rcode",
    "authority",
    "additional",
    "ederror",
    "name",
    "type",
    "edns0",
    "expr",
    "to",
    "from",
    "reload",
    "no_reverse",
    "192.0.2.1",
    "allow",
    "block",
    "read",
    "write",
    "idle",
    "max_queries",
    "max_connections",
    "client_auth",
    "keylog",
    "runtime_metrics",
    "consolidate",
    "stacktrace",
    "show_first",
    "prefix",
    "translate_all",
    "allow_ipv4",
    "set",
    "clear",
    "query",
    "response",
    "startup_timeout",
    "upstream",
    "transfer",
    "zones",
    "fallback",
    "except",
    "health",
    "data",
    "x",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(WORDS).prop_map(str::to_owned),
        1 => "[a-z0-9./:%{}()=-]{1,10}".prop_map(|text| format!("\"{text}\"")),
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..5).prop_map(|words| words.join(" "))
}

fn option() -> impl Strategy<Value = String> {
    let nested = prop::collection::vec((prop::sample::select(OPTIONS), words()), 0..2);
    (prop::sample::select(OPTIONS), words(), nested).prop_map(|(name, words, nested)| {
        let inner: String = nested.iter().map(|(name, words)| format!("   {name} {words}\n")).collect();
        if inner.is_empty() {
            format!("  {name} {words}\n")
        } else {
            format!("  {name} {words} {{\n{inner}  }}\n")
        }
    })
}

fn directive() -> impl Strategy<Value = String> {
    let names: Vec<&str> = (TABLE.iter())
        .filter(|entry| !matches!(entry.how, How::Refused(_)))
        .map(|entry| entry.name)
        .collect();
    (prop::sample::select(names), words(), prop::collection::vec(option(), 0..4)).prop_map(
        |(name, words, options)| {
            let options = options.concat();
            if options.is_empty() {
                format!(" {name} {words}\n")
            } else {
                format!(" {name} {words} {{\n{options} }}\n")
            }
        },
    )
}

/// One directive has better chances to be right than several.
fn file() -> impl Strategy<Value = String> {
    (prop_oneof![4 => 1..2_usize, 1 => 2..4_usize])
        .prop_flat_map(|count| prop::collection::vec(directive(), count))
        .prop_map(|directives| format!("a.test 10.0.0.0/8 {{\n{}}}\n", directives.concat()))
}

fn read(text: &str) -> Result<Config, crate::corefile::Error> {
    Config::read(&Corefile::parse("Corefile", text, &NoFiles)?, 53)
}

fn described(config: &Config) -> String {
    config.blocks.iter().flat_map(|block| block.describe()).map(|line| line + "\n").collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_understood_means_the_same(text in file()) {
        match read(&text) {
            Err(error) => prop_assert!(error.to_string().contains("Corefile:"), "{}\n{}", error, text),
            Ok(config) => {
                let shown = described(&config);
                // A zone with a space in its name has no use; its name is shown as logs have it.
                prop_assume!(!shown.contains("\\ "));
                let again = read(&shown).map_err(|error| {
                    TestCaseError::fail(format!("{error}\n{text}\nwas understood as\n{shown}"))
                })?;
                prop_assert_eq!(described(&again), shown, "{}", text);
            }
        }
    }
}
