//! Many short texts in one piece of memory.
//!
//! A large Service has a label for each endpoint, and nobody else has the same ones. A text of its own for each would cost
//! a pointer, a length and an allocation, or a place in the [table](crate::intern) of names: more than the text itself.

/// Texts, one after the other, and where each of them ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at this place.
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = match at.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// The place of a text among texts that are in order.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?.as_bytes().cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// Texts of more than four gigabytes in all end there.
impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let texts = texts.into_iter();
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(texts.size_hint().0));
        for one in texts {
            let Ok(end) = u32::try_from(text.len() + one.as_ref().len()) else { break };
            text.push_str(one.as_ref());
            ends.push(end);
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn texts_come_back_and_are_found(texts: std::collections::BTreeSet<String>, other: String) {
            let packed: Texts = texts.iter().collect();
            proptest::prop_assert!(packed.iter().eq(texts.iter().map(String::as_str)));
            proptest::prop_assert_eq!((packed.len(), packed.is_empty()), (texts.len(), texts.is_empty()));
            proptest::prop_assert_eq!(packed.get(texts.len()), None);
            for (at, text) in texts.iter().enumerate() {
                proptest::prop_assert_eq!(packed.get(at), Some(text.as_str()));
                proptest::prop_assert_eq!(packed.find(text.as_bytes()), Some(at));
            }
            let place = texts.iter().position(|text| *text == other);
            proptest::prop_assert_eq!(packed.find(other.as_bytes()), place);
        }
    }
}
