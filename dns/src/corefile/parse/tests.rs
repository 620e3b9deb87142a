use proptest::prelude::*;

use super::*;
use crate::corefile::{memory::Memory, quoted};

fn parse(text: &str) -> Corefile {
    parse_with(text, &Memory::default())
}

fn parse_with(text: &str, files: &Memory) -> Corefile {
    Corefile::parse("/etc/coredns/Corefile", text, files).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    error_with(text, &Memory::default())
}

fn error_with(text: &str, files: &Memory) -> String {
    let parsed = Corefile::parse("Corefile", text, files);
    parsed.expect_err(text).to_string()
}

/// Blocks as `keys{directives}` on a line, directives as `name args{body};`.
fn shape(file: &Corefile) -> String {
    file.blocks
        .iter()
        .map(|block| format!("{}{}", texts(&block.keys), body(&block.directives)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn texts(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(",")
}

fn body(directives: &[Directive]) -> String {
    let one = |directive: &Directive| {
        let inner = if directive.body.is_empty() { String::new() } else { body(&directive.body) };
        format!("{}({}){inner}", directive.name.text, texts(&directive.args))
    };
    format!("{{{}}}", directives.iter().map(one).collect::<Vec<_>>().join(";"))
}

#[test]
fn blocks_have_keys_and_directives() {
    for (text, want) in [
        ("", ""),
        ("# nothing", ""),
        (".", ".{}"),
        ("a b\n", "a,b{}"),
        (". {\n}\n", ".{}"),
        (
            ".:53 {\n  errors\n  cache 30 {\n    success 1 2\n  }\n}\n",
            ".:53{errors();cache(30){success(1,2)}}",
        ),
        ("a.test, b.test,\n c.test d.test {\n log\n}", "a.test,b.test,c.test,d.test{log()}"),
        ("a\n{\nlog\n}", "a{log()}"),
        (".:53\nwhoami\nlog . {\n class all\n}", ".:53{whoami();log(.){class(all)}}"),
        (". { whoami\n}", ".{whoami()}"),
        (". {\n forward . 1.1.1.1 { max_fails 3 }\n log\n}", ".{forward(.,1.1.1.1){max_fails(3)};log()}"),
        (". {\n a {\n b {\n c 1\n }\n }\n}", ".{a(){b(){c(1)}}}"),
        (". {\n a { b { c 1 } }\n}", ".{a(){b(){c(1)}}}"),
        (". {\n a {\n }\n b\n}", ".{a();b()}"),
        ("a {\n}\nb {\n}\n", "a{} b{}"),
        (
            ". {\n template A {\n  answer \"{{ .Name }} 60 IN\n A 1.2.3.4\" x\n }\n}",
            ".{template(A){answer({{ .Name }} 60 IN\n A 1.2.3.4,x)}}",
        ),
        (". {\n chaos \"{\" \"}\" \"import\" \"\"\n}", ".{chaos({,},import,)}"),
        ("\"\" a {\n}", "a{}"),
        (". {\r\n log # not this } {\r\n}\r\n", ".{log()}"),
    ] {
        assert_eq!(shape(&parse(text)), want, "{text}");
    }
}

#[test]
fn every_word_knows_its_line() {
    let file = parse(".:53 {\n\n  cache 30 {\n    success \"1\n\" 2\n  }\n  log\n}\nb");
    let [first, second] = file.blocks.as_slice() else { panic!("{file:?}") };
    let lines = |tokens: &[Token]| tokens.iter().map(|token| token.at.line).collect::<Vec<_>>();
    assert_eq!((lines(&first.keys), lines(&second.keys)), (vec![1], vec![9]));
    let [cache, log] = first.directives.as_slice() else { panic!("{first:?}") };
    assert_eq!((cache.name.at.line, cache.body[0].name.at.line, log.name.at.line), (3, 4, 7));
    assert_eq!(lines(&cache.body[0].args), [4, 5]);
    assert_eq!(&*log.name.at.file, "/etc/coredns/Corefile");
}

#[test]
fn what_is_wrong_is_said_as_coredns_says_it() {
    for (text, want) in [
        (". {\n whoami\n", "Corefile:2 - Syntax error: Unexpected token 'whoami', expecting '}'"),
        (". {\n cache {\n  success 1\n", "Corefile:3 - Error during parsing: Unexpected EOF"),
        ("a,", "Corefile:1 - Error during parsing: Unexpected EOF"),
        (
            "a, {\n}",
            "Corefile:1 - Error during parsing: Expected another address but had '{' - check for extra comma",
        ),
        (
            ". { whoami }",
            "Corefile:1 - Error during parsing: Unexpected '}' because no matching opening brace",
        ),
        (
            ".\nwhoami\n}\nb {\n}",
            "Corefile:3 - Error during parsing: Unexpected '}' because no matching opening brace",
        ),
        ("}\n. {\n}", "Corefile:1 - Error during parsing: Unexpected '}' because no matching opening brace"),
        (". {\n a {\n } b\n}", "Corefile:3 - Error during parsing: Unexpected 'b' after '}'"),
        (
            ". {\n a\n {\n }\n}",
            "Corefile:3 - Error during parsing: Unexpected '{': a block opens on the line of its directive",
        ),
        (
            ". {\n a {\n {\n }\n}\n}",
            "Corefile:3 - Error during parsing: Unexpected '{': a block opens on the line of its directive",
        ),
        (
            ".:53{\n log\n}",
            "Corefile:3 - Error during parsing: Unexpected '}' because no matching opening brace (at Corefile:1 a space is \
             missing before the '{' of '.:53{')",
        ),
        ("(a)\nlog", "Corefile:2 - Syntax error: Unexpected token 'log', expecting '{'"),
        ("(a)", "Corefile:1 - Syntax error: Unexpected token '(a)', expecting '{'"),
        ("(a) {\n b {\n}\n", "Corefile:3 - Syntax error: Unexpected token '}', expecting '}'"),
        (
            "(a) {\n}\n(a) {\n}",
            "Corefile:3 - Error during parsing: redeclaration of previously declared snippet a",
        ),
        (
            "(a) {\n import a\n}",
            "Corefile:2 - Error during parsing: maximum snippet import depth (10000) exceeded",
        ),
        (
            ". {\n import\n}",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'",
        ),
        (". {\n import {\n}", "Corefile:2 - Error during parsing: Unexpected token '{', expecting argument"),
        (". {\n import \"\"\n}", "Corefile:2 - Error during parsing: Import requires a non-empty filepath"),
        (
            ". {\n import a b\n}",
            "Corefile:2 - Error during parsing: Import takes only one argument (glob pattern or file)",
        ),
        ("import no/such", "Corefile:1 - Error during parsing: File to import not found: no/such"),
        (
            "import a*/*",
            "Corefile:1 - Error during parsing: Glob pattern may only contain one wildcard (*), but has others: a*/*",
        ),
        (
            "import [ab]",
            "Corefile:1 - Error during parsing: Glob pattern may only contain one wildcard (*), but has others: [ab]",
        ),
        (
            ". {\n chaos \"never closed\n}\n",
            "Corefile:2 - Syntax error: Unexpected token 'never closed\n}\n', expecting '}' (the quote that begins at Corefile:2 has no end)",
        ),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

#[test]
fn what_coredns_lets_pass_is_warned_of() {
    for (text, want, warning) in [
        (
            ". {\n cache {\n }\n",
            ".{cache()}",
            "/etc/coredns/Corefile:3 - the '}' that closes the server block is missing",
        ),
        (". {\n}\n}\n", ".{}", "/etc/coredns/Corefile:3 - Unexpected '}' because no matching opening brace"),
        (
            "{\n log\n}\n. {\n}",
            ".{}",
            "/etc/coredns/Corefile:1 - a server block without a key serves nothing",
        ),
        ("{$UNSET}:53 {\n}", ":53{}", ""),
        (
            "{$UNSET} {\n}\n. {\n}",
            ".{}",
            "/etc/coredns/Corefile:1 - a server block without a key serves nothing",
        ),
        (
            "import c/*.server\n. {\n}",
            ".{}",
            "/etc/coredns/Corefile:1 - No files matching import glob pattern: c/*.server",
        ),
    ] {
        let file = parse(text);
        assert_eq!(shape(&file), want, "{text}");
        let warnings: Vec<String> = file.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.join("\n"), warning, "{text}");
    }
}

#[test]
fn snippets_are_put_where_they_are_imported() {
    let text = "(opts) {\n  success 1\n  denial 2\n}\n(base) { errors }\n(all) {\n import base\n cache 30 {\n  import opts\n }\n}\n\
                (empty) {\n}\n. {\n log\n import all\n import empty\n import base\n}\nb {\n import base\n}";
    let file = parse(text);
    assert_eq!(shape(&file), ".{log();errors();cache(30){success(1);denial(2)};errors()} b{errors()}");
    // What comes from a snippet stands where the snippet stands.
    assert_eq!(file.blocks[0].directives[2].body[0].name.at.line, 2);
    // One that is not there yet is a file.
    assert_eq!(
        error(". {\n import late\n}\n(late) {\n log\n}"),
        "Corefile:2 - Error during parsing: File to import not found: late"
    );
}

#[test]
fn files_are_imported_relative_to_the_file_that_imports() {
    let files = Memory::default()
        .file("/etc/coredns/custom/a.override", "log\nimport sub/x\n")
        .file("/etc/coredns/custom/b.override", "(late) {\n whoami\n}")
        .file("/etc/coredns/custom/sub/x", "import ../../opts")
        .file("/etc/coredns/opts", "cache 30 {\n import /abs/options\n}\n")
        .file("/abs/options", "success 1")
        .file("/etc/coredns/x.server", "x.test {\n errors\n}\n")
        .file("/etc/coredns/keys", "k.test,\nl.test");
    let file = parse_with(
        "import keys\n{\n import ./custom/a*.override\n import {$DIR}/b.override\n}\nimport *.server\n",
        &files.clone().set("DIR", "custom"),
    );
    let error = error_with("import keys\n{\n import custom/b.override\n}", &files);
    assert_eq!(error, "Corefile:1 - Error during parsing: File to import not found: keys");
    // In a block a snippet's definition is a directive with an odd name: found wanting later, as in CoreDNS.
    assert_eq!(
        shape(&file),
        "k.test,l.test{log();cache(30){success(1)};(late)(){whoami()}} x.test{errors()}"
    );
    let cache = &file.blocks[0].directives[1];
    assert_eq!(cache.name.at.to_string(), "/etc/coredns/opts:1");
    assert_eq!(cache.body[0].name.at.to_string(), "/abs/options:1");
    assert_eq!(file.sources.files.len(), 7);
    assert_eq!(
        file.sources.folders,
        [std::path::PathBuf::from("/etc/coredns"), "/etc/coredns/custom".into()]
    );
}

#[test]
fn errors_in_imported_files_name_them() {
    let files = Memory::default().file("/c/x", "\n log }\n").file("/c/open", "cache {\n");
    assert_eq!(
        error_with(". {\n import /c/x\n}", &files),
        "/c/x:2 - Error during parsing: Unexpected '}' because no matching opening brace"
    );
    // A file need not be whole.
    assert_eq!(
        shape(&parse_with(". {\n import /c/open\n success 1\n }\n}", &files)),
        ".{cache(){success(1)}}"
    );
}

#[test]
fn nothing_imports_itself() {
    let files = Memory::default()
        .file("/etc/coredns/self", "log\nimport self\n")
        .file("/etc/coredns/a", "import b\nlog")
        .file("/etc/coredns/b", "import a\nlog")
        .file("/etc/coredns/keys", "import keys")
        .file("/d/one", "log\nimport two")
        .file("/d/two", "errors");
    for text in
        [". {\n import /etc/coredns/self\n}", ". {\n import /etc/coredns/a\n}", "import /etc/coredns/keys"]
    {
        assert!(error_with(text, &files).ends_with("maximum file import depth (100000) exceeded"), "{text}");
    }
    assert_eq!(
        error("(a) {\n log\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}"),
        "Corefile:6 - Error during parsing: maximum snippet import depth (10000) exceeded"
    );
    // Siblings may import each other: no file is within itself.
    assert_eq!(shape(&parse_with(". {\n import /d/*\n}", &files)), ".{log();errors();errors()}");
}

#[test]
fn imports_and_words_are_counted() {
    let mut text = String::from("(s0) {\n log a b c d e f g h\n}\n");
    for at in 1..14 {
        text.push_str(&format!("(s{at}) {{\n{}}}\n", format!("import s{}\n", at - 1).repeat(2)));
    }
    let bomb = error(&format!("{text}. {{\n import s13\n}}"));
    assert!(bomb.ends_with("maximum snippet import depth (10000) exceeded"), "{bomb}");
    let long = "log\n".repeat(3000);
    let files = Memory::default().file("/f", &long);
    let bomb = error_with(&format!(". {{\n{}}}", "import /f\n".repeat(1000)), &files);
    assert!(bomb.ends_with("a configuration of more than 1000000 words"), "{bomb}");
    let long = error(&"a ".repeat(1_000_001));
    assert_eq!(long, "Corefile:1 - Error during parsing: a configuration of more than 1000000 words");
    let files = Memory::default().set("A", &"x".repeat(500_000));
    assert!(
        error_with(&format!(". {{\n log {}\n}}", "{$A} ".repeat(100)), &files)
            .ends_with("words of more than 33554432 bytes")
    );
    let halves = Memory::default().file("/1", &"a\n".repeat(500_001)).file("/2", &"a\n".repeat(500_001));
    assert!(error_with(". {\n import /*\n}", &halves).ends_with("more than 1000000 words"));
    let deep = format!(". {{\n{}{}}}", "a {\n".repeat(100_000), "}\n".repeat(100_000));
    assert!(error(&deep).ends_with("braces within more than 32 braces"));
    let fine = format!(". {{\n{}x\n{}}}", "a {\n".repeat(32), "}\n".repeat(32));
    assert_eq!(parse(&fine).blocks.len(), 1);
}

#[test]
fn variables_are_replaced_everywhere() {
    let files = Memory::default()
        .set("ZONE", "a.test")
        .set("PORT", "54")
        .set("P", "log")
        .set("ARG", "x y")
        .set("END", "b,");
    let file =
        parse_with("{$ZONE}:{%PORT%} {$END}\nc {\n {$P} \"{$ARG}\" {$NONE} {\n  {$P} {$ARG}\n }\n}", &files);
    assert_eq!(shape(&file), "a.test:54,b,c{log(x y,){log(x y)}}");
}

/// A word that the grammar can write.
fn word() -> impl Strategy<Value = String> {
    let plain = "[a-z0-9.:/_*-]{1,12}";
    let odd = "[a-zA-Z0-9 #{}\"\\\\.,é\u{1f600}\t\n()-]{0,12}";
    let writable = |text: &String| {
        // A backslash at the end or before a quote cannot be written in quotes, and variables are replaced there too.
        !text.contains("\\\"") && !text.ends_with('\\') && !text.contains("{$") && !text.contains("{%")
    };
    prop_oneof![3 => plain.prop_map(String::from), 2 => odd.prop_filter("writable", writable)]
}

fn key() -> impl Strategy<Value = String> {
    "(dns://|tls://)?[a-z0-9.-]{1,12}(:[0-9]{1,5})?"
}

#[derive(Clone, Debug)]
struct Line {
    words: Vec<String>,
    body: Vec<Self>,
}

fn line() -> impl Strategy<Value = Line> {
    let leaf = prop::collection::vec(word(), 1..5).prop_map(|words| Line { words, body: Vec::new() });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let words = prop::collection::vec(word(), 1..4);
        (words, prop::collection::vec(inner, 0..4)).prop_map(|(words, body)| Line { words, body })
    })
}

fn blocks() -> impl Strategy<Value = Vec<(Vec<String>, Vec<Line>)>> {
    let block = (prop::collection::vec(key(), 1..4), prop::collection::vec(line(), 0..5));
    prop::collection::vec(block, 0..4)
}

fn print(lines: &[Line], indent: usize, out: &mut String) {
    for line in lines {
        let words: Vec<String> = line.words.iter().map(|word| quoted(word).into_owned()).collect();
        out.push_str(&" ".repeat(indent));
        out.push_str(&words.join(" "));
        if !line.body.is_empty() {
            out.push_str(" {  # comment }\n");
            print(&line.body, indent + 2, out);
            out.push_str(&" ".repeat(indent));
            out.push('}');
        }
        out.push_str("\r\n");
    }
}

fn tree(directives: &[Directive]) -> Vec<Line> {
    let one = |directive: &Directive| {
        let words = [&directive.name].into_iter().chain(&directive.args).map(|token| token.text.clone());
        Line { words: words.collect(), body: tree(&directive.body) }
    };
    directives.iter().map(one).collect()
}

/// Text that is nearly a Corefile.
fn almost() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "\n",
        " ",
        "\"",
        "\\",
        "#",
        ",",
        "import",
        "(a)",
        "a",
        "import a",
        "import *.x",
        "import /f",
        "{$A}",
        "{%A%}",
        "{$",
        "\r",
        "\t",
        "\u{feff}",
        "é",
        ".:53",
        "{\n",
        "}\n",
        " {\n",
        "import a\n",
        "\u{0}",
        "log",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed(blocks in blocks()) {
        let mut text = String::new();
        for (keys, lines) in &blocks {
            text.push_str(&keys.join(", "));
            text.push_str(" {\n");
            print(lines, 2, &mut text);
            text.push_str("}\n");
        }
        let file = parse(&text);
        prop_assert!(file.warnings.is_empty(), "{:?}", file.warnings);
        let got: Vec<_> = file.blocks.iter().map(|block| {
            let keys: Vec<String> = block.keys.iter().map(|key| key.text.clone()).collect();
            (keys, tree(&block.directives))
        }).collect();
        prop_assert_eq!(format!("{got:?}"), format!("{blocks:?}"), "{}", text);
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Corefile::parse("Corefile", &String::from_utf8_lossy(&bytes), &Memory::default());
    }

    #[test]
    fn what_is_nearly_right_ends(text in almost(), file in almost(), variable in almost()) {
        let files = Memory::default().file("/f", &file).file("/y.x", &file).set("A", &variable);
        let _ = Corefile::parse("/Corefile", &text, &files);
        // Whatever is accepted is accepted again in the same way.
        if let Ok(once) = Corefile::parse("/Corefile", &text, &files) {
            let again = Corefile::parse("/Corefile", &text, &files).unwrap();
            prop_assert_eq!(once, again);
        }
    }
}
