use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FIELDS: [&str; 4] = ["Name", "Match", "Group", "Count"];

fn data() -> Value {
    let group = BTreeMap::from([("a".to_owned(), Value::text("10")), ("0".to_owned(), Value::text("whole"))]);
    Value::Map(BTreeMap::from([
        ("Name".to_owned(), Value::text("www.example.org.")),
        ("Match".to_owned(), Value::List(vec![Value::text("m0"), Value::text("m1")])),
        ("Group".to_owned(), Value::Map(group)),
        ("Count".to_owned(), Value::Number(3)),
    ]))
}

fn run(text: &str) -> Result<String, String> {
    Template::read(text, &FIELDS)?.run(&data(), &|label| format!("<{label}>"))
}

#[test]
fn templates_are_gos() {
    for (text, wanted) in [
        ("plain", "plain"),
        ("{{ .Name }} 60", "www.example.org. 60"),
        ("{{.Group.a}}-{{ index .Group \"0\" }}", "10-whole"),
        ("{{ .Group.none }}", "<no value>"),
        ("{{ index .Group \"none\" }}", ""),
        ("{{ index .Match 1 }}", "m1"),
        ("{{ .Match }}", "[m0 m1]"),
        ("{{ .Meta \"a/b\" }}", "<a/b>"),
        ("{{ \"a/b\" | .Meta }}", "<a/b>"),
        ("{{ if eq .Count 3 }}three{{ else }}other{{ end }}", "three"),
        ("{{ if eq .Name \"x\" }}a{{ else if gt .Count 2 }}b{{ else }}c{{ end }}", "b"),
        ("{{ if and .Name (not .Group.none) }}yes{{ end }}", "yes"),
        ("{{ or .Group.none \"else\" }}", "else"),
        ("{{ if eq .Count 1 2 3 }}yes{{ end }}", "yes"),
        ("{{ with .Group.a }}[{{ . }}]{{ else }}none{{ end }}", "[10]"),
        ("{{ with .Group.b }}[{{ . }}]{{ else }}none{{ end }}", "none"),
        ("{{ with .Group }}{{ .a }}{{ $.Name }}{{ end }}", "10www.example.org."),
        ("{{ range .Match }}<{{ . }}>{{ end }}", "<m0><m1>"),
        ("{{ range $i, $m := .Match }}{{ $i }}={{ $m }};{{ end }}", "0=m0;1=m1;"),
        ("{{ range .Group.none }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ $x := index .Match 0 }}{{ $x }}{{ $x = \"y\" }}{{ $x }}", "m0y"),
        ("a  {{- /* gone */ -}}  b", "ab"),
        ("a {{- .Count -}} b", "a3b"),
        ("{{ printf \"%s-%03d-%x\" .Group.a 7 255 }}", "10-007-ff"),
        ("{{ printf \"%5s|%-5s|%%\" .Group.a .Group.a }}", "   10|10   |%"),
        ("{{ .Name | printf \"%s!\" }}", "www.example.org.!"),
        ("{{ parseInt \"ff\" 16 64 }}.{{ parseInt .Group.a 10 8 }}", "255.10"),
        ("{{ len .Match }}{{ slice .Name 0 3 }}{{ print 1 2 \"x\" 3 }}", "2www1 2x3"),
        ("{{ `raw \\n` }}{{ \"\\\"}}\" }}", "raw \\n\"}}"),
        ("{{ (index .Match 0) | len }}", "2"),
        ("{{ 0x10 }}{{ -5 }}{{ true }}{{ 'a' }}", "16-5true97"),
    ] {
        assert_eq!(run(text), Ok(wanted.to_owned()), "{text}");
    }
}

#[test]
fn what_is_wrong_or_not_supported_is_named() {
    for (text, message) in [
        ("{{ .Name", "unclosed action"),
        ("{{ }}", "missing value for command"),
        ("{{ if .Name }}", "unexpected EOF: {{end}} is missing"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ .Nme }}", "can't evaluate field Nme: there are Name, Match, Group, Count"),
        ("{{ $x }}", "undefined variable \"$x\""),
        ("{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}", "undefined variable \"$x\""),
        ("{{ nosuch .Name }}", "function \"nosuch\" not defined"),
        ("{{ html .Name }}", "function \"html\" is not supported"),
        ("{{ template \"x\" }}", "{{template}} is not supported"),
        ("{{ range .Match }}{{ break }}{{ end }}", "{{break}} is not supported"),
        ("{{ printf \"%f\" 1 }}", "printf with %f is not supported"),
        ("{{ \"open }}", "unclosed action"),
        ("{{ (.Name }}", "unclosed left paren"),
        ("{{ .Name | }}", "missing value for command"),
        ("{{ 12x }}", "bad number: 12x"),
        ("{{ ! }}", "unexpected '!' in !"),
    ] {
        assert_eq!(Template::read(text, &FIELDS).map(|_| ()), Err(message.to_owned()), "{text}");
    }
    for text in [
        "{{ index .Match 2 }}",
        "{{ .Name \"x\" }}",
        "{{ lt .Name 1 }}",
        "{{ parseInt \"300\" 10 8 }}",
        "{{ len 1 }}",
    ] {
        let template = Template::read(text, &FIELDS).unwrap();
        assert!(template.run(&data(), &|_| String::new()).is_err(), "{text}");
    }
    let deep = "{{ if 1 }}".repeat(100);
    assert_eq!(Template::read(&deep, &FIELDS).unwrap_err(), "blocks are nested too deeply");
    let wide = format!("{{{{ {} }}}}", "(".repeat(1000));
    assert_eq!(Template::read(&wide, &FIELDS).unwrap_err(), "parentheses are nested too deeply");
}

proptest! {
    /// No text makes it panic, and what it writes is bounded.
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z.{}$\"`|()=:, -]|\\{\\{|\\}\\}|range|if|end|else|\\.Match|index|printf){0,30}") {
        if let Ok(template) = Template::read(&text, &FIELDS) {
            let _ = template.run(&data(), &|_| String::new());
        }
    }
}
