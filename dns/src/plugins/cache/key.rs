//! What an answer is found by.

use hickory_proto::rr::{Name, RecordType};
use smallvec::SmallVec;

/// Name in lower case as on the wire, type, class, DO and CD, and the network that the answer is to be for, if the question
/// says so (RFC 7871 7.3): answers to questions that differ in one of them differ.
pub(super) type Key = SmallVec<[u8; 64]>;

/// EDNS Client Subnet.
const CLIENT_SUBNET: u16 = 8;

/// The key of a question with these EDNS options.
pub(super) fn key(
    name: &Name,
    qtype: RecordType,
    qclass: u16,
    dnssec_ok: bool,
    checking_disabled: bool,
    options: &[(u16, Vec<u8>)],
) -> Key {
    let mut key = Key::new();
    for label in name {
        key.push(label.len() as u8);
        key.extend_from_slice(label);
    }
    // Lengths of labels are below the letters.
    key.make_ascii_lowercase();
    // The root ends the name: without it a type and a class could stand for one more label.
    key.push(0);
    key.extend_from_slice(&u16::from(qtype).to_be_bytes());
    key.extend_from_slice(&qclass.to_be_bytes());
    key.push(u8::from(dnssec_ok) << 1 | u8::from(checking_disabled));
    if let Some((_, network)) = options.iter().find(|(code, _)| *code == CLIENT_SUBNET) {
        key.extend_from_slice(network);
    }
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(name: &str, [qtype, qclass]: [u16; 2], flags: u8, network: &[u8]) -> Key {
        let options = [(CLIENT_SUBNET, network.to_vec())];
        let options = if network.is_empty() { &[] } else { options.as_slice() };
        let name = Name::from_ascii(name).unwrap();
        key(&name, qtype.into(), qclass, flags & 2 != 0, flags & 1 != 0, options)
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
            flags in 0_u8..4,
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
