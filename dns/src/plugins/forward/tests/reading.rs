use super::*;
use crate::plugins::forward::target;

fn error(text: &str) -> String {
    testing::config(&format!(".:53 {{\n{text}\n}}")).unwrap_err().to_string()
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_line() {
    for (text, line, message) in [
        ("forward", 2, "Wrong argument count or unexpected line ending after 'forward'"),
        ("forward .", 2, "Wrong argument count or unexpected line ending after '.'"),
        (
            "forward . a27.0.0.1",
            2,
            "not an IP address or file: \"a27.0.0.1\": No such file or directory (os error 2)",
        ),
        (
            "forward . 10.0.0.1:99999",
            2,
            "not an IP address or file: \"10.0.0.1:99999\": No such file or directory (os error 2)",
        ),
        ("forward . /", 2, "not an IP address or file: \"/\": not a file in the syntax of resolv.conf"),
        (
            "forward . https://10.0.0.1",
            2,
            "'https' is not supported as a destination protocol in forward: https://10.0.0.1",
        ),
        ("forward . tls://", 2, "invalid address: \"tls://\""),
        (
            "forward . /dev/null",
            2,
            "not an IP address or file: \"/dev/null\": not a file in the syntax of resolv.conf",
        ),
        ("forward . 10.0.0.1 {\nbogus\n}", 3, "unknown property 'bogus'"),
        (
            "forward . 10.0.0.1 {\nexcept\n}",
            3,
            "Wrong argument count or unexpected line ending after 'except'",
        ),
        (
            "forward . 10.0.0.1 {\nforce_tcp yes\n}",
            3,
            "Wrong argument count or unexpected line ending after 'yes'",
        ),
        ("forward . 10.0.0.1 {\nmax_fails -1\n}", 3, "can't be negative: -1"),
        ("forward . 10.0.0.1 {\nmax_fails many\n}", 3, "'many' is not a number"),
        ("forward . 10.0.0.1 {\nmax_concurrent many\n}", 3, "'many' is not a number"),
        ("forward . 10.0.0.1 {\nexpire 10\n}", 3, "invalid duration '10': want for example 30s, 500ms, 1h"),
        ("forward . 10.0.0.1 {\npolicy fastest\n}", 3, "unknown policy 'fastest'"),
        (
            "forward . 10.0.0.1 {\nhealth_check\n}",
            3,
            "Wrong argument count or unexpected line ending after 'health_check'",
        ),
        ("forward . 10.0.0.1 {\nhealth_check 5s often\n}", 3, "health_check: unknown option often"),
        (
            "forward . 10.0.0.1 {\nhealth_check 5s domain\n}",
            3,
            "Wrong argument count or unexpected line ending after 'domain'",
        ),
        ("forward . 10.0.0.1 {\nnext NOSUCH\n}", 3, "NOSUCH is not a valid rcode"),
        ("forward . 10.0.0.1 {\nfailover NOERROR\n}", 3, "NOERROR is not a valid rcode"),
        (
            "forward . tls://10.0.0.1 {\ntls a b c d\n}",
            3,
            "Wrong argument count or unexpected line ending after 'd'",
        ),
        ("forward . tls://10.0.0.1 {\ntls /no/such/ca.pem\n}", 3, "/no/such/ca.pem: "),
        (
            "forward . tls://10.0.0.1%a.example {\ntls_servername b.example\n}",
            3,
            "both forward ('b.example') and proxy level ('a.example') TLS servernames are set for upstream proxy '10.0.0.1:853'",
        ),
    ] {
        let told = error(text);
        let wanted = format!("plugin/forward: Corefile:{line} - Error during parsing: {message}");
        assert!(told == wanted || (message.ends_with(": ") && told.starts_with(&wanted)), "{told}\n{wanted}");
    }
    let many: Vec<String> = (1..=16).map(|at| format!("10.0.0.{at}")).collect();
    assert!(error(&format!("forward . {}", many.join(" "))).ends_with("more than 15 TOs configured: 16"));
}

#[tokio::test]
async fn upstreams_are_written_in_many_ways() {
    for (text, address, tls, name) in [
        ("10.0.0.1", "10.0.0.1:53", false, None),
        ("10.0.0.1:1053", "10.0.0.1:1053", false, None),
        ("dns://10.0.0.1", "10.0.0.1:53", false, None),
        ("2001:db8::1", "[2001:db8::1]:53", false, None),
        ("[2001:db8::1]", "[2001:db8::1]:53", false, None),
        ("[2001:db8::1]:1053", "[2001:db8::1]:1053", false, None),
        ("tls://9.9.9.9", "9.9.9.9:853", true, None),
        ("tls://9.9.9.9:8853", "9.9.9.9:8853", true, None),
        ("tls://9.9.9.9%dns.quad9.net", "9.9.9.9:853", true, Some("dns.quad9.net")),
        ("tls://9.9.9.9%dns.quad9.net:10853", "9.9.9.9:10853", true, Some("dns.quad9.net")),
        ("tls://2620:fe::fe%dns.quad9.net", "[2620:fe::fe]:853", true, Some("dns.quad9.net")),
        ("tls://[2620:fe::fe%dns.quad9.net]:853", "[2620:fe::fe]:853", true, Some("dns.quad9.net")),
        ("fe80::1%1", "[fe80::1%1]:53", false, None),
    ] {
        let token = crate::corefile::Token {
            text: text.to_owned(),
            at: crate::corefile::Position { file: "f".into(), line: 1 },
        };
        let read = target::read(std::slice::from_ref(&token)).unwrap_or_else(|error| panic!("{error}"));
        let wanted =
            target::Target { address: address.parse().unwrap(), tls, server_name: name.map(str::to_owned) };
        assert_eq!(read, [wanted], "{text}");
    }
}

#[tokio::test]
async fn nameservers_are_read_from_a_file() {
    let fake = Fake::new(Manner::Good).await;
    let text = "# nameserver 10.0.0.9\n; comment\nsearch example.org\noptions ndots:5\n\
        nameserver 10.0.0.1\n  nameserver\t2001:db8::1 trailing\nnameserver\nnameserver bogus\n\
        nameserver fe80::1%1\nnameserverx 10.0.0.2\r\nnameserver 10.0.0.3\r\n";
    let read: Vec<String> =
        target::nameservers(text).iter().map(|target| target.address.to_string()).collect();
    assert_eq!(read, ["10.0.0.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53", "10.0.0.3:53"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let block = format!(".:53 {{\n forward . {} {}\n}}", file.display(), fake.address);
    std::fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    let config = testing::config(&block).unwrap();
    let lines = config.blocks[0].chain[0].describe();
    assert_eq!(lines[0], format!("forward . 127.0.0.1:53 {} {{", fake.address));
    let block = format!(".:53 {{\n forward . {}\n}}", file.display());
    std::fs::write(&file, "search example.org\n").unwrap();
    let error = testing::config(&block).unwrap_err().to_string();
    assert!(error.ends_with("Corefile:2 - Error during parsing: no nameservers found"), "{error}");
}

#[tokio::test]
async fn what_was_understood_can_be_read_again() {
    for text in [
        "forward . 10.0.0.1 [2001:db8::1]:1053",
        "forward example.org tls://9.9.9.9%dns.quad9.net:853 tls://2620:fe::fe%dns.quad9.net {\nexpire 1m\npolicy sequential\n}",
        "forward . 10.0.0.1 {\nexcept a.example b.example\nforce_tcp\nnext NXDOMAIN\nmax_concurrent 1000\n}",
    ] {
        let read = |text: &str| {
            let config =
                testing::config(&format!(".:53 {{\n{text}\n}}")).unwrap_or_else(|error| panic!("{error}"));
            config.blocks[0].chain[0].describe()
        };
        let lines = read(text);
        assert_eq!(read(&lines.join("\n")), lines, "{text}");
    }
}
