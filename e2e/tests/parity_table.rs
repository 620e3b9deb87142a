//! `docs/parity.md` names tests. They are there, and no test of parity is missing from it.

use std::{collections::BTreeSet, path::Path};

/// Every `file.rs::function` and `case.json` of the table, as paths from the root and functions.
fn named(table: &str) -> BTreeSet<(String, Option<String>)> {
    let quoted = table.split('`').skip(1).step_by(2);
    let one = |text: &str| match text.split_once("::") {
        Some((file, function)) => {
            let file = if file.contains('/') { file.to_owned() } else { format!("e2e/tests/{file}") };
            Some((file, Some(function.to_owned())))
        }
        None if Path::new(text).extension().is_some_and(|it| it == "json") => {
            Some((format!("e2e/cases/{text}"), None))
        }
        None => None,
    };
    quoted.filter_map(one).collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_default()
}

/// The test functions of a file: those under an attribute that ends in `test` or has arguments of it.
fn tests(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_test = source.contains("proptest! {");
    let everywhere = is_test;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(name);
            is_test = everywhere;
        }
    }
    found
}

#[test]
fn every_test_that_is_named_exists() {
    let table = read("docs/parity.md");
    let named = named(&table);
    assert!(named.len() > 60, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, function)| {
            let source = read(file);
            source.is_empty() || function.as_ref().is_some_and(|function| !tests(&source).contains(function))
        })
        .collect();
    assert!(missing.is_empty(), "named in docs/parity.md and not there: {missing:?}");
}

#[test]
fn every_test_of_parity_is_named() {
    let named = named(&read("docs/parity.md"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/tests");
    let mut left_out = Vec::new();
    for entry in folder.read_dir().expect("e2e/tests") {
        let file = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if file.starts_with("parity_") && file != "parity_table.rs" {
            let path = format!("e2e/tests/{file}");
            let all = tests(&read(&path)).into_iter();
            left_out.extend(
                all.filter(|test| !named.contains(&(path.clone(), Some(test.clone()))))
                    .map(|test| (path.clone(), test)),
            );
        }
    }
    assert!(left_out.is_empty(), "not in docs/parity.md: {left_out:?}");
}
