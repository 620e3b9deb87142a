//! What single packets are answered with: what was recorded of CoreDNS, but for the differences that the RFCs want.

use serde_json::{Value, json};

/// The answer that is wanted to a recorded probe, over UDP or TCP: header, counts and OPT.
///
/// # Panics
/// When the recording lacks a field that differs.
pub fn wanted(probe: &str, recorded: &Value, udp: bool) -> Value {
    if recorded["reply"] != true {
        return Value::Null;
    }
    let fields = [
        "id",
        "rcode",
        "flags",
        "opcode",
        "questions",
        "answers",
        "authority",
        "additional",
        "edns",
        "options",
    ];
    let mut wanted: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), recorded[field].clone())).collect();
    let mut set = |pairs: &[(&str, Value)]| {
        for (field, value) in pairs {
            assert!(wanted.insert((*field).to_owned(), value.clone()).is_some(), "{probe}: no {field}");
        }
    };
    match probe {
        // NOTIFY is not for us.
        "opcode-4" | "notify" => set(&[
            ("rcode", json!("NOTIMP")),
            ("flags", json!(if probe == "notify" { "QR" } else { "QR RD" })),
            ("questions", json!(0)),
            ("answers", json!(0)),
        ]),
        // RFC 6891 6.1.1.
        "two-opts" | "opt-not-root" => set(&[
            ("rcode", json!("FORMERR")),
            ("flags", json!("QR RD")),
            ("answers", json!(0)),
            ("authority", json!(0)),
            ("additional", json!(0)),
            ("edns", json!(-1)),
        ]),
        // What was recorded could not be read by the recorder; it had no error in it.
        "edns-cookie-bad" => set(&[
            ("rcode", json!("NOERROR")),
            ("flags", json!("QR AA RD")),
            ("opcode", json!(0)),
            ("questions", json!(1)),
            ("answers", json!(1)),
            ("authority", json!(0)),
            ("additional", json!(0)),
            ("edns", json!(0)),
        ]),
        // One RRset that has no room is not sent in part (RFC 2181 9).
        name if name.starts_with("big-") && udp => {
            set(&[("answers", json!(0)), ("flags", json!("QR AA TC RD"))]);
        }
        _ => {}
    }
    // No option of the client's is ours to send back.
    set(&[("options", json!([]))]);
    // Our own payload size, and of the client's flags only DO.
    let edns = wanted.get("edns").is_some_and(|version| *version != json!(-1));
    let dnssec_ok = recorded["ednsflags"].as_u64().unwrap_or_default() & 0x8000;
    wanted.insert("payload".into(), if edns { json!(1232) } else { Value::Null });
    wanted.insert("ednsflags".into(), if edns { json!(dnssec_ok) } else { Value::Null });
    Value::Object(wanted)
}
