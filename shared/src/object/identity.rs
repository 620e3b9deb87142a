//! Identities and versions, in the form that takes the least room.

use std::{cmp::Ordering, fmt};

use compact_str::format_compact;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::name::Name;

/// `metadata.uid`. Opaque by contract, a UUID on every API server there is: its sixteen bytes, not its 36 letters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Form<[u8; 16]>);

/// `metadata.resourceVersion`. Opaque by contract, a number on every API server there is (KEP-5504).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceVersion(Form<u64>);

/// A text that is nearly always of a form which can be written shorter. One text has one form.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form<T> {
    Short(T),
    Text(Name),
}

impl Uid {
    /// The identity that reads `text`.
    pub fn new(text: &str) -> Self {
        let short = Uuid::try_parse(text).ok().filter(|uuid| {
            // A UUID has several spellings; only one is what the bytes are written as.
            uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text
        });
        Self(short.map_or_else(|| Form::Text(Name::new(text)), |uuid| Form::Short(uuid.into_bytes())))
    }

    /// Whether it is the empty text: the object has none yet.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Text(text) if text.is_empty())
    }

    /// Does something with the text.
    pub fn with_text<R>(&self, act: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Form::Short(bytes) => {
                act(Uuid::from_bytes(*bytes).as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            Form::Text(text) => act(text),
        }
    }
}

impl ResourceVersion {
    /// The version that reads `text`.
    pub fn new(text: &str) -> Self {
        let canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
        let number = text.parse().ok().filter(|_| canonical);
        Self(number.map_or_else(|| Form::Text(Name::new(text)), Form::Short))
    }

    /// Whether it is the empty text: the object has none yet.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Text(text) if text.is_empty())
    }

    /// Does something with the text.
    pub fn with_text<R>(&self, act: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Form::Short(number) => act(&format_compact!("{number}")),
            Form::Text(text) => act(text),
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<u64> {
        match &self.0 {
            Form::Short(number) => Some(*number),
            Form::Text(text) => text.parse().ok(),
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Short(number) => number.fmt(f),
            Form::Text(text) => f.write_str(text),
        }
    }
}

/// In the order of the texts: upstream sorts by them.
impl Ord for Uid {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Hyphens are at the same places, and digits are in the order of their values.
            (Form::Short(one), Form::Short(other)) => one.cmp(other),
            _ => self.with_text(|one| other.with_text(|other| one.cmp(other))),
        }
    }
}

impl PartialOrd for Uid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

macro_rules! text {
    ($($type:ident)*) => {$(
        impl Default for $type {
            fn default() -> Self {
                Self(Form::Text(Name::default()))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{self}\"")
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self::new(&text)
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, text: &str) -> bool {
                *self == Self::new(text)
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, text: &&str) -> bool {
                *self == **text
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E>(self, text: &str) -> Result<$type, E> {
                        Ok($type::new(text))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text!(Uid ResourceVersion);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_text_is_kept_as_it_was() {
        let lower = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
        for text in ["", "u", lower, &lower.to_uppercase(), &lower.replace('-', ""), &format!("{{{lower}}}")]
        {
            assert_eq!(Uid::new(text).to_string(), text);
            assert!(Uid::new(text) == text && (text.is_empty() == Uid::new(text).is_empty()));
        }
        for text in ["", "0", "7", "007", "+7", "18446744073709551615", "18446744073709551616", "x"] {
            assert_eq!(ResourceVersion::new(text).to_string(), text);
            assert!(ResourceVersion::new(text) == text);
        }
        assert_eq!(ResourceVersion::new("007").number(), Some(7));
        assert!(matches!(Uid::new(lower).0, Form::Short(_)));
        assert!(matches!(ResourceVersion::new("7").0, Form::Short(7)));
        assert_eq!((size_of::<Uid>(), size_of::<ResourceVersion>()), (24, 16));
    }

    proptest! {
        #[test]
        fn identities_are_in_the_order_of_their_texts(one: [u8; 16], other: [u8; 16], odd in "[0-9a-f-]{0,9}") {
            let text = |bytes| Uuid::from_bytes(bytes).to_string();
            for (one, other) in [(text(one), text(other)), (text(one), odd)] {
                prop_assert_eq!(Uid::new(&one).cmp(&Uid::new(&other)), one.cmp(&other));
            }
        }
    }
}
