//! The SHA-512 of a configuration, as CoreDNS counts it.
//!
//! `reload` tells whether a file has changed by the hash of what was parsed, logs it and has it in a metric, by which fleets
//! check that all replicas run the same configuration. It is over the JSON of the parsed blocks (`coredns`
//! `plugin/reload/reload.go`, `coredns/caddy` `caddyfile/parse.go`), which is made here to the byte: a replica of ours and one
//! of CoreDNS's show the same value for the same file. Comments and white space within lines do not count; lines do.

use std::{collections::BTreeMap, fmt::Write as _};

use sha2::{Digest as _, Sha512};

use super::Token;

/// What has been parsed so far.
#[derive(Default)]
pub(super) struct Digest {
    hash: Sha512,
    /// Whether there was a block.
    begun: bool,
    /// The words of this block, by directive.
    words: BTreeMap<String, String>,
    /// Whose words come.
    directive: String,
}

impl Digest {
    /// The words that follow are this directive's.
    pub(super) fn directive(&mut self, name: &str) {
        name.clone_into(&mut self.directive);
    }

    /// A word of the directive. `file` is empty for the main one.
    pub(super) fn word(&mut self, file: &str, word: &Token) {
        let words = self.words.entry(self.directive.clone()).or_default();
        if !words.is_empty() {
            words.push(',');
        }
        words.push_str("{\"File\":");
        text(words, file);
        // Writing to a string does not fail.
        let _ = write!(words, ",\"Line\":{},\"Text\":", word.at.line);
        text(words, &word.text);
        words.push('}');
    }

    /// A block ends, which has these keys.
    pub(super) fn block<'k>(&mut self, keys: impl Iterator<Item = &'k str>) {
        let mut json = String::from(if self.begun { "," } else { "[" });
        self.begun = true;
        json.push_str("{\"Keys\":[");
        for (at, key) in keys.enumerate() {
            if at > 0 {
                json.push(',');
            }
            text(&mut json, key);
        }
        json.push_str("],\"Tokens\":{");
        for (at, (directive, words)) in std::mem::take(&mut self.words).iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            text(&mut json, directive);
            json.push_str(":[");
            json.push_str(words);
            json.push(']');
        }
        json.push_str("}}");
        self.hash.update(json);
    }

    /// The block that ends does not count.
    pub(super) fn forget(&mut self) {
        self.words.clear();
    }

    /// The hash, in hexadecimal digits.
    pub(super) fn end(mut self) -> String {
        // A file without blocks is a list that was never made.
        self.hash.update(if self.begun { "]" } else { "null" });
        let mut hex = String::with_capacity(128);
        for byte in self.hash.finalize() {
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

/// A string as Go's `encoding/json` writes it.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{corefile::Corefile, testing::NoFiles};

    fn sha512(text: &str) -> String {
        Corefile::parse("/etc/coredns/Corefile", text, &NoFiles).unwrap().sha512
    }

    /// What CoreDNS logs for these files, in clusters of those distributions.
    #[test]
    fn the_hashes_are_coredns() {
        let kubeadm = include_str!("../../tests/corefiles/kubeadm-1.32/Corefile");
        assert_eq!(
            sha512(kubeadm),
            "591cf328cccc12bc490481273e738df59329c62c0b729d94e8b61db9961c2fa5f046dd37f1cf888b953814040d180f525949\
             72691cd6ff41be96639138a43908"
        );
        let kubeadm = include_str!("../../tests/corefiles/kubeadm-1.33/Corefile");
        assert_eq!(
            sha512(kubeadm),
            "1b226df79860026c6a52e67daa10d7f0d57ec5b023288ec00c5e05f93523c894564e15b91770d3a07ae1cfbe861d15b37d4a\
             0027e69c546ab112970993a3b03b"
        );
        let logged = kubeadm.replace("    errors\n", "    errors\n    log\n");
        assert!(sha512(&logged).starts_with("2dd49c56"));
        // k3s did not import these yet.
        let k3s = include_str!("../../tests/corefiles/k3s/Corefile");
        let k3s = k3s.replace("    import /etc/coredns/custom/*.override\n", "");
        assert_eq!(
            sha512(&k3s),
            "b941b080e5322f6519009bb49349462c7ddb6317425b0f6a83e5451175b720703949e3f3b454a24e77f3ffe57fd5e9c6130e\
             528a5a1dd00d9000e4afd6c1108d"
        );
    }

    #[test]
    fn what_counts_counts() {
        let one = sha512(".:53 {\n    whoami\n}\n");
        assert_eq!(one, sha512(".:53   { # comment\n\twhoami\n}\n# end\n"));
        for other in
            [".:54 {\n whoami\n}", ".:53 {\n\n whoami\n}", ".:53 {\n log\n}", "", ". {\n whoami\n}\n"]
        {
            assert_ne!(one, sha512(other), "{other}");
        }
        // SHA-512 of `null`, and of the JSON of a block of one key.
        assert!(sha512("").starts_with("04f8ff2682604862e405bf88de102ed7"));
        assert_ne!(sha512(""), sha512("a"));
    }

    #[test]
    fn text_is_gos_json() {
        let mut out = String::new();
        text(&mut out, "a\"\\\n\u{1}<é\u{2028}");
        assert_eq!(out, r#""a\"\\\n\u0001\u003cé\u2028""#);
    }
}
