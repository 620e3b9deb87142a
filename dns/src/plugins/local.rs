//! `local`: `localhost` and the reverse zones of loopback, which no other server should be asked for (RFC 6761 6.3,
//! RFC 6303).

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::reading::once;
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Meter, Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, lines},
};

const NAME: &str = "local";
const TTL: u32 = 604_800;
const LOCALHOST: &[u8] = b"localhost";
/// The first labels of the reverse zones under `in-addr.arpa.`.
const REVERSE: [&[u8]; 3] = [b"0", b"127", b"255"];

/// Reads the directive.
///
/// # Errors
/// When an option is unknown.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    let mut prefix = true;
    for option in &directive.body {
        match (option.name.text.as_str(), option.args.as_slice()) {
            ("localhost_prefix", [word]) if word.text == "on" => prefix = true,
            ("localhost_prefix", [word]) if word.text == "off" => prefix = false,
            ("localhost_prefix", [word]) => {
                return Err(
                    word.error(format!("localhost_prefix expects 'on' or 'off', got \"{}\"", word.text))
                );
            }
            ("localhost_prefix", _) => return Err(option.wrong_count()),
            _ => return Err(option.unknown()),
        }
    }
    let start = move |world: &crate::plugin::World| {
        Ok(Arc::new(Local { prefix, meter: world.meters.of() }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(lines(directive), start).alone())
}

struct LocalMeter {
    localhost: Counter,
}

impl Meter for LocalMeter {
    fn register(registry: &mut Registry) -> Self {
        let localhost = Counter::default();
        let help = "Counter of localhost.<domain> requests";
        registry.register("coredns_local_localhost_requests", help, localhost.clone());
        Self { localhost }
    }
}

struct Local {
    /// `localhost.<domain>` is ours too: what a search path makes of `localhost`.
    prefix: bool,
    meter: Arc<LocalMeter>,
}

/// What a name is here.
enum Place<'a> {
    /// Below `localhost`, or what a search path made of it.
    Below,
    /// In one of the zones, with its apex.
    Zone { apex: Name, labels: &'a Name },
}

impl Local {
    fn place<'a>(&self, name: &'a Name) -> Option<Place<'a>> {
        let mut labels = name.iter();
        let (first, last) = (labels.next()?, name.iter().next_back()?);
        let is = |label: &[u8], text: &[u8]| label.eq_ignore_ascii_case(text);
        let count = name.iter().len();
        if count > 1 && (is(last, LOCALHOST) || self.prefix && is(first, LOCALHOST)) {
            return Some(Place::Below);
        }
        if is(last, LOCALHOST) {
            return Some(Place::Zone { apex: name.clone(), labels: name });
        }
        let mut end = name.iter().rev();
        let reverse =
            is(end.next()?, b"arpa") && is(end.next()?, b"in-addr") && REVERSE.contains(&end.next()?);
        reverse.then(|| Place::Zone { apex: name.trim_to(3), labels: name })
    }
}

impl Plugin for Local {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        match self.place(question.name()) {
            Some(_) => Quickly::Slow,
            None => Quickly::Pass,
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let Some(place) = self.place(query.name()) else { return next.serve(query) };
        let reply = match place {
            Place::Below => {
                self.meter.localhost.inc();
                loopback(query.name(), query.qtype())
                    .unwrap_or_else(|| negative(query.name(), ResponseCode::NoError))
            }
            Place::Zone { apex, labels } => in_zone(&apex, labels, query.qtype()),
        };
        Box::pin(std::future::ready(reply))
    }
}

fn in_zone(apex: &Name, name: &Name, qtype: RecordType) -> Reply {
    let owner = || name.clone();
    let localhost = || Name::from_labels([LOCALHOST]).unwrap_or_default();
    if apex.iter().len() == name.iter().len() {
        return match qtype {
            RecordType::SOA => positive(vec![soa(name)]),
            RecordType::NS => positive(vec![record(owner(), RData::NS(rdata::NS(localhost())))]),
            _ if apex.iter().len() == 1 => loopback(name, qtype),
            _ => None,
        }
        .unwrap_or_else(|| negative(apex, ResponseCode::NoError));
    }
    // 1.0.0.127.in-addr.arpa. and the empty names above it.
    let mut rest = name.iter().rev().skip(2);
    let path = [&b"127"[..], b"0", b"0", b"1"];
    let on_path = rest.by_ref().zip(path).all(|(label, wanted)| label == wanted);
    if !on_path || name.iter().len() > 6 {
        return negative(apex, ResponseCode::NXDomain);
    }
    let whole = name.iter().len() == 6;
    match qtype {
        RecordType::PTR if whole => positive(vec![record(owner(), RData::PTR(rdata::PTR(localhost())))])
            .unwrap_or_else(|| negative(apex, ResponseCode::NoError)),
        _ => negative(apex, ResponseCode::NoError),
    }
}

fn loopback(name: &Name, qtype: RecordType) -> Option<Reply> {
    let data = match qtype {
        RecordType::A => RData::A(rdata::A(Ipv4Addr::LOCALHOST)),
        RecordType::AAAA => RData::AAAA(rdata::AAAA(Ipv6Addr::LOCALHOST)),
        _ => return None,
    };
    positive(vec![record(name.clone(), data)])
}

fn positive(answers: Vec<Record>) -> Option<Reply> {
    Some(Reply { answers, ..Reply::new(NAME, ResponseCode::NoError) })
}

fn negative(apex: &Name, rcode: ResponseCode) -> Reply {
    Reply { authorities: vec![soa(apex)], ..Reply::new(NAME, rcode) }
}

fn soa(apex: &Name) -> Record {
    let localhost = Name::from_labels([LOCALHOST]).unwrap_or_default();
    let root = Name::from_labels([&b"root"[..], LOCALHOST]).unwrap_or_default();
    record(apex.clone(), RData::SOA(rdata::SOA::new(localhost, root, 1, 0, 0, 0, TTL)))
}

fn record(owner: Name, data: RData) -> Record {
    Record::from_rdata(owner, TTL, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    async fn ask(options: &str, name: &str, qtype: RecordType) -> Option<(ResponseCode, Vec<String>)> {
        let router = testing::router(&format!(".:53 {{\n local{options}\n}}"));
        let reply = testing::ask(&router, name, qtype).await;
        let records = reply.answers.iter().chain(&reply.authorities).map(ToString::to_string);
        (reply.plugin == NAME).then(|| (reply.rcode, records.collect()))
    }

    #[tokio::test]
    async fn loopback_has_its_names() {
        use RecordType::{A, AAAA, MX, NS, PTR, SOA};
        let soa = |apex: &str| format!("{apex} 604800 IN SOA localhost. root.localhost. 1 0 0 0 604800");
        let no_error = ResponseCode::NoError;
        for (name, qtype, rcode, record) in [
            ("LocalHost.", A, no_error, "LocalHost. 604800 IN A 127.0.0.1".to_owned()),
            ("localhost.", AAAA, no_error, "localhost. 604800 IN AAAA ::1".to_owned()),
            ("localhost.", MX, no_error, soa("localhost.")),
            ("localhost.", SOA, no_error, soa("localhost.")),
            ("localhost.", NS, no_error, "localhost. 604800 IN NS localhost.".to_owned()),
            ("app.localhost.", A, no_error, "app.localhost. 604800 IN A 127.0.0.1".to_owned()),
            (
                "localhost.example.net.",
                A,
                no_error,
                "localhost.example.net. 604800 IN A 127.0.0.1".to_owned(),
            ),
            ("localhost.example.net.", MX, no_error, soa("localhost.example.net.")),
            (
                "1.0.0.127.in-addr.arpa.",
                PTR,
                no_error,
                "1.0.0.127.in-addr.arpa. 604800 IN PTR localhost.".to_owned(),
            ),
            ("1.0.0.127.in-addr.arpa.", MX, no_error, soa("127.in-addr.arpa.")),
            ("0.0.127.in-addr.arpa.", PTR, no_error, soa("127.in-addr.arpa.")),
            ("2.0.0.127.in-addr.arpa.", PTR, ResponseCode::NXDomain, soa("127.in-addr.arpa.")),
            ("1.1.0.0.127.in-addr.arpa.", PTR, ResponseCode::NXDomain, soa("127.in-addr.arpa.")),
            ("127.in-addr.arpa.", A, no_error, soa("127.in-addr.arpa.")),
            ("9.255.in-addr.arpa.", PTR, ResponseCode::NXDomain, soa("255.in-addr.arpa.")),
        ] {
            assert_eq!(ask("", name, qtype).await, Some((rcode, vec![record])), "{name} {qtype}");
        }
        for other in
            [".", "example.org.", "mylocalhost.", "128.in-addr.arpa.", "in-addr.arpa.", "a.localhost.org."]
        {
            assert_eq!(ask("", other, A).await, None, "{other}");
        }
        assert_eq!(ask(" {\n localhost_prefix off\n }", "localhost.example.net.", A).await, None);
    }

    #[tokio::test]
    async fn prefixes_are_counted_and_other_names_stay_quick() {
        let world = testing::world();
        let router = testing::router_in(".:53 {\n local\n kubernetes cluster.local\n}", &world);
        testing::ask(&router, "localhost.ns.svc.cluster.local.", RecordType::A).await;
        assert!(world.meters.encode().unwrap().contains("coredns_local_localhost_requests_total 1"));
        assert!(
            testing::quickly(&router, &testing::query("vip.ns.svc.cluster.local.", RecordType::A)).is_some()
        );
        assert!(testing::quickly(&router, &testing::query("localhost.", RecordType::A)).is_none());
    }
}
