//! The licences of everything in the image as one text, each text once, under the names of those it belongs to.

use std::collections::BTreeMap;

/// Joins what each part's files say: `(part, text)`. Texts that differ only in white space are one.
pub(crate) fn joined(texts: &[(String, String)]) -> String {
    let mut groups = BTreeMap::<String, (Vec<&str>, &str)>::new();
    for (part, text) in texts {
        let key = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (parts, _) = groups.entry(key).or_insert_with(|| (Vec::new(), text));
        if !parts.contains(&part.as_str()) {
            parts.push(part);
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for (parts, _) in &mut groups {
        parts.sort_unstable();
    }
    groups.sort();
    let rule = "=".repeat(80);
    groups
        .iter()
        .map(|(parts, text)| format!("{}\n\n{}\n\n{rule}\n\n", parts.join("\n"), text.trim()))
        .collect()
}

/// Which of a part's licence files are needed: all, or where the part may be used under MIT and says so in a file of its own,
/// that one and the notices.
pub(crate) fn needed<'a>(licence: Option<&str>, files: &[&'a str]) -> Vec<&'a str> {
    let choice = licence.is_some_and(|it| it.contains(" OR ") && it.contains("MIT") && !it.contains(" AND "));
    let is = |name: &str, word: &str| name.to_ascii_lowercase().contains(word);
    if !choice || !files.iter().any(|name| is(name, "mit")) {
        return files.to_vec();
    }
    files
        .iter()
        .copied()
        .filter(|name| is(name, "mit") || is(name, "notice") || is(name, "copyright"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_told_once() {
        let texts = [("b 1", "Do as\n you like"), ("a 1", "Do as you like"), ("c 1", "Do not")];
        let text = joined(&texts.map(|(part, text)| (part.to_owned(), text.to_owned())));
        assert_eq!(text.matches("you like").count(), 1);
        assert!(text.starts_with("a 1\nb 1\n\nDo as"), "{text}");
        assert!(text.contains("c 1\n\nDo not"));
    }

    #[test]
    fn where_mit_is_offered_its_file_and_the_notices_are_enough() {
        let files = ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE"];
        assert_eq!(needed(Some("MIT OR Apache-2.0"), &files), ["LICENSE-MIT", "NOTICE"]);
        assert_eq!(needed(Some("MIT AND Apache-2.0"), &files), files);
        assert_eq!(needed(Some("(MIT OR Apache-2.0) AND Unicode-3.0"), &files), files);
        assert_eq!(needed(Some("MIT OR Apache-2.0"), &["LICENSE"]), ["LICENSE"]);
        assert_eq!(needed(None, &files), files);
    }
}
