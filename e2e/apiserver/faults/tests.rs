use super::armed::glob;
use super::*;

fn seen<'a>(verb: &'a str, plural: &'a str, name: &'a str) -> Seen<'a> {
    Seen { verb, plural, subresource: "", namespace: "shop", name, user_agent: "test/1" }
}

#[test]
fn globs_match_whole_texts() {
    for (pattern, text, matches) in [
        ("*", "", true),
        ("web", "web", true),
        ("web", "web-1", false),
        ("web-*", "web-1", true),
        ("*-1", "web-1", true),
        ("w*b*1", "web-1", true),
        ("w*x*1", "web-1", false),
        ("a*a", "a", false),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
    }
}

#[test]
fn an_answer_is_given_as_often_as_armed_and_to_those_it_is_for() {
    let faults = Faults::default();
    let requests = Requests { name: Some("web-*".to_owned()), ..Requests::of("update", "endpointslices") };
    faults.set(Fault::Answer { requests, times: 2, status: 429, retry_after: Some(1) }).unwrap();
    let hit = seen("update", "endpointslices", "web-abc");
    assert_eq!(faults.on_request(&seen("update", "endpointslices", "db-abc")), Verdict::default());
    assert_eq!(faults.on_request(&seen("create", "endpointslices", "web-abc")), Verdict::default());
    assert_eq!(faults.on_request(&hit).answer, Some((429, Some(1))));
    assert_eq!(faults.on_request(&hit).answer, Some((429, Some(1))));
    assert_eq!(faults.on_request(&hit), Verdict::default());
    assert_eq!(faults.armed(), 0);
    assert_eq!(faults.requests_of("update", "endpointslices"), 4);
}

#[test]
fn the_second_answer_keeps_its_turn() {
    let faults = Faults::default();
    for status in [500, 409] {
        let requests = Requests::default();
        faults.set(Fault::Answer { requests, times: 1, status, retry_after: None }).unwrap();
    }
    let got: Vec<_> = (0..3).map(|_| faults.on_request(&seen("get", "pods", "a")).answer).collect();
    assert_eq!(got, [Some((500, None)), Some((409, None)), None]);
}

#[test]
fn faults_are_read_from_json_and_nonsense_is_refused() {
    let faults = Faults::default();
    let set = |text: &str| {
        serde_json::from_str::<Fault>(text)
            .map_err(|error| error.to_string())
            .and_then(|fault| faults.set(fault))
    };
    set(r#"{"fault":"loseResponse","requests":{"verb":"create","kind":"pods/status"}}"#).unwrap();
    set(r#"{"fault":"hold"}"#).unwrap();
    set(r#"{"fault":"skipEvents","kind":"pods","times":2}"#).unwrap();
    assert!(set(r#"{"fault":"answer","status":200}"#).unwrap_err().contains("no error"));
    assert!(set(r#"{"fault":"skipEvents","kind":"pod"}"#).unwrap_err().contains("\"pod\""));
    assert!(
        set(r#"{"fault":"delay","milliseconds":1,"requests":{"verb":"put"}}"#).unwrap_err().contains("put")
    );
    assert!(set(r#"{"fault":"answer","statsu":500}"#).is_err());
    assert!(
        faults.on_commit(Kind::Pod, 7) && faults.on_commit(Kind::Pod, 8) && !faults.on_commit(Kind::Pod, 9)
    );
    assert!(!faults.on_commit(Kind::Service, 10));
}

#[test]
fn a_gate_holds_what_is_newer_and_what_is_too_early() {
    let faults = Faults::default();
    faults.on_commit(Kind::Pod, 5);
    let now = std::time::Instant::now();
    faults.set(Fault::Hold { kind: Some("pods".to_owned()) }).unwrap();
    faults.on_commit(Kind::Pod, 6);
    assert!(faults.gate(Kind::Pod).lets_pass(5, now, now));
    assert!(!faults.gate(Kind::Pod).lets_pass(6, now, now));
    assert!(faults.gate(Kind::Service).is_open());
    faults.set(Fault::Release { kind: None }).unwrap();
    assert!(faults.gate(Kind::Pod).lets_pass(6, now, now));
    faults.set(Fault::DelayWatch { kind: None, milliseconds: 50 }).unwrap();
    let gate = faults.gate(Kind::Service);
    assert!(!gate.lets_pass(1, now, now) && gate.lets_pass(1, now, now + Duration::from_millis(50)));
}

#[test]
fn expiring_reaches_up_to_the_newest_version() {
    let faults = Faults::default();
    faults.on_commit(Kind::Node, 41);
    assert_eq!(faults.floor(), 0);
    faults.set(Fault::ExpireVersions).unwrap();
    assert_eq!(faults.floor(), 42);
}
