//! Names and keys.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::LazyLock,
};

use arcstr::ArcStr;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::intern::{Handle, Interner};

/// A name of an object, a label, a port: eight bytes that lead to the text, which all equal names share.
///
/// Making one is a look into a [table](crate::intern), so it is for names of what is in the cluster. Text that comes from
/// elsewhere, or is put together to be looked at once, is a `&str` or a [`CompactString`].
#[derive(Clone, Default)]
pub struct Name(ArcStr);

/// `namespace/name`: what identifies an object of one kind. Cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for Nodes and Namespaces.
    pub namespace: Name,
    /// The object's name.
    pub name: Name,
}

static NAMES: LazyLock<Interner<ArcStr>> = LazyLock::new(Interner::new);

impl Handle for ArcStr {
    type Value = str;

    fn make(value: &str) -> Self {
        Self::from(value)
    }

    fn value(&self) -> &str {
        self
    }

    fn holders(&self) -> usize {
        // The empty text is static and not counted; it is never in the table.
        Self::strong_count(self).unwrap_or_default()
    }

    fn is(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

impl Name {
    /// The name that reads `text`.
    pub fn new(text: impl AsRef<str>) -> Self {
        match text.as_ref() {
            "" => Self::default(),
            text => Self(NAMES.get(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.0.holders() == 2 {
            NAMES.release(&self.0);
        }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        ArcStr::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if ArcStr::ptr_eq(&self.0, &other.0) {
            return std::cmp::Ordering::Equal;
        }
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// As its text, so that maps are asked with a `&str`.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl From<$text> for Name {
            fn from(text: $text) -> Self {
                let text: &str = text.as_ref();
                Self::new(text)
            }
        }
    )*};
}

from_text!(&str, &String, String, Cow<'_, str>, Box<str>, CompactString, &CompactString);

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

macro_rules! equals_text {
    ($($text:ty),*) => {$(
        impl PartialEq<$text> for Name {
            fn eq(&self, other: &$text) -> bool {
                let text: &str = other.as_ref();
                self.as_str() == text
            }
        }

        impl PartialEq<Name> for $text {
            fn eq(&self, other: &Name) -> bool {
                other == self
            }
        }
    )*};
}

equals_text!(str, &str, String);

impl PartialEq<CompactString> for Name {
    fn eq(&self, other: &CompactString) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name::new(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl Key {
    /// The key of `name` in `namespace`.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self { namespace: Name::new(namespace), name: Name::new(name) }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: impl AsRef<str>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn equal_names_are_one_and_go_with_the_last_of_them() {
        let text = "name-tests-freed";
        assert!(!NAMES.contains(text));
        let one = Name::new(text);
        let other: Name = serde_json::from_str(&format!("{text:?}")).unwrap();
        assert!(ArcStr::ptr_eq(&one.0, &other.0) && one == other);
        drop(one);
        assert!(NAMES.contains(text));
        drop(other.clone());
        assert!(NAMES.contains(text));
        drop(other);
        assert!(!NAMES.contains(text), "nobody has it any more");
    }

    #[test]
    fn names_of_several_threads_are_the_same_and_none_stays() {
        let text = |number: usize| format!("name-tests-threads-{number}");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut names = Vec::new();
                    for round in 0..200 {
                        names = (0..500).map(|number| Name::from(text(number))).collect();
                        assert!(names.iter().enumerate().all(|(at, name)| *name == text(at)), "{round}");
                    }
                    names
                })
            })
            .collect();
        let all: Vec<Vec<Name>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        for names in &all {
            assert!(names.iter().zip(&all[0]).all(|(one, other)| ArcStr::ptr_eq(&one.0, &other.0)));
        }
        drop(all);
        // Handles that went at the same moment may have left some, which are found when the table grows.
        let others: Vec<Name> =
            (0..20_000).map(|number| format!("name-tests-others-{number}").into()).collect();
        assert!((0..500).all(|number| !NAMES.contains(&text(number))));
        drop(others);
        assert!(NAMES.len() < 20_000);
    }

    #[test]
    fn a_name_is_found_by_its_text() {
        let known = HashMap::from([(Name::new("a"), 1)]);
        assert_eq!(known.get("a"), Some(&1));
        assert!(Name::new("a") == "a" && Name::new("a") < Name::new("b"));
        assert!(Name::default().is_empty());
        assert_eq!(size_of::<Option<Name>>(), 8);
    }
}
