//! Names as text (RFC 1035 5.1), with the escapes that CoreDNS writes: a backslash before what means something in a zone file,
//! three decimal digits for what cannot be printed.

use std::fmt::Write as _;

use hickory_proto::rr::Name;

/// A name with the dot at its end, in the case it has.
pub(crate) fn written(name: &Name) -> String {
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

/// The name that a text says, in any bytes, those of UTF-8 too; one without the dot at its end is taken from `origin`.
pub(crate) fn read_name(text: &str, origin: &Name) -> Option<Name> {
    if text == "." {
        return Some(Name::root());
    }
    let mut labels: Vec<Vec<u8>> = Vec::new();
    let mut label = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'.' if label.is_empty() => return None,
            b'.' => labels.push(std::mem::take(&mut label)),
            b'\\' => label.push(escaped(&mut bytes)?),
            other => label.push(other),
        }
    }
    if !label.is_empty() {
        labels.push(label);
        labels.extend(origin.iter().map(<[u8]>::to_vec));
    } else if labels.is_empty() {
        return None;
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
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
        let name = |labels: &[&[u8]]| written(&Name::from_labels(labels.iter().copied()).unwrap());
        assert_eq!(name(&[b"WWW", b"example", b"org"]), "WWW.example.org.");
        assert_eq!(name(&[b"a b.c", b"\"(;)\"", b"_x-*"]), "a\\ b\\.c.\\\"\\(\\;\\)\\\"._x-*.");
        assert_eq!(name(&[b"\x00\x7f\xff\\", "é".as_bytes()]), "\\000\\127\\255\\\\.\\195\\169.");
        assert_eq!(written(&Name::root()), ".");
    }

    #[test]
    fn what_is_no_name() {
        for wrong in ["", "a..b", "..", ".a", "a\\", "a\\25", "a\\256", &"a".repeat(64), &"a.".repeat(128)] {
            assert_eq!(read_name(wrong, &Name::root()), None, "{wrong}");
        }
    }

    proptest! {
        /// A name's text is that name, and in lower case.
        #[test]
        fn names_are_written_as_they_are_read(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..8), 0..5),
        ) {
            let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            name.set_fqdn(true);
            let read = read_name(&written(&name), &Name::root()).unwrap();
            prop_assert!(read.eq_case(&name), "{}", written(&name));
            let lower = written(&name).to_ascii_lowercase();
            prop_assert_eq!(read_name(&lower, &Name::root()), Some(name));
        }
    }

    #[test]
    fn names_have_escapes_and_origins() {
        let origin = Name::from_ascii("example.org.").unwrap();
        for (text, wanted) in [
            ("a", Some("a.example.org.")),
            ("a.", Some("a.")),
            (r"a\.b.c", Some(r"a\.b.c.example.org.")),
            (r"\097.", Some("a.")),
            (".", Some(".")),
            ("a..b", None),
            (".a", None),
            ("", None),
            (r"\256.", None),
            (r"\09", None),
            ("a\\", None),
        ] {
            let read = read_name(text, &origin).map(|name| written(&name));
            assert_eq!(read.as_deref(), wanted, "{text}");
        }
        assert_eq!(read_name(&format!("{}.", "l".repeat(64)), &origin), None);
    }
}
