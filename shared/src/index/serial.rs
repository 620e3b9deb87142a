//! The zone's serial number: a function of the state, so that replicas which have seen the same agree.
//!
//! ```text
//!   31                                   8 7             0
//!   +-------------------------------------+---------------+
//!   | highest resource version, low bits  | digest of all |
//!   +-------------------------------------+---------------+
//! ```
//!
//! A replica that starts late has not seen what was deleted before, so nothing but what is there now may count. Every
//! creation and update of a Service, a slice or a Namespace raises the upper part, and with it the serial, in the sense
//! of RFC 1982. A deletion leaves the upper part or lowers it, and changes the digest.

use std::{collections::BTreeMap, hash::Hasher};

use crate::object::Meta;

const DIGEST_BITS: u32 = 8;

/// The versions of all objects that names come from.
#[derive(Debug, Default)]
pub(super) struct Versions {
    versions: BTreeMap<u64, u32>,
    digest: u64,
}

impl Versions {
    pub(super) fn insert(&mut self, meta: &Meta) {
        self.digest = self.digest.wrapping_add(digest(meta));
        if let Some(version) = meta.version() {
            *self.versions.entry(version).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, meta: &Meta) {
        self.digest = self.digest.wrapping_sub(digest(meta));
        let Some(version) = meta.version() else { return };
        if let Some(count) = self.versions.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                self.versions.remove(&version);
            }
        }
    }

    pub(super) fn serial(&self) -> u32 {
        let highest = self.versions.last_key_value().map_or(0, |(version, _)| *version);
        let folded = self.digest ^ (self.digest >> 32);
        let folded = folded ^ (folded >> 16);
        let folded = (folded ^ (folded >> 8)) & ((1 << DIGEST_BITS) - 1);
        // The upper bits of a version are cut off on purpose: serials wrap (RFC 1982).
        ((highest << DIGEST_BITS) as u32) | folded as u32
    }
}

/// Equal in every process and build, unlike the standard library's hashes.
fn digest(meta: &Meta) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    for part in [&meta.key.namespace, &meta.key.name] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0);
    }
    meta.uid.with_text(|uid| hasher.write(uid.as_bytes()));
    hasher.write_u8(0);
    meta.resource_version.with_text(|version| hasher.write(version.as_bytes()));
    hasher.write_u8(0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Key;

    fn meta(name: &str, version: &str) -> Meta {
        Meta { key: Key::new("n", name), resource_version: version.into(), ..Meta::default() }
    }

    #[test]
    fn the_order_of_events_does_not_matter() {
        let (mut one, mut other) = (Versions::default(), Versions::default());
        one.insert(&meta("a", "5"));
        one.insert(&meta("b", "7"));
        other.insert(&meta("b", "7"));
        other.insert(&meta("c", "6"));
        other.insert(&meta("a", "5"));
        assert_ne!(one.serial(), other.serial());
        other.remove(&meta("c", "6"));
        assert_eq!(one.serial(), other.serial());
    }

    #[test]
    fn an_update_raises_it() {
        let mut versions = Versions::default();
        versions.insert(&meta("a", "5"));
        let before = versions.serial();
        versions.remove(&meta("a", "5"));
        versions.insert(&meta("a", "6"));
        assert!(versions.serial().wrapping_sub(before) < 1 << 31);
        versions.remove(&meta("a", "6"));
        assert_eq!(versions.serial(), 0);
    }
}
