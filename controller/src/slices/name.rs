//! Names of new slices: the same for everybody who would make the same slice.
//!
//! Upstream lets the API server make up a name (`generateName`). A create that is sent twice, because the answer to the
//! first was lost or because two replicas believe that they lead, then leaves two slices with the same endpoints. Names
//! computed from the Service's identity collide instead: the second create is refused with 409 AlreadyExists.
//!
//! They look like upstream's: the Service's name, a dash and five letters, at most 63 bytes.

use std::{collections::BTreeSet, hash::Hasher};

use callsign_shared::{
    Name,
    object::{AddressType, Uid},
};
use compact_str::CompactString;

/// The alphabet of Kubernetes' generated names: nothing that forms words or reads like another letter
/// (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHABET: [u8; 27] = *b"bcdfghjklmnpqrstvwxz2456789";

const SUFFIX: usize = 5;

/// What upstream leaves of the Service's name and the dash (`k8s.io/apiserver/pkg/storage/names`).
const LONGEST_BASE: usize = 63 - SUFFIX;

/// Gives out names for the slices of one owner.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    base: CompactString,
    uid: Uid,
    taken: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    /// Names for slices of `owner`, whose identity is `uid`, none of them in `taken`.
    pub(crate) fn new(owner: &str, uid: &Uid, taken: impl Iterator<Item = &'a str>) -> Self {
        let mut base = CompactString::from(owner);
        base.push('-');
        while base.len() > LONGEST_BASE {
            base.pop();
        }
        Self { base, uid: uid.clone(), taken: taken.collect() }
    }

    /// The first name of this address type that is neither taken nor in `given`.
    pub(crate) fn next(&self, address_type: AddressType, given: &BTreeSet<Name>) -> Name {
        let mut number = 0_u64;
        loop {
            let name = self.candidate(address_type, number);
            // Every round has another hash; names run out only after 27^5 of them are taken.
            if !self.taken.contains(name.as_str()) && !given.contains(&name) {
                return name;
            }
            number += 1;
        }
    }

    fn candidate(&self, address_type: AddressType, number: u64) -> Name {
        let mut hasher = fnv::FnvHasher::default();
        self.uid.with_text(|uid| hasher.write(uid.as_bytes()));
        hasher.write_u8(0);
        hasher.write(address_type.as_str().as_bytes());
        hasher.write_u64(number);
        // FNV's low bits depend on little of the input; fold the high ones in.
        let mut hash = hasher.finish();
        hash ^= hash >> 29;
        let mut name = self.base.clone();
        for _ in 0..SUFFIX {
            let letter = usize::try_from(hash % 27).unwrap_or_default();
            name.push(char::from(ALPHABET.get(letter).copied().unwrap_or(b'b')));
            hash /= 27;
        }
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_looks_like_upstreams_and_is_stable() {
        let names = Names::new("web", &Uid::from("uid-1"), std::iter::empty());
        let name = names.next(AddressType::V4, &BTreeSet::new());
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
        assert_eq!(name, names.next(AddressType::V4, &BTreeSet::new()));
        assert_ne!(name, names.next(AddressType::V6, &BTreeSet::new()));
        assert_ne!(
            name,
            Names::new("web", &Uid::from("uid-2"), std::iter::empty())
                .next(AddressType::V4, &BTreeSet::new())
        );
    }

    #[test]
    fn what_is_taken_is_passed_over() {
        let first =
            Names::new("web", &Uid::from("u"), std::iter::empty()).next(AddressType::V4, &BTreeSet::new());
        let names = Names::new("web", &Uid::from("u"), std::iter::once(first.as_str()));
        let second = names.next(AddressType::V4, &BTreeSet::new());
        let third = names.next(AddressType::V4, &BTreeSet::from([second.clone()]));
        assert!(first != second && second != third && first != third);
    }

    #[test]
    fn the_longest_service_name_still_fits() {
        let names = Names::new(&"a".repeat(63), &Uid::from("u"), std::iter::empty());
        assert_eq!(names.next(AddressType::V4, &BTreeSet::new()).len(), 63);
    }
}
