use crate::testing;

#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    for (text, line, message) in [
        ("cache 0", 2, "cache TTL can not be zero or negative: 0"),
        ("cache -5", 2, "cache TTL can not be zero or negative: -5"),
        ("cache\ncache", 3, "this plugin can only be used once per Server Block"),
        ("cache {\nbogus\n}", 3, "unknown property 'bogus'"),
        ("cache {\nsuccess\n}", 3, "Wrong argument count or unexpected line ending after 'success'"),
        ("cache {\nsuccess many\n}", 3, "'many' is not a number"),
        ("cache {\nsuccess 100 0\n}", 3, "cache TTL can not be zero or negative: 0"),
        ("cache {\nsuccess 100 10 -1\n}", 3, "cache min TTL can not be negative: -1"),
        ("cache {\ndenial 100 -1\n}", 3, "cache TTL can not be zero or negative: -1"),
        ("cache {\ndenial 1 2 3 4\n}", 3, "Wrong argument count or unexpected line ending after '4'"),
        ("cache {\nprefetch\n}", 3, "Wrong argument count or unexpected line ending after 'prefetch'"),
        ("cache {\nprefetch -1\n}", 3, "prefetch amount should be positive: -1"),
        ("cache {\nprefetch 1 1x\n}", 3, "invalid duration '1x': want for example 30s, 500ms, 1h"),
        ("cache {\nprefetch 1 1m 20\n}", 3, "last character of percentage should be `%`, but is: '20'"),
        ("cache {\nprefetch 1 1m 5%\n}", 3, "percentage should fall in range [10, 90]: 5"),
        ("cache {\nprefetch 1 1m 91%\n}", 3, "percentage should fall in range [10, 90]: 91"),
        (
            "cache {\nserve_stale 1h verify x\n}",
            3,
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        ("cache {\nserve_stale 1h never\n}", 3, "invalid value for serve_stale refresh mode: never"),
        ("cache {\nserve_stale -1h\n}", 3, "invalid duration '-1h': want for example 30s, 500ms, 1h"),
        ("cache {\nservfail\n}", 3, "Wrong argument count or unexpected line ending after 'servfail'"),
        ("cache {\nservfail 6m\n}", 3, "caching SERVFAIL responses over 5 minutes is not permitted"),
        ("cache {\ndisable\n}", 3, "Wrong argument count or unexpected line ending after 'disable'"),
        ("cache {\ndisable all\n}", 3, "cache type for disable must be \"success\" or \"denial\""),
        ("cache {\nkeepttl yes\n}", 3, "Wrong argument count or unexpected line ending after 'yes'"),
    ] {
        let error = testing::config(&format!(".:53 {{\n{text}\n}}")).unwrap_err().to_string();
        assert_eq!(error, format!("plugin/cache: Corefile:{line} - Error during parsing: {message}"));
    }
}

#[test]
fn what_was_understood_is_told() {
    let config = testing::config(
        "example.org:53 {\n cache 30 {\n  success 5000\n  denial 100 20 1\n  prefetch 10\n  serve_stale\n  \
         disable success cluster.local\n }\n}",
    );
    let config = config.unwrap();
    let lines = config.blocks[0].chain[0].describe();
    assert_eq!(
        lines,
        [
            "cache example.org. {",
            "    success 5000 30 5",
            "    denial 100 20 1",
            "    prefetch 10 1m0s 10%",
            "    serve_stale 1h0m0s immediate",
            "    servfail 5s",
            "    disable success cluster.local.",
            "}",
        ]
    );
    // It can be read again.
    let again = testing::config(&format!("example.org:53 {{\n{}\n}}", lines.join("\n"))).unwrap();
    assert_eq!(again.blocks[0].chain[0].describe(), lines);
}
