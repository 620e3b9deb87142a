//! Names as they are compared: on the wire, in lower case (RFC 4343), with their labels found once.
//!
//! ```text
//!   \x03web\x02ns\x03svc\x07cluster\x05local          bytes
//!    0      4   7    11      19                       starts
//! ```
//!
//! A question's name is read straight from its packet into one of these, on the stack: finding its zone, its Service and
//! its block are comparisons of slices of it. A length is below the letters, so a whole name is put into lower case at
//! once, and equal slices that begin at a label are equal names.

use hickory_proto::rr::Name;

/// A name in lower case, without the root's byte.
#[derive(Clone)]
pub struct Folded {
    bytes: [u8; LONGEST],
    length: u8,
    /// Where its labels begin, the leftmost first.
    starts: [u8; MOST_LABELS],
    labels: u8,
}

/// A zone that names are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix {
    /// In lower case, without the root's byte.
    wire: Box<[u8]>,
    labels: usize,
}

/// Bytes of the longest name (RFC 1035 3.1), with the root's.
const LONGEST: usize = 255;
/// Labels of the name that has most of them.
const MOST_LABELS: usize = 127;
const LONGEST_LABEL: u8 = 63;

impl Folded {
    /// The name that `wire` begins with, to the root. `None` where it is cut short, longer than any name, or compressed:
    /// nothing stands before a question that it could point to.
    pub fn read(wire: &[u8]) -> Option<Self> {
        let mut name = Self::root();
        name.fill(wire).then_some(name)
    }

    /// As [`Self::read`], of the root, where it is. What cannot be read leaves a name that is of no use.
    pub(crate) fn fill(&mut self, wire: &[u8]) -> bool {
        self.try_fill(wire).is_some()
    }

    fn try_fill(&mut self, wire: &[u8]) -> Option<()> {
        let mut at = 0;
        // A label takes two bytes or more.
        for start in &mut self.starts {
            let length = *wire.get(at)?;
            if length == 0 {
                break;
            }
            if length > LONGEST_LABEL || at + usize::from(length) >= LONGEST - 1 {
                return None;
            }
            *start = at as u8;
            self.labels += 1;
            at += usize::from(length) + 1;
        }
        if *wire.get(at)? != 0 {
            return None;
        }
        self.length = at as u8;
        let bytes = self.bytes.get_mut(..at)?;
        bytes.copy_from_slice(wire.get(..at)?);
        bytes.make_ascii_lowercase();
        Some(())
    }

    /// A name that is there already.
    pub fn of(name: &Name) -> Self {
        let mut wire = [0; LONGEST];
        let mut at = 0;
        for label in name {
            // A `Name` is no longer than a name can be.
            let length = u8::try_from(label.len()).unwrap_or_default();
            let Some(place) = wire.get_mut(at..at + 1 + label.len()) else { break };
            if let [first, rest @ ..] = place {
                *first = length;
                rest.copy_from_slice(label);
            }
            at += label.len() + 1;
        }
        Self::read(&wire).unwrap_or_else(Self::root)
    }

    /// The root.
    pub fn root() -> Self {
        Self { bytes: [0; LONGEST], length: 0, starts: [0; MOST_LABELS], labels: 0 }
    }

    /// How many labels it has.
    pub fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// The whole of it, without the root's byte.
    pub fn wire(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Bytes before its last so many labels; all of them where there are none of those.
    pub fn before_last(&self, labels: usize) -> usize {
        let at = self.labels().checked_sub(labels).and_then(|at| self.starts.get(..self.labels())?.get(at));
        usize::from(at.copied().unwrap_or(self.length))
    }

    /// Its last so many labels; `None` where it has fewer.
    pub fn last(&self, labels: usize) -> Option<&[u8]> {
        if labels > self.labels() {
            return None;
        }
        self.wire().get(self.before_last(labels)..)
    }

    /// A label, counted from the right: 0 is the last.
    pub fn label(&self, from_right: usize) -> Option<&[u8]> {
        let wire = self.last(from_right + 1)?;
        let (length, rest) = wire.split_first()?;
        rest.get(..usize::from(*length))
    }

    /// Its labels behind the last so many, from the right.
    pub fn labels_before(&self, last: usize) -> impl Iterator<Item = &[u8]> + Clone {
        (last..self.labels()).map_while(|at| self.label(at))
    }

    /// The bytes of `count` labels that stand before the last so many, with their lengths.
    pub fn between(&self, count: usize, last: usize) -> Option<&[u8]> {
        self.wire().get(self.before_last(last + count)..self.before_last(last))
    }

    /// Whether it is in the tree of addresses.
    pub fn is_reverse(&self) -> bool {
        self.last(2).is_some_and(|last| last == b"\x07in-addr\x04arpa" || last == b"\x03ip6\x04arpa")
    }
}

impl std::fmt::Debug for Folded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Folded({})", self.wire().escape_ascii())
    }
}

impl Suffix {
    /// This zone.
    pub fn of(zone: &Name) -> Self {
        let folded = Folded::of(zone);
        Self { wire: folded.wire().into(), labels: folded.labels() }
    }

    /// Whether a name is in it, or its own.
    pub fn holds(&self, name: &Folded) -> bool {
        name.last(self.labels).is_some_and(|last| *last == *self.wire)
    }

    /// How many labels it has.
    pub fn labels(&self) -> usize {
        self.labels
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable};
    use proptest::prelude::*;

    use super::*;

    fn folded(text: &str) -> Folded {
        Folded::of(&Name::from_ascii(text).unwrap())
    }

    #[test]
    fn labels_are_counted_from_the_right() {
        let name = folded("Web.NS.svc.Cluster.Local.");
        assert_eq!(name.wire(), b"\x03web\x02ns\x03svc\x07cluster\x05local");
        assert_eq!((name.labels(), name.before_last(2), name.before_last(5)), (5, 11, 0));
        assert_eq!((name.before_last(0), name.before_last(6)), (25, 25));
        assert_eq!(
            (name.label(0), name.label(4), name.label(5)),
            (Some(&b"local"[..]), Some(&b"web"[..]), None)
        );
        assert_eq!(name.between(2, 3), Some(&b"\x03web\x02ns"[..]));
        assert_eq!(name.labels_before(3).collect::<Vec<_>>(), [b"ns".as_slice(), b"web"]);
        assert_eq!(folded(".").labels(), 0);
        assert_eq!(folded(".").last(0), Some(&b""[..]));
    }

    #[test]
    fn zones_hold_what_ends_in_them() {
        let zone = Suffix::of(&Name::from_ascii("Cluster.local.").unwrap());
        for (name, held) in [
            ("cluster.LOCAL.", true),
            ("*.cluster.local.", true),
            ("mycluster.local.", false),
            ("local.", false),
            (".", false),
        ] {
            assert_eq!(zone.holds(&folded(name)), held, "{name}");
        }
        assert!(Suffix::of(&Name::root()).holds(&folded(".")));
    }

    #[test]
    fn only_whole_names_are_read() {
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62], &[0]].concat();
        assert_eq!((longest.len(), Folded::read(&longest).map(|name| name.labels())), (255, Some(4)));
        let longer = [&[63; 64][..], &[63; 64], &[63; 64], &[62; 63], &[0]].concat();
        let many = [&[1; 254][..], &[0]].concat();
        assert_eq!(Folded::read(&many).map(|name| name.labels()), Some(127));
        let more = [&[1; 256][..], &[0]].concat();
        for wrong in [&b""[..], b"\x01", b"\x01a", b"\xc0\x0c", b"\x40", &longer, &more] {
            assert!(Folded::read(wrong).is_none(), "{wrong:?}");
        }
    }

    proptest! {
        /// Any bytes: what is read is what the codec reads, pointers apart.
        #[test]
        fn reads_as_the_codec(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..4, any::<u8>()], 0..300),
                proptest::collection::vec("[a-zA-Z0-9*_-]{1,63}", 0..8).prop_map(|labels| {
                    let mut wire: Vec<u8> = labels.iter().flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
                    wire.push(0);
                    wire
                }),
            ],
        ) {
            let theirs = Name::read(&mut BinDecoder::new(&bytes)).ok();
            match (Folded::read(&bytes), theirs) {
                (Some(ours), Some(theirs)) => {
                    let mut wire = theirs.to_bytes().unwrap();
                    prop_assert_eq!(wire.pop(), Some(0));
                    wire.make_ascii_lowercase();
                    prop_assert_eq!(ours.wire(), wire.as_slice());
                    prop_assert_eq!(ours.labels(), theirs.iter().count());
                    let again = Folded::of(&theirs);
                    prop_assert_eq!(again.wire(), ours.wire());
                }
                (Some(ours), None) => prop_assert!(false, "{ours:?} is no name"),
                (None, Some(theirs)) => {
                    // A pointer needs something to point to, and here everything before it is the name itself.
                    prop_assert!(bytes.iter().any(|byte| *byte >= 0xc0), "{theirs} is one");
                }
                (None, None) => {}
            }
        }
    }
}
