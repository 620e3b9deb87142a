//! `answers`: whether a server answers as the specification of Kubernetes' DNS has it. Needs no rights.

use std::time::Duration;

use super::{
    codes,
    facts::{AnswerFacts, Probe, Purpose, Reply},
    finding::{Code, Item},
};

/// What an answer from the cluster's zone may take.
const SLOW: Duration = Duration::from_millis(100);

/// What there is to say of a server's answers.
pub(super) fn check(facts: &AnswerFacts) -> Vec<Item> {
    let of = |purpose: Purpose| facts.probes.iter().filter(move |probe| probe.purpose == purpose);
    let server = facts.server;
    let first = of(Purpose::Address).next();
    let mut items = Vec::new();
    // Nothing is to be said of the rest where nothing comes.
    let udp =
        facts.probes.iter().filter(|probe| probe.purpose != Purpose::Tcp).any(|probe| probe.reply.is_ok());
    let tcp = of(Purpose::Tcp).any(|probe| probe.reply.is_ok());
    if !udp {
        let why = first.and_then(|probe| probe.reply.as_ref().err()).cloned().unwrap_or_default();
        items.push(codes::ANSWER_UDP.is(
            format!("{server} ({}): {why}", facts.why),
            "is that the server's address, does a ready pod stand behind it, does a NetworkPolicy drop UDP 53, does \
             kube-proxy run on this node? From outside the cluster a cluster IP cannot be reached",
        ));
        if !tcp {
            return items;
        }
    }
    if !tcp {
        let why = of(Purpose::Tcp).find_map(|probe| probe.reply.as_ref().err()).cloned().unwrap_or_default();
        items.push(codes::ANSWER_TCP.is(
            format!("{server}: {why}"),
            "large answers come over TCP: add port 53/TCP to the Service and to NetworkPolicies",
        ));
    }
    if udp && tcp {
        items.push(Item::good(format!("{server} ({}) answers over UDP and TCP", facts.why)));
    }
    items.extend(of(Purpose::Address).take(1).flat_map(|probe| address(facts, probe)));
    items.extend(of(Purpose::OtherFamily).flat_map(other_family));
    items.extend(of(Purpose::Absent).map(absent));
    items.extend(of(Purpose::Reverse).filter_map(|probe| reverse(facts, probe)));
    items.extend(of(Purpose::Version).filter_map(version));
    items.extend(of(Purpose::External).filter_map(external));
    items.extend(edns(facts));
    items.extend(slow(facts));
    items.extend(who(facts));
    items
}

/// The reply, or what is wrong with there being none: told with the rest where others came.
fn replied<'a>(probe: &'a Probe, code: Code, cure: &str) -> Result<&'a Reply, Item> {
    let question = format!("{} {}", probe.name, probe.kind);
    probe.reply.as_ref().map_err(|why| code.is(format!("{question}: {why}"), cure))
}

fn address(facts: &AnswerFacts, probe: &Probe) -> Vec<Item> {
    let (name, kind) = (&probe.name, probe.kind);
    let reply =
        match replied(probe, codes::ANSWER_CLUSTER, "other questions were answered: see the server's log") {
            Ok(reply) => reply,
            // Told as a missing transport.
            Err(_) if probe.reply.is_err() => return Vec::new(),
            Err(item) => return vec![item],
        };
    let mut items = Vec::new();
    match (reply.rcode.as_str(), reply.data.as_slice()) {
        ("NOERROR", [_, ..]) => {
            let strange: Vec<&String> = reply
                .data
                .iter()
                .filter(|ip| !facts.kubernetes_ips.is_empty() && !facts.kubernetes_ips.contains(ip))
                .collect();
            if strange.is_empty() {
                let known = if facts.kubernetes_ips.is_empty() { "" } else { ", as its Service says" };
                items.push(Item::good(format!("{name} is {}{known}", reply.data.join(", "))));
            } else {
                items.push(codes::ANSWER_WRONG.is(
                    format!(
                        "{name} is {}; the Service default/kubernetes has {}",
                        reply.data.join(", "),
                        facts.kubernetes_ips.join(", ")
                    ),
                    "the server follows another cluster, or somebody on the way answers in its place",
                ));
            }
        }
        ("NOERROR", []) => items.push(codes::ANSWER_CLUSTER.is(
            format!("{name} {kind} has no address"),
            "on a cluster that is IPv6 only that is right for A; else the server has not seen the Service \
             default/kubernetes",
        )),
        ("SERVFAIL", _) => items.push(codes::ANSWER_CLUSTER.is(
            format!("{name} {kind}: SERVFAIL"),
            "the server has not been able to list the cluster yet: its /ready says what lacks",
        )),
        ("NXDOMAIN", _) => items.push(codes::ANSWER_CLUSTER.is(
            format!("{name} {kind}: NXDOMAIN"),
            format!(
                "it does not serve {}: name the cluster's domain with --cluster-domain, and in the Corefile after \
                 `kubernetes`",
                facts.domain
            ),
        )),
        (rcode, _) => items.push(codes::ANSWER_CLUSTER.is(
            format!("{name} {kind}: {rcode}"),
            "the server does not serve the cluster's domain, or `acl` does not let this client ask",
        )),
    }
    if reply.rcode == "NOERROR" && !reply.authoritative {
        items.push(codes::ANSWER_AUTHORITY.is(
            format!("{name} {kind} is answered without the flag AA"),
            "a cache answers in the server's place, such as NodeLocal DNSCache: what is checked here may be old",
        ));
    }
    items
}

fn other_family(probe: &Probe) -> Vec<Item> {
    let (name, kind) = (&probe.name, probe.kind);
    match replied(probe, codes::ANSWER_FAMILY, "resolvers ask for both families and wait for both") {
        Ok(reply) if reply.rcode == "NOERROR" => {
            let said = if reply.data.is_empty() { "no data".to_owned() } else { reply.data.join(", ") };
            vec![Item::good(format!("{name} {kind}: {said}"))]
        }
        // Where the name itself is not known that is told already.
        Ok(_) => vec![codes::ANSWER_FAMILY.is(
            format!("{name} {kind}: {}", probe.reply.as_ref().map_or("", |reply| reply.rcode.as_str())),
            "NOERROR without data is right: musl and others take NXDOMAIN for the whole name",
        )],
        Err(item) => vec![item],
    }
}

fn absent(probe: &Probe) -> Item {
    let name = &probe.name;
    match replied(probe, codes::ANSWER_MISSING, "pods' search paths make many such questions: each would hang") {
        Ok(reply) if reply.rcode == "NXDOMAIN" && reply.soa => {
            Item::good("a name that does not exist is NXDOMAIN, with the SOA")
        }
        Ok(reply) => codes::ANSWER_MISSING.is(
            format!("{name} does not exist, and is {}{}", reply.rcode, if reply.soa { "" } else { " without a SOA" }),
            "NXDOMAIN with the zone's SOA ends a search path's step and may be cached: is that zone served by somebody \
             else (a wildcard upstream)?",
        ),
        Err(item) => item,
    }
}

fn reverse(facts: &AnswerFacts, probe: &Probe) -> Option<Item> {
    let name = &probe.name;
    let wanted = format!("kubernetes.default.svc.{}", facts.domain);
    let cure = "name the reverse zone after `kubernetes`: in-addr.arpa ip6.arpa";
    Some(match replied(probe, codes::ANSWER_REVERSE, cure) {
        Ok(reply)
            if reply.data.iter().any(|data| data.trim_end_matches('.').eq_ignore_ascii_case(&wanted)) =>
        {
            Item::good(format!("{name} leads back to {wanted}"))
        }
        Ok(reply) => {
            let said = if reply.data.is_empty() { reply.rcode.clone() } else { reply.data.join(", ") };
            codes::ANSWER_REVERSE.is(format!("{name} PTR: {said}, not {wanted}"), cure)
        }
        Err(item) => item,
    })
}

fn version(probe: &Probe) -> Option<Item> {
    let reply = probe.reply.as_ref().ok()?;
    Some(if reply.rcode == "NOERROR" && !reply.data.is_empty() {
        Item::good(format!("DNS specification {}", reply.data.join(" ")))
    } else {
        codes::ANSWER_VERSION.is(
            format!("{} TXT: {}", probe.name, reply.rcode),
            "every server of a cluster's names answers it: is this one, and for this domain?",
        )
    })
}

fn external(probe: &Probe) -> Option<Item> {
    let name = &probe.name;
    let cure = "see `forward` in the Corefile, and whether the pods reach its upstreams; without a way out give \
                --external none";
    Some(match replied(probe, codes::ANSWER_EXTERNAL, cure) {
        Ok(reply) if reply.rcode == "NOERROR" && !reply.data.is_empty() => {
            Item::good(format!("{name} outside the cluster is {}", reply.data.join(", ")))
        }
        Ok(reply) if reply.rcode == "SERVFAIL" => codes::ANSWER_EXTERNAL.is(
            format!("{name}: SERVFAIL"),
            format!("the upstreams do not answer, or a forwarding loop was found; {cure}"),
        ),
        Ok(reply) => codes::ANSWER_EXTERNAL.is(format!("{name}: {} without an address", reply.rcode), cure),
        Err(item) => item,
    })
}

fn edns(facts: &AnswerFacts) -> Option<Item> {
    let replies: Vec<&Reply> = facts
        .probes
        .iter()
        .filter(|probe| !matches!(probe.purpose, Purpose::Software | Purpose::External))
        .filter_map(|probe| probe.reply.as_ref().ok())
        .collect();
    if replies.is_empty() {
        return None;
    }
    Some(match replies.iter().filter_map(|reply| reply.edns).max() {
        Some(size) if size >= 512 => Item::good(format!("EDNS with {size} bytes")),
        Some(size) => codes::ANSWER_EDNS.is(
            format!("it offers datagrams of {size} bytes"),
            "512 is the least that is allowed (RFC 6891 6.2.3): see `bufsize`",
        ),
        None => codes::ANSWER_EDNS.is(
            "it answers EDNS without EDNS",
            "answers of more than 512 bytes need TCP then: what stands on the way drops the option?",
        ),
    })
}

fn slow(facts: &AnswerFacts) -> Option<Item> {
    let own = |probe: &&Probe| probe.purpose != Purpose::External && probe.reply.is_ok();
    let slowest = facts.probes.iter().filter(own).max_by_key(|probe| probe.took)?;
    let millis = slowest.took.as_secs_f64() * 1e3;
    Some(if slowest.took > SLOW {
        codes::ANSWER_SLOW.is(
            format!("{} {} took {millis:.0} ms", slowest.name, slowest.kind),
            "look at the CPU limit and load of the pods, and at the way to them; about 5 s is a lost packet and a retry",
        )
    } else {
        Item::good(format!("the slowest answer of the cluster's took {millis:.1} ms"))
    })
}

/// Who answered.
fn who(facts: &AnswerFacts) -> Option<Item> {
    let mut names = facts.replicas.clone();
    names.sort();
    names.dedup();
    let software = facts.probes.iter().filter(|probe| probe.purpose == Purpose::Software).find_map(|probe| {
        let reply = probe.reply.as_ref().ok()?;
        (reply.rcode == "NOERROR").then(|| reply.data.join(" ")).filter(|data| !data.is_empty())
    });
    let mut said = Vec::new();
    if let Some(software) = software {
        said.push(format!("it says it is {software}"));
    }
    if !names.is_empty() {
        let plural = if names.len() == 1 { "" } else { "s" };
        said.push(format!("{} replica{plural} answered: {}", names.len(), names.join(", ")));
    }
    (!said.is_empty()).then(|| Item::good(said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::{super::finding::ids, *};

    fn reply(rcode: &str, data: &[&str]) -> Reply {
        Reply {
            rcode: rcode.to_owned(),
            authoritative: true,
            data: data.iter().map(|data| (*data).to_owned()).collect(),
            soa: data.is_empty(),
            edns: Some(1232),
            ..Reply::default()
        }
    }

    fn probe(purpose: Purpose, name: &str, kind: &'static str, reply: Reply) -> Probe {
        Probe { purpose, name: name.to_owned(), kind, reply: Ok(reply), took: Duration::from_millis(2) }
    }

    const KUBERNETES: &str = "kubernetes.default.svc.cluster.local";

    fn facts() -> AnswerFacts {
        AnswerFacts {
            server: "10.96.0.10:53".parse().unwrap(),
            why: "the Service".to_owned(),
            domain: "cluster.local".to_owned(),
            kubernetes_ips: vec!["10.96.0.1".to_owned()],
            probes: vec![
                probe(Purpose::Address, KUBERNETES, "A", reply("NOERROR", &["10.96.0.1"])),
                probe(Purpose::Tcp, KUBERNETES, "A", reply("NOERROR", &["10.96.0.1"])),
                probe(Purpose::OtherFamily, KUBERNETES, "AAAA", reply("NOERROR", &[])),
                probe(Purpose::Absent, "x.default.svc.cluster.local", "A", reply("NXDOMAIN", &[])),
                probe(
                    Purpose::Reverse,
                    "1.0.96.10.in-addr.arpa",
                    "PTR",
                    reply("NOERROR", &["kubernetes.default.svc.cluster.local."]),
                ),
                probe(Purpose::Version, "dns-version.cluster.local", "TXT", reply("NOERROR", &["1.1.0"])),
                probe(Purpose::External, "example.com", "A", reply("NOERROR", &["192.0.2.1"])),
                probe(Purpose::Software, "version.bind", "TXT", reply("REFUSED", &[])),
            ],
            replicas: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
        }
    }

    fn with(purpose: Purpose, change: impl Fn(&mut Probe)) -> Vec<&'static str> {
        let mut facts = facts();
        facts.probes.iter_mut().filter(|probe| probe.purpose == purpose).for_each(change);
        ids(&check(&facts))
    }

    fn says(purpose: Purpose, rcode: &str, data: &[&str]) -> Vec<&'static str> {
        with(purpose, |probe| probe.reply = Ok(reply(rcode, data)))
    }

    fn silent(purpose: Purpose) -> Vec<&'static str> {
        with(purpose, |probe| probe.reply = Err("no answer within 2 s".to_owned()))
    }

    #[test]
    fn a_good_server_is_good_in_all() {
        let items = check(&facts());
        assert_eq!(ids(&items), [""; 0], "{items:?}");
        assert_eq!(items.last(), Some(&Item::good("2 replicas answered: a, b")));
        assert!(items.contains(&Item::good(format!("{KUBERNETES} is 10.96.0.1, as its Service says"))));
        assert_eq!(items.len(), 10);
    }

    #[test]
    fn each_wrong_answer_has_its_code() {
        let cases = [
            (says(Purpose::Address, "NOERROR", &["10.96.0.2"]), vec!["CHK712"]),
            (says(Purpose::Address, "NOERROR", &[]), vec!["CHK703"]),
            (says(Purpose::Address, "SERVFAIL", &[]), vec!["CHK703"]),
            (says(Purpose::Address, "NXDOMAIN", &[]), vec!["CHK703"]),
            (says(Purpose::Address, "REFUSED", &[]), vec!["CHK703"]),
            (says(Purpose::OtherFamily, "NXDOMAIN", &[]), vec!["CHK705"]),
            (says(Purpose::OtherFamily, "NOERROR", &["fd00::1"]), vec![]),
            (says(Purpose::Absent, "NOERROR", &["203.0.113.9"]), vec!["CHK704"]),
            (says(Purpose::Reverse, "NXDOMAIN", &[]), vec!["CHK706"]),
            (says(Purpose::Reverse, "NOERROR", &["other.example."]), vec!["CHK706"]),
            (says(Purpose::Version, "NXDOMAIN", &[]), vec!["CHK711"]),
            (says(Purpose::External, "SERVFAIL", &[]), vec!["CHK707"]),
            (says(Purpose::External, "REFUSED", &[]), vec!["CHK707"]),
            (silent(Purpose::Tcp), vec!["CHK702"]),
            (silent(Purpose::External), vec!["CHK707"]),
            (silent(Purpose::Absent), vec!["CHK704"]),
            (silent(Purpose::Reverse), vec!["CHK706"]),
            (silent(Purpose::OtherFamily), vec!["CHK705"]),
            (with(Purpose::Address, |probe| probe.took = Duration::from_secs(1)), vec!["CHK709"]),
            (with(Purpose::External, |probe| probe.took = Duration::from_secs(1)), vec![]),
        ];
        for (number, (found, wanted)) in cases.into_iter().enumerate() {
            assert_eq!(found, wanted, "case {number}");
        }
        let unflagged = |probe: &mut Probe| {
            probe.reply = Ok(Reply { authoritative: false, ..reply("NOERROR", &["10.96.0.1"]) });
        };
        assert_eq!(with(Purpose::Address, unflagged), ["CHK710"]);
    }

    #[test]
    fn silence_and_missing_transports() {
        let mut facts = facts();
        for probe in &mut facts.probes {
            probe.reply = Err("connection refused".to_owned());
        }
        let items = check(&facts);
        assert_eq!(ids(&items), ["CHK701"], "the rest is not asked for");
        assert!(items[0].finding().unwrap().message.contains("connection refused"));
        facts.probes[1].reply = Ok(reply("NOERROR", &["10.96.0.1"]));
        assert!(ids(&check(&facts)).contains(&"CHK701"));
    }

    #[test]
    fn edns_is_wanted() {
        let mut facts = facts();
        for probe in &mut facts.probes {
            probe.reply = probe.reply.clone().map(|reply| Reply { edns: None, ..reply });
        }
        assert_eq!(ids(&check(&facts)), ["CHK708"]);
        facts.probes[0].reply = Ok(Reply { edns: Some(256), ..reply("NOERROR", &["10.96.0.1"]) });
        assert_eq!(ids(&check(&facts)), ["CHK708"]);
    }

    #[test]
    fn whose_server_it_is() {
        let mut facts = facts();
        assert!(facts.knows_kubernetes());
        for probe in &mut facts.probes {
            probe.reply = Ok(reply("NOERROR", &["203.0.113.9"]));
        }
        assert!(!facts.knows_kubernetes(), "somebody else's answers");
        facts.probes.clear();
        assert!(!facts.knows_kubernetes());
    }

    #[test]
    fn what_the_service_has_need_not_be_known() {
        let mut facts = facts();
        facts.kubernetes_ips.clear();
        assert!(check(&facts).contains(&Item::good(format!("{KUBERNETES} is 10.96.0.1"))));
    }
}
