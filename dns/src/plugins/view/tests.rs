use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::{answer::Transport, plugin::Query, testing};

/// Whether a block with this view takes a question, over UDP and IPv4.
async fn takes(expressions: &[&str], name: &str, qtype: RecordType, change: impl Fn(&mut Query)) -> bool {
    let lines: String = expressions.iter().map(|text| format!("  expr {text}\n")).collect();
    let corefile = format!(".:53 {{\n view one {{\n{lines} }}\n whoami\n}}\n.:53 {{\n any\n}}");
    let router = testing::router(&corefile);
    let mut query = Query { router: router.clone(), ..testing::query(name, qtype) };
    change(&mut query);
    router.serve(&mut query).await.plugin == "whoami"
}

#[tokio::test]
async fn expressions_select() {
    let nothing = |_: &mut Query| {};
    for (expression, taken) in [
        ("incidr(client_ip(), '10.240.0.0/16')", true),
        ("incidr(client_ip(), '10.241.0.0/16')", false),
        ("type() in ['A', 'AAAA']", true),
        ("type() == 'MX'", false),
        ("name() == 'www.example.org.'", true),
        (r"name() matches '^www\\..*\\.org\\.$'", true),
        ("name() startsWith 'abc.'", false),
        ("client_ip() == '10.240.0.1' && port() == '40212'", true),
        ("server_ip() == '10.96.0.10' and server_port() == '53'", true),
        ("bufsize() >= 1232 && size() > 40 && id() == 7 && opcode() == 0", true),
        ("do()", false),
        ("not do() && class() == 'IN' && proto() == 'udp'", true),
        ("metadata('some/label') == ''", true),
        ("true", true),
    ] {
        assert_eq!(
            takes(&[expression], "Www.Example.org.", RecordType::A, nothing).await,
            taken,
            "{expression}"
        );
    }
    // All must hold.
    assert!(takes(&["true", "type() == 'A'"], "a.", RecordType::A, nothing).await);
    assert!(!takes(&["true", "type() == 'A'"], "a.", RecordType::MX, nothing).await);
    let six = |query: &mut Query| {
        query.peer.address = "[2001:db8::1]:53".parse().unwrap();
        query.peer.transport = Transport::Tcp;
    };
    assert!(takes(&["incidr(client_ip(), '2001:db8::/32')"], "a.", RecordType::A, six).await);
    assert!(takes(&["client_ip() == '[2001:db8::1]' && bufsize() == 65535"], "a.", RecordType::A, six).await);
}

#[tokio::test]
async fn blocks_are_tried_in_their_order() {
    let corefile = ".:53 {
        view first {
            expr name() == 'a.'
        }
        template ANY ANY { 
            rcode REFUSED
        }
    }
    .:53 {
        view second {
            expr type() == 'A'
        }
        template ANY ANY {
            rcode NXDOMAIN
        }
    }";
    let router = testing::router(corefile);
    let rcode = async |name, qtype| testing::ask(&router, name, qtype).await.rcode;
    assert_eq!(rcode("a.", RecordType::A).await, ResponseCode::Refused);
    assert_eq!(rcode("b.", RecordType::A).await, ResponseCode::NXDomain);
    assert_eq!(testing::ask(&router, "b.", RecordType::MX).await.plugin, "", "no block takes it");
    assert!(testing::quickly(&router, &testing::query("a.", RecordType::A)).is_none());
}

#[test]
fn expressions_are_checked_when_they_are_read() {
    for (lines, line, message) in [
        ("view", 2, "Wrong argument count or unexpected line ending after 'view'"),
        ("view a", 2, "view a has no expression"),
        ("view a b {\n expr true\n }", 2, "Wrong argument count or unexpected line ending after 'b'"),
        ("view a {\n expr\n }", 3, "Wrong argument count or unexpected line ending after 'expr'"),
        ("view a {\n rule true\n }", 3, "unknown property 'rule'"),
        ("view a {\n expr nosuch() == 1\n }", 3, "unknown name nosuch in 'nosuch() == 1'"),
        ("view a {\n expr false && nosuch()\n }", 3, "unknown name nosuch in 'false && nosuch()'"),
        ("view a {\n expr name()\n }", 3, "'name()' is \"www.example.org.\", not true or false"),
    ] {
        let error = testing::config(&format!(".:53 {{\n {lines}\n}}")).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/view: Corefile:{line} - Error during parsing: {message}"));
    }
    for bad in ["type( == 'A'", "incidr(client_ip(), 'x')", "nosuch == 1", "client_ip() ==", "1 + 'a' > 2"] {
        let text = format!(".:53 {{\n view a {{\n expr {bad}\n }}\n}}");
        let error = testing::config(&text).unwrap_err().to_string();
        assert!(error.starts_with("plugin/view: Corefile:3 - Error during parsing: "), "{bad}: {error}");
    }
}
