//! `dns64`: addresses of IPv4 for clients that have only IPv6 (RFC 6147).
//!
//! Where a name has no AAAA, its A records are answered under a prefix that a translator has (RFC 6052). Reverse names
//! under the prefix are aliases of those of the IPv4 address (RFC 6147 5.3.1), which CoreDNS leaves to upstreams.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata},
};
use ipnet::Ipv6Net;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{
    class::{Class, classify},
    reading::once,
};
use crate::{
    answer::CLASS_IN,
    block::BlockConfig,
    corefile::{Directive, Error, Token},
    plugin::{Meter, Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, World, lines},
};

const NAME: &str = "dns64";
/// The well-known prefix (RFC 6052 2.1): `64:ff9b::/96`.
const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// The most that TTLs may be where no SOA says how long there is no AAAA (RFC 6147 5.1.7).
const TTL: u32 = 600;

/// Reads the directive (`coredns` `plugin/dns64/setup.go`).
///
/// # Errors
/// When the prefix or an option is wrong.
pub(super) fn setup(_: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    let mut config = Config { prefix: WELL_KNOWN, translate_all: false, allow_ipv4: false };
    match directive.args.as_slice() {
        [] => {}
        [prefix] => config.prefix = read_prefix(prefix)?,
        _ => return Err(directive.wrong_count()),
    }
    for option in &directive.body {
        match option.name.text.as_str() {
            "prefix" => {
                let [prefix] = option.exactly::<1>()?;
                config.prefix = read_prefix(prefix)?;
            }
            "translate_all" => {
                option.exactly::<0>()?;
                config.translate_all = true;
            }
            "allow_ipv4" => {
                option.exactly::<0>()?;
                config.allow_ipv4 = true;
            }
            _ => return Err(option.unknown()),
        }
    }
    let start =
        move |world: &World| Ok(Arc::new(Dns64 { config, meter: world.meters.of() }) as Arc<dyn Plugin>);
    Ok(Prepared::new(lines(directive), start).alone())
}

fn read_prefix(token: &Token) -> Result<Ipv6Net, Error> {
    let net: ipnet::IpNet =
        token.text.parse().map_err(|_| token.error(format!("invalid CIDR address: {}", token.text)))?;
    let ipnet::IpNet::V6(net) = net else {
        return Err(token.error(format!("invalid netmask 32 IPv6 address: \"{net}\"")));
    };
    let length = net.prefix_len();
    if length % 8 != 0 || !(32..=96).contains(&length) {
        return Err(token.error(format!("invalid prefix length \"{net}\"")));
    }
    Ok(net.trunc())
}

#[derive(Clone, Copy, Debug)]
struct Config {
    prefix: Ipv6Net,
    /// Names that have AAAA records get made ones all the same.
    translate_all: bool,
    /// Clients that ask over IPv4 get them too.
    allow_ipv4: bool,
}

struct Dns64 {
    config: Config,
    meter: Arc<Dns64Meter>,
}

impl Config {
    /// Whether this question is one of which answers are made.
    fn is_for(&self, name: &Name, qtype: RecordType, client: IpAddr) -> bool {
        match qtype {
            RecordType::AAAA => self.allow_ipv4 || client.to_canonical().is_ipv6(),
            RecordType::PTR => self.translated(name).is_some(),
            _ => false,
        }
    }

    /// The IPv4 address of a reverse name under the prefix.
    fn translated(&self, name: &Name) -> Option<Ipv4Addr> {
        let ipnet::IpNet::V6(net) = name.parse_arpa_name().ok()? else { return None };
        if net.prefix_len() != 128 || !self.prefix.contains(&net.addr()) {
            return None;
        }
        let from = usize::from(self.prefix.prefix_len() / 8);
        let bytes: Vec<u8> = places(from).filter_map(|at| net.addr().octets().get(at).copied()).collect();
        let address = <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)?;
        // An address with something else besides is not one that was made here.
        (self.address(address) == net.addr()).then_some(address)
    }

    /// An address under the prefix (RFC 6052 2.2).
    fn address(&self, ip: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.prefix.network().octets();
        let places = places(usize::from(self.prefix.prefix_len() / 8));
        for (at, byte) in places.zip(ip.octets()) {
            if let Some(octet) = octets.get_mut(at) {
                *octet = byte;
            }
        }
        octets.into()
    }
}

/// Where the four bytes stand behind a prefix of so many: the ninth byte stays zero.
fn places(from: usize) -> impl Iterator<Item = usize> {
    (from..).filter(|at| *at != 8).take(4)
}

impl Dns64 {
    /// Whether an answer to an AAAA question is to be made from A records.
    fn is_lacking(&self, reply: &Reply) -> bool {
        let no_name =
            reply.rcode == ResponseCode::NXDomain && classify(reply, RecordType::AAAA).0 == Class::Denial;
        let has_one = reply.answers.iter().any(|record| record.record_type() == RecordType::AAAA);
        !no_name && !reply.silent && (self.config.translate_all || !has_one)
    }

    async fn addresses(&self, query: &Query, none: Reply) -> Reply {
        let found = query.lookup(query.name().clone(), RecordType::A).await;
        let is_address = |record: &Record| record.record_type() == RecordType::A;
        if found.rcode != ResponseCode::NoError || !found.answers.iter().any(is_address) {
            return none;
        }
        let soa = none.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
        let most = soa.map_or(TTL, |soa| soa.ttl);
        let mut reply = Reply { plugin: NAME, authoritative: false, authentic_data: false, ..found };
        for record in &mut reply.answers {
            if let RData::A(ip) = &record.data {
                record.data = RData::AAAA(rdata::AAAA(self.config.address(ip.0)));
                record.ttl = record.ttl.min(most);
            }
        }
        self.count(query);
        reply
    }

    async fn name_of(&self, query: &Query, ip: Ipv4Addr) -> Reply {
        let target = Name::from(IpAddr::V4(ip));
        let mut reply = Reply::new(NAME, ResponseCode::NoError);
        let alias = RData::CNAME(rdata::CNAME(target.clone()));
        reply.answers.push(Record::from_rdata(query.name().clone(), TTL, alias));
        let found = query.lookup(target, RecordType::PTR).await;
        reply.truncated = found.truncated;
        reply.recursion_available = found.recursion_available;
        // The code is that of the alias's end (RFC 6604 3).
        reply.rcode = found.rcode;
        reply.answers.extend(found.answers);
        reply.authorities = found.authorities;
        reply.error = found.error;
        self.count(query);
        reply
    }

    fn count(&self, query: &Query) {
        let labels = ServerLabel { server: query.server.to_string() };
        self.meter.translated.get_or_create(&labels).inc();
    }
}

impl Plugin for Dns64 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let asked = &question.asked.request().question;
        if self.config.is_for(&asked.name, asked.qtype, question.peer.address.ip()) {
            Quickly::Slow
        } else {
            Quickly::Pass
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let qtype = query.qtype();
        // Who validates by itself would find that what is made is not signed (RFC 6147 5.5).
        let validates = query.dnssec_ok() && query.request.checking_disabled;
        let is_for = self.config.is_for(query.name(), qtype, query.peer.address.ip());
        if query.question.qclass != CLASS_IN || validates || !is_for {
            return next.serve(query);
        }
        Box::pin(async move {
            if let Some(ip) = self.config.translated(query.name()).filter(|_| qtype == RecordType::PTR) {
                return self.name_of(query, ip).await;
            }
            let reply = next.serve(query).await;
            if self.is_lacking(&reply) { self.addresses(query, reply).await } else { reply }
        })
    }
}

/// What is counted of translations.
struct Dns64Meter {
    translated: Family<ServerLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabel {
    server: String,
}

impl Meter for Dns64Meter {
    fn register(registry: &mut Registry) -> Self {
        let translated = Family::default();
        let help = "Counter of DNS requests translated by dns64";
        registry.register("coredns_dns64_requests_translated", help, Family::clone(&translated));
        Self { translated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn config(prefix: &str) -> Config {
        Config { prefix: prefix.parse().unwrap(), translate_all: false, allow_ipv4: false }
    }

    #[test]
    fn addresses_stand_where_rfc_6052_has_them() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let config = config(prefix);
            let ip = Ipv4Addr::new(192, 0, 2, 33);
            let address: Ipv6Addr = address.parse().unwrap();
            assert_eq!(config.address(ip), address, "{prefix}");
            assert_eq!(config.translated(&Name::from(IpAddr::V6(address))), Some(ip), "{prefix}");
        }
        let other = Name::from(IpAddr::V6("64:ff9c::1".parse().unwrap()));
        assert_eq!(config("64:ff9b::/96").translated(&other), None);
        let more = Name::from(IpAddr::V6("2001:db8:c000:221::1".parse().unwrap()));
        assert_eq!(config("2001:db8::/32").translated(&more), None);
    }

    /// What a client of IPv6 gets.
    async fn ask(options: &str, name: &str, qtype: RecordType) -> (ResponseCode, Vec<String>) {
        let corefile = format!(
            ".:53 {{\n dns64 {{\n {options}\n }}\n kubernetes cluster.local in-addr.arpa {{\n ttl 30\n }}\n}}"
        );
        let world = testing::world();
        let router = testing::router_in(&corefile, &world);
        let mut query = Query { router: Arc::clone(&router), ..testing::query(name, qtype) };
        query.peer.address = "[2001:db8::9]:4096".parse().unwrap();
        let reply = router.serve(&mut query).await;
        let made = reply.plugin == NAME;
        let counted = world.meters.encode().unwrap().contains(r#"translated_total{server="dns://:53"} 1"#);
        assert_eq!(made, counted);
        (reply.rcode, reply.answers.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn names_without_aaaa_get_made_ones() {
        let heads = "heads.ns.svc.cluster.local.";
        let (rcode, mut answers) = ask("prefix 64:ff9b::/96", heads, RecordType::AAAA).await;
        answers.sort();
        assert_eq!(rcode, ResponseCode::NoError);
        assert_eq!(answers[0], format!("{heads} 30 IN AAAA 64:ff9b::a00:1"));
        assert_eq!(answers.len(), 3);
        // Those that have one keep it, unless all are to be made.
        let vip = "vip.ns.svc.cluster.local.";
        assert_eq!(ask("", vip, RecordType::AAAA).await.1, [format!("{vip} 30 IN AAAA fd00::1")]);
        let all = ask("translate_all", vip, RecordType::AAAA).await.1;
        assert_eq!(all, [format!("{vip} 30 IN AAAA 64:ff9b::a60:1")]);
        assert_eq!(ask("", vip, RecordType::A).await.1, [format!("{vip} 30 IN A 10.96.0.1")]);
        let (rcode, answers) = ask("", "nosuch.ns.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((rcode, answers.len()), (ResponseCode::NXDomain, 0));
        let (rcode, answers) = ask("", "ns.svc.cluster.local.", RecordType::AAAA).await;
        assert_eq!((rcode, answers.len()), (ResponseCode::NoError, 0), "nothing to make one of");
    }

    #[tokio::test]
    async fn reverse_names_are_aliases() {
        let name = Name::from(IpAddr::V6("64:ff9b::10.96.0.1".parse().unwrap())).to_ascii();
        let (rcode, answers) = ask("", &name, RecordType::PTR).await;
        assert_eq!(rcode, ResponseCode::NoError);
        assert_eq!(
            answers,
            [
                format!("{name} 600 IN CNAME 1.0.96.10.in-addr.arpa."),
                "1.0.96.10.in-addr.arpa. 30 IN PTR vip.ns.svc.cluster.local.".to_owned(),
            ]
        );
    }

    #[tokio::test]
    async fn clients_of_ipv4_are_left_alone_unless_allowed() {
        let heads = testing::query("heads.ns.svc.cluster.local.", RecordType::AAAA);
        for (option, made) in [("", false), ("allow_ipv4", true)] {
            let corefile = format!(".:53 {{\n dns64 {{\n {option}\n }}\n kubernetes cluster.local\n}}");
            let router = testing::router(&corefile);
            assert_eq!(testing::quickly(&router, &heads).is_none(), made);
            let reply = testing::ask(&router, "heads.ns.svc.cluster.local.", RecordType::AAAA).await;
            assert_eq!(!reply.answers.is_empty(), made);
        }
    }

    #[test]
    fn prefixes_are_checked() {
        for (text, message) in [
            ("dns64 64:ff9b::/97", "invalid prefix length \"64:ff9b::/97\""),
            ("dns64 64:ff9b::/24", "invalid prefix length \"64:ff9b::/24\""),
            ("dns64 10.0.0.0/8", "invalid netmask 32 IPv6 address: \"10.0.0.0/8\""),
            ("dns64 64:ff9b::", "invalid CIDR address: 64:ff9b::"),
            ("dns64 a b", "Wrong argument count or unexpected line ending after 'b'"),
        ] {
            let error = testing::config(&format!(".:53 {{\n {text}\n}}")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("plugin/dns64: Corefile:2 - Error during parsing: {message}")
            );
        }
        assert!(testing::config(".:53 {\n dns64 {\n bogus\n }\n}").is_err());
    }
}
