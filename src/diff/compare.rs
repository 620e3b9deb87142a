//! How two answers differ.

use std::fmt;

use serde::Serialize;

use super::seen::{Line, Section, Seen};

/// One way in which the answers to a question differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(crate) enum Difference {
    /// The response codes.
    Rcode {
        /// The server's.
        server: String,
        /// The other's.
        against: String,
    },
    /// A flag.
    Flag {
        /// Its mnemonic.
        flag: &'static str,
        /// Whether the server sets it.
        server: bool,
        /// Whether the other does.
        against: bool,
    },
    /// Records that one of them has alone.
    Records {
        /// Where: `answer`, `authority`, `additional`.
        section: &'static str,
        /// Only the server's.
        only_server: Vec<Line>,
        /// Only the other's.
        only_against: Vec<Line>,
    },
    /// One of them gives a chain of aliases out of order.
    Order {
        /// Whether the server's is in order.
        server: bool,
        /// Whether the other's is.
        against: bool,
    },
    /// The TTL of a record that both have.
    Ttl {
        /// Where.
        section: &'static str,
        /// The record.
        record: Line,
        /// The server's.
        server: u32,
        /// The other's.
        against: u32,
    },
}

/// The sections of an answer.
pub(crate) const ANSWER: &str = "answer";
const AUTHORITY: &str = "authority";
const ADDITIONAL: &str = "additional";

/// All differences between two answers to one question.
pub(crate) fn compare(server: &Seen, against: &Seen) -> Vec<Difference> {
    let mut found = Vec::new();
    if server.rcode != against.rcode {
        found.push(Difference::Rcode { server: server.rcode.clone(), against: against.rcode.clone() });
    }
    let flags = [
        ("AA", server.authoritative, against.authoritative),
        ("TC", server.truncated, against.truncated),
        ("RA", server.recursion_available, against.recursion_available),
        ("EDNS", server.edns, against.edns),
    ];
    let flags = flags.into_iter().filter(|(_, server, against)| server != against);
    found.extend(flags.map(|(flag, server, against)| Difference::Flag { flag, server, against }));
    compare_section(ANSWER, &server.answer, &against.answer, &mut found);
    compare_section(AUTHORITY, &server.authority, &against.authority, &mut found);
    compare_section(ADDITIONAL, &server.additional, &against.additional, &mut found);
    if server.in_order != against.in_order {
        found.push(Difference::Order { server: server.in_order, against: against.in_order });
    }
    found
}

fn compare_section(section: &'static str, server: &Section, against: &Section, found: &mut Vec<Difference>) {
    let only = |these: &Section, those: &Section| -> Vec<Line> {
        these.keys().filter(|line| !those.contains_key(line)).cloned().collect()
    };
    let (only_server, only_against) = (only(server, against), only(against, server));
    if !(only_server.is_empty() && only_against.is_empty()) {
        found.push(Difference::Records { section, only_server, only_against });
    }
    found.extend(server.iter().filter_map(|(record, ttl)| {
        let other = against.get(record).filter(|other| *other != ttl)?;
        Some(Difference::Ttl { section, record: record.clone(), server: *ttl, against: *other })
    }));
}

impl Difference {
    /// Whether it is one of TTLs, which count down in caches.
    pub(crate) fn is_ttl(&self) -> bool {
        matches!(self, Self::Ttl { .. })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |is_set: bool| if is_set { "set" } else { "not set" };
        match self {
            Self::Rcode { server, against } => write!(f, "{server} here, {against} there"),
            Self::Flag { flag, server, against } => {
                write!(f, "{flag} {} here, {} there", set(*server), set(*against))
            }
            Self::Records { section, only_server, only_against } => {
                let side = |lines: &[Line], side: &str| {
                    let count = lines.len();
                    let what = if count == 1 { "record" } else { "records" };
                    (count > 0).then(|| format!("{count} {what} only {side}"))
                };
                let sides = [side(only_server, "here"), side(only_against, "there")];
                let sides: Vec<String> = sides.into_iter().flatten().collect();
                write!(f, "{section}: {}", sides.join(", "))
            }
            Self::Order { server, .. } => {
                write!(f, "an alias comes after what it leads to, {}", if *server { "there" } else { "here" })
            }
            Self::Ttl { record, server, against, .. } => {
                write!(f, "TTL of {record}: {server} here, {against} there")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::seen::tests::{negative, read, seen},
        *,
    };

    fn said(server: &Seen, against: &Seen) -> Vec<String> {
        compare(server, against).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let one = seen("NOERROR", &["a. 30 A 10.0.0.1", "a. 30 A 10.0.0.2"]);
        assert_eq!(said(&one, &one), [""; 0]);
        let other = seen("NOERROR", &["a. 30 A 10.0.0.1", "a. 30 A 10.0.0.3", "a. 30 A 10.0.0.4"]);
        assert_eq!(said(&one, &other), ["answer: 1 record only here, 2 records only there"]);
        let other = seen("NOERROR", &["a. 30 A 10.0.0.1", "a. 5 A 10.0.0.2"]);
        assert_eq!(said(&one, &other), ["TTL of a. A 10.0.0.2: 30 here, 5 there"]);
        let (mut other, soa) = (one.clone(), negative("NOERROR"));
        other.authority.clone_from(&soa.authority);
        assert_eq!(said(&one, &other), ["authority: 1 record only there"]);
        assert_eq!(said(&soa, &negative("NXDOMAIN")), ["NOERROR here, NXDOMAIN there"]);
        let mut other = one.clone();
        (other.authoritative, other.recursion_available, other.edns) = (false, true, false);
        assert_eq!(
            said(&one, &other),
            ["AA set here, not set there", "RA not set here, set there", "EDNS set here, not set there"]
        );
        let mut other = one.clone();
        (other.in_order, other.truncated) = (false, true);
        assert_eq!(
            said(&one, &other),
            ["TC not set here, set there", "an alias comes after what it leads to, there"]
        );
        let mut other = one.clone();
        other.additional.extend([read("b. 30 A 10.0.0.9")]);
        assert_eq!(said(&other, &one), ["additional: 1 record only here"]);
    }

    fn any_section() -> impl Strategy<Value = Section> {
        let line = ("[ab]\\.", prop_oneof![Just("A".to_owned()), Just("SRV".to_owned())], "[0-2]")
            .prop_map(|(owner, kind, data)| Line { owner, kind, data });
        prop::collection::btree_map(line, 0..3_u32, 0..4)
    }

    prop_compose! {
        fn any_seen()(
            rcode in prop_oneof![Just("NOERROR".to_owned()), Just("NXDOMAIN".to_owned())],
            flags in any::<[bool; 5]>(),
            answer in any_section(),
            authority in any_section(),
            additional in any_section(),
        ) -> Seen {
            let [authoritative, recursion_available, truncated, edns, in_order] = flags;
            Seen { rcode, authoritative, recursion_available, truncated, edns, in_order, answer, authority, additional }
        }
    }

    /// The same difference as it is seen from the other side.
    fn turned(difference: Difference) -> Difference {
        match difference {
            Difference::Rcode { server, against } => Difference::Rcode { server: against, against: server },
            Difference::Flag { flag, server, against } => {
                Difference::Flag { flag, server: against, against: server }
            }
            Difference::Records { section, only_server, only_against } => {
                Difference::Records { section, only_server: only_against, only_against: only_server }
            }
            Difference::Order { server, against } => Difference::Order { server: against, against: server },
            Difference::Ttl { section, record, server, against } => {
                Difference::Ttl { section, record, server: against, against: server }
            }
        }
    }

    proptest! {
        #[test]
        fn equal_answers_and_no_others_have_no_difference(one in any_seen(), other in any_seen()) {
            prop_assert!(compare(&one, &one).is_empty());
            prop_assert_eq!(compare(&one, &other).is_empty(), one == other);
        }

        #[test]
        fn both_sides_see_the_same(one in any_seen(), other in any_seen()) {
            let there: Vec<Difference> = compare(&other, &one).into_iter().map(turned).collect();
            prop_assert_eq!(compare(&one, &other), there);
        }
    }
}
