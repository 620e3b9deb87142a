//! What a DNS server answers: the questions of `answers`, asked.

use std::{net::IpAddr, net::SocketAddr};

use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::{
    super::facts::{AnswerFacts, Probe, Purpose},
    ask::{Question, ask},
};

/// How often a name is asked for, to see how many replicas there are.
const ROUNDS: usize = 8;

/// Whom to ask, and about what.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    /// How the server was chosen.
    pub(crate) why: String,
    pub(crate) domain: String,
    pub(crate) kubernetes_ips: Vec<String>,
    /// A name outside the cluster.
    pub(crate) external: Option<String>,
}

/// Asks.
pub(crate) async fn gather(plan: &Plan) -> AnswerFacts {
    let domain = plan.domain.trim_end_matches('.').to_lowercase();
    let kubernetes = format!("kubernetes.default.svc.{domain}");
    let mut facts = AnswerFacts {
        server: plan.server,
        why: plan.why.clone(),
        domain: domain.clone(),
        kubernetes_ips: plan.kubernetes_ips.clone(),
        probes: Vec::new(),
        replicas: Vec::new(),
    };
    let one = async |purpose, name: String, kind| probe(plan.server, purpose, name, kind, false).await;
    let (mut four, mut six, tcp) = futures::join!(
        one(Purpose::Address, kubernetes.clone(), RecordType::A),
        one(Purpose::OtherFamily, kubernetes.clone(), RecordType::AAAA),
        probe(plan.server, Purpose::Tcp, kubernetes.clone(), RecordType::A, true),
    );
    // Where the cluster is IPv6 only the address is the other.
    let empty = |probe: &Probe| probe.reply.as_ref().is_ok_and(|reply| reply.data.is_empty());
    if empty(&four) && six.reply.as_ref().is_ok_and(|reply| !reply.data.is_empty()) {
        (four.purpose, six.purpose) = (Purpose::OtherFamily, Purpose::Address);
    }
    // A server that does not answer is not asked for more.
    let alive = [&four, &six, &tcp].iter().any(|probe| probe.reply.is_ok());
    let addresses = [&four, &six].into_iter().filter(|probe| probe.purpose == Purpose::Address);
    let address: Option<IpAddr> =
        addresses.filter_map(|probe| probe.reply.as_ref().ok()?.data.first()?.parse().ok()).next();
    facts.probes.extend([four, six, tcp]);
    if !alive {
        return facts;
    }
    // Nobody has a Service of this name, and no cache has it either.
    let absent = format!("callsign-check-{:08x}.default.svc.{domain}", fastrand::u32(..));
    let (absent, version, external, reverse, software) = futures::join!(
        one(Purpose::Absent, absent, RecordType::A),
        one(Purpose::Version, format!("dns-version.{domain}"), RecordType::TXT),
        async {
            match &plan.external {
                Some(name) => Some(outside(plan.server, name).await),
                None => None,
            }
        },
        async {
            match address {
                Some(ip) => Some(one(Purpose::Reverse, Name::from(ip).to_ascii(), RecordType::PTR).await),
                None => None,
            }
        },
        one(Purpose::Software, "version.bind".to_owned(), RecordType::TXT),
    );
    facts.probes.extend([absent, version, software]);
    facts.probes.extend(external);
    facts.probes.extend(reverse);
    let rounds = (0..ROUNDS).map(|_| one(Purpose::Address, kubernetes.clone(), RecordType::A));
    let rounds = futures::future::join_all(rounds).await;
    let seen = facts.probes.iter().chain(&rounds).filter_map(|probe| probe.reply.as_ref().ok()?.nsid.clone());
    facts.replicas = seen.collect();
    facts
}

/// A name outside: one of its families is enough.
async fn outside(server: SocketAddr, name: &str) -> Probe {
    let name = format!("{}.", name.trim_end_matches('.'));
    let first = probe(server, Purpose::External, name.clone(), RecordType::A, false).await;
    let empty = first.reply.as_ref().is_ok_and(|reply| reply.rcode == "NOERROR" && reply.data.is_empty());
    if empty { probe(server, Purpose::External, name, RecordType::AAAA, false).await } else { first }
}

async fn probe(server: SocketAddr, purpose: Purpose, name: String, kind: RecordType, tcp: bool) -> Probe {
    let text = match kind {
        RecordType::A => "A",
        RecordType::AAAA => "AAAA",
        RecordType::PTR => "PTR",
        _ => "TXT",
    };
    let class = if purpose == Purpose::Software { DNSClass::CH } else { DNSClass::IN };
    let parsed = Name::from_ascii(format!("{}.", name.trim_end_matches('.')));
    let (reply, took) = match parsed {
        Ok(parsed) => {
            let question = Question { name: parsed, kind, class, tcp, far: purpose == Purpose::External };
            ask(server, &question).await
        }
        Err(error) => (Err(error.to_string()), std::time::Duration::ZERO),
    };
    Probe { purpose, name: name.trim_end_matches('.').to_owned(), kind: text, reply, took }
}
