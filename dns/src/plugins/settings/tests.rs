use std::{num::NonZeroUsize, time::Duration};

use crate::{
    block::{BlockConfig, Health, Ready, Reload, Timeouts},
    server::ClientAuth,
    testing,
};

/// The block of a file with these directives.
fn block(directives: &str) -> BlockConfig {
    let config = testing::config(&format!(".:53 {{\n{directives}\n}}"));
    config.unwrap_or_else(|error| panic!("{error}")).blocks.remove(0)
}

/// Why a block with these directives, from line 2, is refused.
fn refused(directives: &str) -> String {
    match testing::config(&format!(".:53 {{\n{directives}\n}}")) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn addresses_and_interfaces_are_bound() {
    let ips = |directives| block(directives).bind.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ips("bind 10.0.0.1 fd00::1\nbind 10.0.0.2 10.0.0.1"), ["10.0.0.1", "fd00::1", "10.0.0.2"]);
    assert!(ips("bind lo").contains(&"127.0.0.1".to_owned()));
    assert_eq!(ips("bind lo 10.0.0.1 {\n except lo\n}"), ["10.0.0.1"]);
    assert_eq!(
        refused("bind nosuch0"),
        "plugin/bind: Corefile:2 - Error during parsing: not a valid IP address or interface name: \"nosuch0\""
    );
    assert!(refused("bind lo {\n except lo\n}").contains("no address is left"));
    assert!(refused("bind").contains("at least one address"));
    assert!(refused("bind lo {\n only lo\n}").starts_with("plugin/bind: Corefile:3 - "));
}

#[test]
fn limits_have_bounds() {
    assert_eq!(block("bufsize").payload, Some(1232));
    assert_eq!(block("bufsize 4096").payload, Some(4096));
    for bad in ["511", "4097", "x", "-1", "512 512"] {
        assert!(refused(&format!("bufsize {bad}")).starts_with("plugin/bufsize: Corefile:2 - "), "{bad}");
    }
    assert_eq!(block("multisocket 3").sockets, Some(3));
    assert!(block("multisocket").sockets.is_some_and(|count| count > 0));
    assert!(refused("multisocket 0").contains("num sockets can not be zero or negative: 0"));
    assert!(refused("multisocket -2").contains("num sockets can not be zero or negative: -2"));
    assert!(refused("multisocket 1025").contains("num sockets exceeds maximum (1024): 1025"));
    assert!(block("debug").debug && !block("").debug);
    let timeouts = block("timeouts {\n read 10s\n write 20\n idle 1h\n max_queries 7\n}").timeouts;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let queries = NonZeroUsize::new(7);
    assert_eq!(timeouts, Timeouts { read: seconds(10), write: seconds(20), idle: seconds(3600), queries });
    assert!(refused("timeouts").contains("no timeouts or limits specified"));
    assert!(refused("timeouts {\n read 0s\n}").starts_with("plugin/timeouts: Corefile:3 - "));
    assert!(refused("timeouts {\n rest 5s\n}").contains("unknown option: 'rest'"));
    assert_eq!(block("https {\n max_connections 9\n}").https_connections, Some(9));
    assert!(refused("https {\n max_connections -1\n}").contains("non-negative"));
}

#[test]
fn pages_have_addresses() {
    let health = |address: &str, seconds| Health {
        address: address.to_owned(),
        lameduck: Duration::from_secs(seconds),
    };
    assert_eq!(block("health").health, Some(health(":8080", 0)));
    assert_eq!(block("health [::1]:81 {\n lameduck 5s\n}").health, Some(health("[::1]:81", 5)));
    assert!(refused("health 8080").contains("missing port"));
    assert!(refused("health ::1:80").contains("too many colons"));
    assert!(refused("health {\n lameduck 5\n}").contains("unable to parse lameduck duration value: '5'"));
    let ready = |address: &str, continuously| Ready { address: address.to_owned(), continuously };
    assert_eq!(block("ready").ready, Some(ready(":8181", false)));
    assert_eq!(block("ready :1 {\n monitor continuously\n}").ready, Some(ready(":1", true)));
    assert_eq!(block("ready {\n monitor until-ready\n}").ready, Some(ready(":8181", false)));
    assert!(refused("ready {\n monitor never\n}").contains("monitor type 'never' not supported"));
    assert!(refused("ready\nready").contains("only be used once"));
    assert_eq!(block("prometheus").prometheus.as_deref(), Some("localhost:9153"));
    assert_eq!(block("prometheus :9153 {\n runtime_metrics\n}").prometheus.as_deref(), Some(":9153"));
    assert!(refused("prometheus {\n tls web.yml\n}").contains("plain HTTP"));
}

#[test]
fn reload_keeps_its_jitter_within_half_of_its_interval() {
    let reload = |interval, jitter| {
        Some(Reload { interval: Duration::from_millis(interval), jitter: Duration::from_millis(jitter) })
    };
    assert_eq!(block("reload").reload, reload(30_000, 15_000));
    assert_eq!(block("reload 5s").reload, reload(5_000, 2_500));
    assert_eq!(block("reload 2s 1s").reload, reload(2_000, 1_000));
    assert_eq!(block("reload off").reload, None);
    assert!(refused("reload 1s").contains("interval value must be greater or equal to 2s"));
    assert!(refused("reload 10s 500ms").contains("jitter value must be greater or equal to 1s"));
    assert!(refused("reload 10").contains("invalid duration"));
}

#[test]
fn certificates_are_named() {
    let tls = block("tls cert.pem key.pem").tls.unwrap();
    assert_eq!((tls.authorities, tls.client_auth), (None, ClientAuth::None));
    let tls = block("tls cert.pem key.pem ca.pem {\n client_auth require_and_verify\n}").tls.unwrap();
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
    assert_eq!(tls.authorities.unwrap().to_str(), Some("ca.pem"));
    assert!(refused("tls cert.pem").starts_with("plugin/tls: Corefile:2 - "));
    assert!(refused("tls a b {\n client_auth perhaps\n}").contains("unknown authentication type 'perhaps'"));
}
