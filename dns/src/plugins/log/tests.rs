use hickory_proto::rr::RecordType;
use regex::Regex;

use crate::testing::{self, Lines};

const VIP: &str = "Vip.ns.svc.cluster.local.";
const NOT_THERE: &str = "nosuch.ns.svc.cluster.local.";

/// What both ways log of a question, and whether the quick way answers it.
async fn logged(log: &str, name: &str, qtype: RecordType) -> (bool, Vec<String>) {
    let router = testing::router(&format!(".:53 {{\n {log}\n kubernetes cluster.local\n}}"));
    let query = testing::query(name, qtype);
    let lines = Lines::default();
    let _guard = lines.listen();
    let quick = testing::quickly(&router, &query).is_some();
    if !quick {
        testing::slowly(&router, &query).await;
    }
    (quick, lines.take())
}

#[tokio::test]
async fn the_common_line_is_corednss() {
    let (_, lines) = logged("log", VIP, RecordType::A).await;
    let line = Regex::new(
        r#"^INFO plugin/log: 10\.240\.0\.1:40212 - 7 "A IN vip\.ns\.svc\.cluster\.local\. udp 53 false 1232" NOERROR qr,aa,rd 82 0\.0*[1-9]\d*s$"#,
    );
    assert!(line.unwrap().is_match(&lines[0]), "{lines:?}");
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn placeholders_are_filled_in() {
    let format = "log . {proto}|{local}|{>opcode}|{>do}|{/some/label}|{unknown}|{>x}|{rcode}";
    let (quick, lines) = logged(format, NOT_THERE, RecordType::A).await;
    assert_eq!(lines, ["INFO plugin/log: udp|10.96.0.10|0|false|-|{unknown}|-|NXDOMAIN"]);
    assert!(!quick, "metadata needs the slow way");
}

#[tokio::test]
async fn classes_decide_what_is_logged_and_which_way_is_taken() {
    for (log, name, qtype, wanted) in [
        ("log", VIP, RecordType::A, (false, 1)),
        ("log . {\n class error\n }", VIP, RecordType::A, (true, 0)),
        ("log . {\n class error\n }", NOT_THERE, RecordType::A, (true, 0)),
        ("log . {\n class denial\n }", VIP, RecordType::A, (true, 0)),
        ("log . {\n class denial\n }", NOT_THERE, RecordType::A, (true, 1)),
        ("log . {\n class denial error\n }", VIP, RecordType::MX, (true, 1)),
        ("log . {\n class success\n }", NOT_THERE, RecordType::A, (false, 0)),
        ("log . {\n class error all\n }", VIP, RecordType::A, (false, 1)),
        ("log example.org example.net", VIP, RecordType::A, (true, 0)),
        ("log example.org cluster.LOCAL", VIP, RecordType::A, (false, 1)),
    ] {
        let (quick, lines) = logged(log, name, qtype).await;
        assert_eq!((quick, lines.len()), wanted, "{log} {name} {qtype}");
    }
}

#[tokio::test]
async fn both_ways_log_the_same_line() {
    let format = "{>id}|{type}|{name}|{size}|{>bufsize}|{rcode}|{>rflags}|{rsize}";
    let (quick, denial) =
        logged(&format!("log . {format} {{\n class denial\n }}"), NOT_THERE, RecordType::A).await;
    let (slow, all) = logged(&format!("log . {format}"), NOT_THERE, RecordType::A).await;
    assert!(quick && !slow);
    assert_eq!(denial, all);
    assert_eq!(denial.len(), 1);
}

#[tokio::test]
async fn what_nobody_answers_is_an_error() {
    for log in ["log . {rcode} {\n class error\n }", "log {rcode}"] {
        let (quick, lines) = logged(log, "example.org.", RecordType::A).await;
        assert_eq!((quick, lines), (false, vec!["INFO plugin/log: SERVFAIL".to_owned()]), "{log}");
    }
}

#[tokio::test]
async fn silence_has_no_code() {
    let log = "acl {\n drop\n }\n log . \"{rcode} {>rflags} {rsize}\"";
    let (_, lines) = logged(log, VIP, RecordType::A).await;
    assert_eq!(lines, ["INFO plugin/log: - - 0"]);
}

#[test]
fn options_are_checked() {
    for (option, message) in [
        ("class", "Wrong argument count or unexpected line ending after 'class'"),
        ("class abracadabra", "invalid Class: abracadabra"),
        ("unknown", "unknown property 'unknown'"),
    ] {
        let error = testing::config(&format!(".:53 {{\n log . {{\n {option}\n }}\n}}")).unwrap_err();
        assert_eq!(error.to_string(), format!("plugin/log: Corefile:3 - Error during parsing: {message}"));
    }
}
