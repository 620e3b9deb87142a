//! Differences that are wanted: where the server answers as `docs/deviations.md` says, and CoreDNS does not.
//!
//! Each is a narrow predicate of the question, what its name is in the cluster, and both answers. Whatever else differs is
//! a difference.

use hickory_proto::rr::RecordType;
use serde::Serialize;

use super::{
    seen::Seen,
    standing::{Standing, Zones},
};

/// A difference that is wanted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Wanted {
    /// A word for it, which does not change.
    pub(crate) code: &'static str,
    /// What is different.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) reference: &'static str,
}

/// A name that is there has no record of the type.
pub(crate) const NODATA: Wanted = Wanted {
    code: "nodata",
    what: "a name that exists, or has names below it, is not denied for a type it has not",
    reference: "RFC 8020, RFC 2308",
};
/// SOA at a name that is not there.
pub(crate) const SOA: Wanted = Wanted {
    code: "soa-of-nothing",
    what: "a name that does not exist is denied to SOA questions too",
    reference: "RFC 2308",
};
/// ExternalName Services.
pub(crate) const ALIAS: Wanted = Wanted {
    code: "alias",
    what: "an ExternalName Service answers its CNAME to every type, whatever the target gives",
    reference: "RFC 1034 3.6.2",
};
/// Names below those of pods.
pub(crate) const BELOW_POD: Wanted =
    Wanted { code: "below-pod", what: "nothing is below a pod's name", reference: "RFC 8020" };
/// Zones written in capital letters.
pub(crate) const MIXED_CASE: Wanted = Wanted {
    code: "mixed-case",
    what: "NS and ns.dns are answered where the zone is written in mixed case",
    reference: "RFC 4343",
};
/// Who the name servers are.
pub(crate) const NAME_SERVERS: Wanted = Wanted {
    code: "name-servers",
    what: "each server names the Services that lead to it; equal once both are behind the same Service",
    reference: "RFC 1035 3.3.11",
};
/// Names of others, without anybody to ask.
pub(crate) const REFUSED: Wanted = Wanted {
    code: "refused",
    what: "a name of no zone, and no upstream: REFUSED, another server may know",
    reference: "RFC 1035 4.1.1",
};
/// AA of what was cached.
pub(crate) const CACHED_AA: Wanted = Wanted {
    code: "cached-aa",
    what: "a cached answer of others does not claim authority",
    reference: "RFC 1035 4.1.1",
};

/// The wanted difference that these answers, which differ, show.
pub(crate) fn wanted(
    kind: RecordType,
    standing: Standing,
    zones: &Zones,
    server: &Seen,
    against: &Seen,
) -> Option<&'static Wanted> {
    // A denial shows the zone's SOA, as the other one does where it has one.
    let same_zone = against.authority.is_empty() || server.authority.keys().eq(against.authority.keys());
    let same_zone = same_zone && server.authoritative == against.authoritative;
    let both_good = server.rcode == "NOERROR" && against.rcode == "NOERROR";
    match standing {
        Standing::Apex | Standing::NameServer
            if zones.mixed_case
                && names_servers(kind, standing)
                && server.is_answer()
                && against.answer.is_empty()
                && (against.rcode == "NOERROR" || against.rcode == "NXDOMAIN") =>
        {
            Some(&MIXED_CASE)
        }
        Standing::Apex | Standing::NameServer if names_servers(kind, standing) && both_good => {
            Some(&NAME_SERVERS)
        }
        Standing::Alias if is_alias(kind, zones, server, against) => Some(&ALIAS),
        Standing::BelowPod if server.is_denial() && against.rcode == "NOERROR" => Some(&BELOW_POD),
        Standing::Nothing if kind == RecordType::SOA && server.is_denial() && against.is_nodata() => {
            same_zone.then_some(&SOA)
        }
        Standing::Apex | Standing::NameServer | Standing::There
            if server.is_nodata() && against.is_denial() =>
        {
            same_zone.then_some(&NODATA)
        }
        Standing::Outside if server.rcode == "REFUSED" && against.rcode == "SERVFAIL" => Some(&REFUSED),
        _ => None,
    }
}

/// Whether the question is one for the zone's name servers.
fn names_servers(kind: RecordType, standing: Standing) -> bool {
    match standing {
        Standing::Apex => kind == RecordType::NS,
        Standing::NameServer => matches!(kind, RecordType::A | RecordType::AAAA),
        _ => false,
    }
}

/// The server gives the alias and the other nothing at all, to a type for which it gives none or because the target, which
/// is the cluster's, has nothing.
fn is_alias(kind: RecordType, zones: &Zones, server: &Seen, against: &Seen) -> bool {
    let aliases_only = server.answer.keys().all(|line| line.kind == "CNAME");
    let last_is_ours = || {
        let owners: Vec<&str> = server.answer.keys().map(|line| line.owner.as_str()).collect();
        let mut targets = server.answer.keys().map(|line| line.data.as_str());
        // Of a chain the target that is no owner; a loop has none, and does not leave the zone.
        targets.find(|target| !owners.contains(target)).is_none_or(|last| zones.hold(last))
    };
    let followed = matches!(kind, RecordType::A | RecordType::AAAA | RecordType::CNAME);
    server.is_answer()
        && server.authoritative == against.authoritative
        && (against.is_nodata() || against.is_denial())
        && (!followed || aliases_only && last_is_ours())
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

    fn code(kind: RecordType, standing: Standing, server: &Seen, against: &Seen) -> Option<&'static str> {
        wanted(kind, standing, &zones(), server, against).map(|wanted| wanted.code)
    }

    #[test]
    fn denials_that_are_right() {
        let (nodata, denial) = (negative("NOERROR"), negative("NXDOMAIN"));
        for standing in [Standing::There, Standing::Apex, Standing::NameServer] {
            assert_eq!(code(RecordType::TXT, standing, &nodata, &denial), Some("nodata"));
        }
        // The other way round it is we who deny what is there; and what is not there must be denied.
        assert_eq!(code(RecordType::TXT, Standing::There, &denial, &nodata), None);
        assert_eq!(code(RecordType::TXT, Standing::Nothing, &nodata, &denial), None);
        assert_eq!(code(RecordType::TXT, Standing::Unknown, &nodata, &denial), None);
        let mut elsewhere = denial.clone();
        elsewhere.authority.clear();
        assert_eq!(code(RecordType::TXT, Standing::There, &nodata, &elsewhere), Some("nodata"));
        elsewhere.authoritative = false;
        assert_eq!(code(RecordType::TXT, Standing::There, &nodata, &elsewhere), None);
        assert_eq!(code(RecordType::SOA, Standing::Nothing, &denial, &nodata), Some("soa-of-nothing"));
        assert_eq!(code(RecordType::A, Standing::Nothing, &denial, &nodata), None);
        let pod = seen("NOERROR", &["x.10-0-0-1.n.pod.cluster.local. 30 A 10.0.0.1"]);
        assert_eq!(code(RecordType::A, Standing::BelowPod, &denial, &pod), Some("below-pod"));
        assert_eq!(code(RecordType::A, Standing::There, &denial, &pod), None);
    }

    #[test]
    fn aliases() {
        let nothing = negative("NOERROR");
        let out = seen("NOERROR", &["e.n.svc.cluster.local. 30 CNAME example.com."]);
        let whole =
            seen("NOERROR", &["e.n.svc.cluster.local. 30 CNAME example.com.", "example.com. 30 A 192.0.2.1"]);
        let own = seen("NOERROR", &["e.n.svc.cluster.local. 30 CNAME no.n.svc.cluster.local."]);
        let alias = |kind, server: &Seen, against: &Seen| code(kind, Standing::Alias, server, against);
        assert_eq!(alias(RecordType::MX, &out, &nothing), Some("alias"));
        assert_eq!(alias(RecordType::A, &own, &nothing), Some("alias"));
        assert_eq!(alias(RecordType::A, &own, &negative("NXDOMAIN")), Some("alias"));
        assert_eq!(alias(RecordType::A, &out, &nothing), None, "CoreDNS gives an alias that leads out");
        assert_eq!(alias(RecordType::A, &whole, &out), None, "a target is missing");
        assert_eq!(alias(RecordType::A, &own, &seen("SERVFAIL", &[])), None);
        assert_eq!(code(RecordType::MX, Standing::There, &out, &nothing), None);
    }

    #[test]
    fn name_servers_and_others() {
        let ours = seen("NOERROR", &["cluster.local. 30 NS callsign.kube-system.svc.cluster.local."]);
        let theirs = seen("NOERROR", &["cluster.local. 30 NS kube-dns.kube-system.svc.cluster.local."]);
        assert_eq!(code(RecordType::NS, Standing::Apex, &ours, &theirs), Some("name-servers"));
        assert_eq!(code(RecordType::NS, Standing::Apex, &ours, &seen("SERVFAIL", &[])), None);
        assert_eq!(code(RecordType::SOA, Standing::Apex, &ours, &theirs), None);
        let mixed = Zones::new(&["cluster.local.".parse().unwrap()], true);
        let found = wanted(RecordType::NS, Standing::Apex, &mixed, &ours, &negative("NOERROR"));
        assert_eq!(found, Some(&MIXED_CASE));
        let (refused, failed) = (seen("REFUSED", &[]), seen("SERVFAIL", &[]));
        assert_eq!(code(RecordType::A, Standing::Outside, &refused, &failed), Some("refused"));
        assert_eq!(code(RecordType::A, Standing::Nothing, &refused, &failed), None);
        assert_eq!(code(RecordType::A, Standing::Outside, &failed, &refused), None);
    }
}
