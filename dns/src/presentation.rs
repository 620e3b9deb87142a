//! Names as text (RFC 1035 5.1), with the escapes that CoreDNS writes: a backslash before what means something in a zone file,
//! three decimal digits for what cannot be printed.

use std::fmt::Write as _;

use hickory_proto::rr::Name;

/// A name with the dot at its end, in the case it has.
pub(crate) fn presented(name: &Name) -> String {
    let mut text = String::with_capacity(name.len() + 1);
    for label in name {
        for byte in label {
            match byte {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(*byte));
                }
                b'!'..=b'~' => text.push(char::from(*byte)),
                other => {
                    // Writing to a string does not fail.
                    let _ = write!(text, "\\{other:03}");
                }
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// The name that a text says: with or without the dot at its end, in any bytes, those of UTF-8 too, as CoreDNS takes it.
pub(crate) fn written(text: &str) -> Option<Name> {
    if text.is_empty() || text == "." {
        return Some(Name::root());
    }
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = text.strip_suffix('.').unwrap_or(text).bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => escaped(&mut bytes)?,
            plain => plain,
        };
        labels.last_mut()?.push(byte);
    }
    if labels.iter().any(Vec::is_empty) {
        return None;
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// What is behind a backslash: a byte in three digits, or itself (RFC 1035 5.1).
fn escaped(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut number = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        number = number * 10 + u16::from(digit - b'0');
    }
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_escaped_as_coredns_does() {
        let name = |labels: &[&[u8]]| presented(&Name::from_labels(labels.iter().copied()).unwrap());
        assert_eq!(name(&[b"WWW", b"example", b"org"]), "WWW.example.org.");
        assert_eq!(name(&[b"a b.c", b"\"(;)\"", b"_x-*"]), "a\\ b\\.c.\\\"\\(\\;\\)\\\"._x-*.");
        assert_eq!(name(&[b"\x00\x7f\xff\\", "é".as_bytes()]), "\\000\\127\\255\\\\.\\195\\169.");
        assert_eq!(presented(&Name::root()), ".");
    }

    #[test]
    fn what_is_no_name() {
        for wrong in ["a..b", "..", ".a", "a\\", "a\\25", "a\\256", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(written(wrong), None, "{wrong}");
        }
        for (text, want) in [
            ("", "."),
            (".", "."),
            ("-A.*", "-A.*."),
            ("a\\.b.", "a\\.b."),
            ("\\065", "A."),
            ("é", "\\195\\169."),
        ] {
            assert_eq!(presented(&written(text).unwrap()), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_presented_is_read(labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..5)) {
            let name = Name::from_labels(labels).unwrap();
            let read = written(&presented(&name)).unwrap();
            prop_assert!(read.eq_case(&name), "{}", presented(&name));
        }
    }
}
