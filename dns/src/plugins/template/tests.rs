use crate::testing;

use super::*;

/// A chain of templates before a cluster.
fn router(templates: &str) -> Arc<crate::block::Router> {
    testing::router(&format!(".:53 {{\n {templates}\n kubernetes cluster.local\n}}"))
}

async fn ask(templates: &str, name: &str, qtype: RecordType) -> (ResponseCode, &'static str, Vec<String>) {
    let reply = testing::ask(&router(templates), name, qtype).await;
    let records = reply.answers.iter().chain(&reply.authorities).chain(&reply.additionals);
    (reply.rcode, reply.plugin, records.map(ToString::to_string).collect())
}

const IPS: &str = r#"template IN A example {
    match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
    answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
    fallthrough
}"#;

#[tokio::test]
async fn answers_are_made_from_the_question() {
    let no_error = ResponseCode::NoError;
    for (templates, name, qtype, wanted) in [
        (
            IPS,
            "IP-10-95-12-8.example.",
            RecordType::A,
            (no_error, NAME, vec!["IP-10-95-12-8.example. 60 IN A 10.95.12.8"]),
        ),
        (IPS, "nosuch.example.", RecordType::A, (ResponseCode::ServFail, "", vec![])),
        (IPS, "ip-10-95-12-8.example.", RecordType::MX, (ResponseCode::ServFail, "", vec![])),
        (IPS, "ip-10-95-12-300.example.", RecordType::A, (ResponseCode::ServFail, NAME, vec![])),
        (
            "template ANY ANY invalid {\n rcode NXDOMAIN\n authority \"invalid. 60 {{ .Class }} SOA ns.invalid. hostmaster.invalid. (1 60 60 60 60)\"\n }",
            "Any.Invalid.",
            RecordType::TXT,
            (
                ResponseCode::NXDomain,
                NAME,
                vec!["invalid. 60 IN SOA ns.invalid. hostmaster.invalid. 1 60 60 60 60"],
            ),
        ),
        (
            "template IN AAAA .  {\n rcode NOERROR\n }",
            "vip.ns.svc.cluster.local.",
            RecordType::AAAA,
            (no_error, NAME, vec![]),
        ),
        (
            "template ANY ANY {\n rcode SERVFAIL\n }",
            "a.",
            RecordType::A,
            (ResponseCode::ServFail, NAME, vec![]),
        ),
        (
            "template IN A . {\n match ^x\n rcode NXDOMAIN\n }",
            "a.",
            RecordType::A,
            (ResponseCode::ServFail, NAME, vec![]),
        ),
        (
            "template IN A . {\n match ^x\n rcode NXDOMAIN\n fallthrough\n }\n template IN A . {\n rcode REFUSED\n }",
            "a.",
            RecordType::A,
            (ResponseCode::Refused, NAME, vec![]),
        ),
        (
            "template IN MX example {\n answer \"{{ .Name }} 60 IN MX 10 {{ .Zone }}\"\n additional \"{{ .Zone }} IN A 192.0.2.1\"\n }",
            "a.example.",
            RecordType::MX,
            (no_error, NAME, vec!["a.example. 60 IN MX 10 example.", "example. 3600 IN A 192.0.2.1"]),
        ),
        (
            "template IN TXT . {\n answer \"{{ .Name }} TXT \\\"{{ .Type }} {{ .Remote }} {{ .Message.Id }} {{ .Question.Qtype }}\\\"\"\n }",
            "a.",
            RecordType::TXT,
            (no_error, NAME, vec!["a. 3600 IN TXT TXT 10.240.0.1 7 16"]),
        ),
    ] {
        let (rcode, plugin, records) = wanted;
        let wanted = (rcode, plugin, records.into_iter().map(str::to_owned).collect());
        assert_eq!(ask(templates, name, qtype).await, wanted, "{templates} {name}");
    }
}

#[tokio::test]
async fn aliases_are_looked_up() {
    let alias = "template IN A example.org {\n answer \"{{ .Name }} 60 CNAME vip.ns.svc.cluster.local.\"\n }";
    let (_, _, records) = ask(alias, "a.example.org.", RecordType::A).await;
    assert_eq!(
        records,
        [
            "a.example.org. 60 IN CNAME vip.ns.svc.cluster.local.",
            "vip.ns.svc.cluster.local. 5 IN A 10.96.0.1"
        ]
    );
    // One that leads to itself comes to an end.
    let circle = "template IN A example.org {\n answer \"{{ .Name }} 60 CNAME a.example.org.\"\n }";
    let (_, _, records) = ask(circle, "a.example.org.", RecordType::A).await;
    assert!((2..20).contains(&records.len()), "{}", records.len());
}

#[tokio::test]
async fn extended_errors_are_told() {
    let router = router("template ANY A blocked {\n rcode NXDOMAIN\n ederror 17 \"by policy\"\n }");
    let reply = testing::ask(&router, "a.blocked.", RecordType::A).await;
    assert_eq!(reply.options, [(EXTENDED_ERROR, b"\x00\x11by policy".to_vec())]);
}

#[tokio::test]
async fn matches_and_failures_are_counted() {
    let world = testing::world();
    let text =
        format!(".:53 {{\n {IPS}\n template IN TXT . {{\n answer \"{{{{ index .Match 9 }}}}\"\n }}\n}}");
    let router = testing::router_in(&text, &world);
    testing::ask(&router, "ip-10-95-12-300.example.", RecordType::A).await;
    let reply = testing::ask(&router, "a.", RecordType::TXT).await;
    assert_eq!(reply.error.unwrap(), "template: answer: error calling index: index out of range: 9");
    let page = world.meters.encode().unwrap();
    for line in [
        "coredns_template_matches_total{server=\"dns://:53\",zone=\"example.\",view=\"\",class=\"IN\",type=\"A\"} 1",
        "coredns_template_rr_failures_total{server=\"dns://:53\",zone=\"example.\",view=\"\",class=\"IN\",type=\"A\",section=\"answer\",template=\"{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}\"} 1",
        "coredns_template_template_failures_total{server=\"dns://:53\",zone=\".\",view=\"\",class=\"IN\",type=\"TXT\",section=\"answer\",template=\"{{ index .Match 9 }}\"} 1",
    ] {
        assert!(page.contains(line), "{line} in {page}");
    }
}

#[tokio::test]
async fn names_that_no_template_is_for_stay_quick() {
    let router = router(IPS);
    let query = testing::query("vip.ns.svc.cluster.local.", RecordType::A);
    assert_eq!(testing::quickly(&router, &query).unwrap(), testing::slowly(&router, &query).await);
    assert!(testing::quickly(&router, &testing::query("ip-1-2-3-4.example.", RecordType::A)).is_none());
}

#[test]
fn options_are_checked() {
    for (text, line, message) in [
        ("template", 2, "Wrong argument count or unexpected line ending after 'template'"),
        ("template IN", 2, "Wrong argument count or unexpected line ending after 'IN'"),
        ("template XX A {\n rcode NXDOMAIN\n }", 2, "invalid query class XX"),
        ("template IN XX {\n rcode NXDOMAIN\n }", 2, "invalid RR type XX"),
        ("template IN A {\n }", 2, "no answer section for template found"),
        ("template IN A {\n rcode X\n }", 3, "unknown rcode X"),
        ("template IN A {\n match (\n rcode NXDOMAIN\n }", 3, "invalid regex pattern '(': unclosed group"),
        (
            "template IN A {\n answer \"{{ .Nme }}\"\n }",
            3,
            "could not compile template: {{ .Nme }}, can't evaluate field Nme: there are Zone, Name, Regex, Match, Group, Class, Type, Message, Question, Remote",
        ),
        ("template IN A {\n ederror x\n rcode NXDOMAIN\n }", 3, "'x' is not a code of an extended error"),
        ("template IN A {\n edns local 1=2\n }", 3, "unknown property 'edns'"),
    ] {
        let error = testing::config(&format!(".:53 {{\n {text}\n}}")).unwrap_err();
        let wanted = format!("plugin/template: Corefile:{line} - Error during parsing: {message}");
        assert_eq!(error.to_string(), wanted, "{text}");
    }
}
