//! What becomes of two answers to one question.

use hickory_proto::rr::RecordType;

use super::{
    compare::{ANSWER, Difference, compare},
    seen::Seen,
    standing::{Standing, Zones},
    wanted::{CACHED_AA, Wanted, wanted},
};

/// What two answers are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Equal.
    Equal,
    /// Different on purpose.
    Wanted(&'static Wanted),
    /// Names that are not the cluster's, both answered: what others say may be another thing each time.
    Varies(Vec<Difference>),
    /// Only TTLs differ.
    Ttl(Vec<Difference>),
    /// Different.
    Different(Vec<Difference>),
}

/// Judges the answers of two servers to a question of this type for a name of this standing.
pub(crate) fn judge(
    kind: RecordType,
    standing: Standing,
    zones: &Zones,
    server: &Seen,
    against: &Seen,
) -> Verdict {
    let differences = compare(server, against);
    if differences.is_empty() {
        return Verdict::Equal;
    }
    if let Some(wanted) = wanted(kind, standing, zones, server, against) {
        return Verdict::Wanted(wanted);
    }
    let verdict = match standing {
        Standing::Outside => outside(differences, server, against),
        Standing::Alias => alias(differences, zones, server, against),
        _ => Verdict::Different(differences),
    };
    match verdict {
        Verdict::Different(differences) if differences.iter().all(Difference::is_ttl) => {
            Verdict::Ttl(differences)
        }
        verdict => verdict,
    }
}

/// Names of others: the code, the flags and whether there is an answer count; servers between may leave out the rest.
fn outside(mut differences: Vec<Difference>, server: &Seen, against: &Seen) -> Verdict {
    differences.retain(|difference| match difference {
        Difference::Rcode { .. } | Difference::Order { .. } => true,
        Difference::Flag { flag, .. } => *flag != "EDNS",
        Difference::Records { section, .. } | Difference::Ttl { section, .. } => *section == ANSWER,
    });
    if differences.is_empty() {
        return Verdict::Equal;
    }
    let claimed = Difference::Flag { flag: "AA", server: false, against: true };
    let only_claimed = differences.iter().all(|difference| *difference == claimed || difference.is_ttl());
    if only_claimed && differences.contains(&claimed) {
        return Verdict::Wanted(&CACHED_AA);
    }
    differences.retain(|difference| *difference != claimed);
    let others =
        |difference: &Difference| matches!(difference, Difference::Records { .. }) || difference.is_ttl();
    let both = server.is_answer() && against.is_answer();
    if both && differences.iter().all(others) && !differences.iter().all(Difference::is_ttl) {
        return Verdict::Varies(differences);
    }
    Verdict::Different(differences)
}

/// An alias: its own part is the cluster's, what it leads to may be others'.
fn alias(differences: Vec<Difference>, zones: &Zones, server: &Seen, against: &Seen) -> Verdict {
    let (own_server, own_against) = (within(server, zones), within(against, zones));
    let others = |whole: &Seen, own: &Seen| whole.answer.len() > own.answer.len();
    let both = others(server, &own_server) && others(against, &own_against);
    let same = || compare(&own_server, &own_against).iter().all(Difference::is_ttl);
    if both && !differences.iter().all(Difference::is_ttl) && same() {
        return Verdict::Varies(differences);
    }
    Verdict::Different(differences)
}

/// The part of an answer that is at names of these zones.
fn within(seen: &Seen, zones: &Zones) -> Seen {
    let mut seen = seen.clone();
    for section in [&mut seen.answer, &mut seen.authority, &mut seen.additional] {
        section.retain(|line, _| zones.hold(&line.owner));
    }
    seen
}

/// Of TTLs that differ, those that still do at a second look and have not moved: a cache counts down.
pub(crate) fn steady(first: &[Difference], second: &[Difference]) -> Vec<Difference> {
    second.iter().filter(|difference| difference.is_ttl() && first.contains(difference)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            seen::tests::{negative, seen},
            standing::tests::zones,
        },
        *,
    };

    fn verdict(standing: Standing, server: &Seen, against: &Seen) -> &'static str {
        match judge(RecordType::A, standing, &zones(), server, against) {
            Verdict::Equal => "equal",
            Verdict::Wanted(wanted) => wanted.code,
            Verdict::Varies(_) => "varies",
            Verdict::Ttl(_) => "ttl",
            Verdict::Different(_) => "different",
        }
    }

    #[test]
    fn names_of_the_cluster() {
        let one = seen("NOERROR", &["a.cluster.local. 30 A 10.0.0.1"]);
        assert_eq!(verdict(Standing::There, &one, &one), "equal");
        let other = seen("NOERROR", &["a.cluster.local. 30 A 10.0.0.2"]);
        assert_eq!(verdict(Standing::There, &one, &other), "different");
        let other = seen("NOERROR", &["a.cluster.local. 5 A 10.0.0.1"]);
        assert_eq!(verdict(Standing::There, &one, &other), "ttl");
        let mut flag = other;
        flag.authoritative = false;
        assert_eq!(verdict(Standing::There, &one, &flag), "different");
        assert_eq!(verdict(Standing::Nothing, &negative("NXDOMAIN"), &one), "different");
        assert_eq!(verdict(Standing::There, &negative("NOERROR"), &negative("NXDOMAIN")), "nodata");
    }

    #[test]
    fn names_of_others() {
        let outside = |server: &Seen, against: &Seen| verdict(Standing::Outside, server, against);
        let mut one = seen("NOERROR", &["a.example. 300 A 192.0.2.1"]);
        one.authoritative = false;
        let mut rotated = seen("NOERROR", &["a.example. 20 A 192.0.2.2"]);
        rotated.authoritative = false;
        assert_eq!(outside(&one, &rotated), "varies");
        let mut less = one.clone();
        (less.edns, less.authority) = (false, negative("NOERROR").authority);
        assert_eq!(outside(&one, &less), "equal");
        let mut counted = one.clone();
        counted.answer.values_mut().for_each(|ttl| *ttl = 7);
        assert_eq!(outside(&one, &counted), "ttl");
        counted.authoritative = true;
        assert_eq!(outside(&one, &counted), "cached-aa");
        assert_eq!(outside(&counted, &one), "different", "it is we who claim");
        rotated.authoritative = true;
        assert_eq!(outside(&one, &rotated), "varies");
        assert_eq!(outside(&one, &negative("NXDOMAIN")), "different");
        assert_eq!(outside(&one, &negative("NOERROR")), "different");
    }

    #[test]
    fn aliases_of_others() {
        let whole = |last: &str| {
            let target = format!("example.com. 60 A 192.0.2.{last}");
            seen("NOERROR", &["e.cluster.local. 30 CNAME example.com.", &target])
        };
        assert_eq!(verdict(Standing::Alias, &whole("1"), &whole("2")), "varies");
        let elsewhere =
            seen("NOERROR", &["e.cluster.local. 30 CNAME example.org.", "example.org. 60 A 192.0.2.1"]);
        assert_eq!(verdict(Standing::Alias, &whole("1"), &elsewhere), "different");
        let bare = seen("NOERROR", &["e.cluster.local. 30 CNAME example.com."]);
        assert_eq!(verdict(Standing::Alias, &whole("1"), &bare), "different");
    }

    #[test]
    fn a_cache_counts_down() {
        let ttl = |ttl| seen("NOERROR", &[&format!("a. {ttl} A 10.0.0.1")]);
        let first = compare(&ttl(30), &ttl(12));
        assert_eq!(steady(&first, &compare(&ttl(30), &ttl(10))), []);
        assert_eq!(steady(&first, &compare(&ttl(30), &ttl(30))), []);
        assert_eq!(steady(&first, &first), first);
    }
}
