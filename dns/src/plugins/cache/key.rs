//! What an answer is found by.

use hickory_proto::rr::RecordType;
use smallvec::SmallVec;

use crate::{
    answer::{Asked, Request},
    folded::Folded,
};

/// Name in lower case as on the wire, type, class, RD, DO and CD, and the network that the answer is to be for, if the
/// question says so (RFC 7871 7.3): answers to questions that differ in one of them differ. What an upstream says without
/// having been asked to look further is no answer for those who want it to.
pub(super) type Key = SmallVec<[u8; 64]>;

/// EDNS Client Subnet.
const CLIENT_SUBNET: u16 = 8;

/// The flags of a question that its answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) recursion_desired: bool,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
}

impl Flags {
    /// Those of a request.
    pub(super) fn of(request: &Request) -> Self {
        Self {
            recursion_desired: request.recursion_desired,
            dnssec_ok: request.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: request.checking_disabled,
        }
    }

    /// Those of a request that is read in place.
    pub(super) fn of_asked(asked: &Asked<'_>) -> Self {
        Self {
            recursion_desired: asked.recursion_desired,
            dnssec_ok: asked.edns.is_some_and(|edns| edns.dnssec_ok),
            checking_disabled: asked.checking_disabled,
        }
    }

    fn bits(self) -> u8 {
        u8::from(self.recursion_desired) << 2
            | u8::from(self.dnssec_ok) << 1
            | u8::from(self.checking_disabled)
    }
}

/// The key of a question with these EDNS options.
pub(super) fn key(
    name: &Folded,
    qtype: RecordType,
    qclass: u16,
    flags: Flags,
    options: &[(u16, Vec<u8>)],
) -> Key {
    let mut key = Key::from_slice(name.wire());
    // The root ends the name: without it a type and a class could stand for one more label.
    key.push(0);
    key.extend_from_slice(&u16::from(qtype).to_be_bytes());
    key.extend_from_slice(&qclass.to_be_bytes());
    key.push(flags.bits());
    if let Some((_, network)) = options.iter().find(|(code, _)| *code == CLIENT_SUBNET) {
        key.extend_from_slice(network);
    }
    key
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, [qtype, qclass]: [u16; 2], flags: u8, network: &[u8]) -> Key {
        let options = [(CLIENT_SUBNET, network.to_vec())];
        let options = if network.is_empty() { &[] } else { options.as_slice() };
        let name = Name::from_ascii(name).unwrap();
        let [recursion_desired, dnssec_ok, checking_disabled] = [4, 2, 1].map(|bit| flags & bit != 0);
        let flags = Flags { recursion_desired, dnssec_ok, checking_disabled };
        key(&Folded::of(&name), qtype.into(), qclass, flags, options)
    }

    #[test]
    fn no_type_and_class_stand_for_a_label() {
        let victim = of("www.example.org.", [1, 1], 0, &[]);
        // "\x03org" and the end of the name, as a type, a class and the flags; the rest as a network.
        let forged = of("www.example.", [0x036f, 0x7267], 0, &[1, 0, 1, 0]);
        assert_ne!(victim, forged);
    }

    proptest! {
        /// A key can be read again, so questions that differ have keys that do.
        #[test]
        fn keys_are_questions(
            name in "([a-c]{1,3}[.]){1,3}|[.]",
            numbers in any::<[u16; 2]>(),
            flags in 0_u8..8,
            network in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let key = of(&name, numbers, flags, &network);
            let mut rest = key.as_slice();
            let mut labels = Vec::new();
            while let [length @ 1..=63, after @ ..] = rest {
                let (label, after) = after.split_at(usize::from(*length));
                labels.push(label);
                rest = after;
            }
            let [0, a, b, c, d, bits, read @ ..] = rest else { panic!("{key:?}") };
            prop_assert_eq!(Name::from_labels(labels).unwrap(), Name::from_ascii(&name).unwrap());
            prop_assert_eq!([u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])], numbers);
            prop_assert_eq!((*bits, read), (flags, network.as_slice()));
        }
    }
}
