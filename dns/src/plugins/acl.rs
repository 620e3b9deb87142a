//! `acl`: which clients may ask for what.
//!
//! The directives are looked at in their order. In those whose zones have the name, the first policy that has the client
//! and the type decides; without any the question is allowed. Questions are judged by the name that they are asked on
//! with: `rewrite` stands before this plugin.

use std::{net::IpAddr, sync::Arc};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RecordType},
};
use ipnet::{IpNet, Ipv4Net};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::reading::{Zones, name_text, parse_type, zones};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error, Token},
    plugin::{Meter, Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, World, lines},
};

const NAME: &str = "acl";
/// The option for extended errors, and the codes for what was blocked and what was filtered (RFC 8914 4.16, 4.18).
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const FILTERED: u16 = 17;

/// Reads the directives of a block (`coredns` `plugin/acl/setup.go`).
///
/// # Errors
/// When a policy is none.
pub(super) fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let mut rules = Vec::new();
    let mut text = Vec::new();
    for directive in directives {
        let policies = directive.body.iter().map(Policy::read).collect::<Result<_, _>>()?;
        rules.push(Rule { zones: zones(block, &directive.args)?, policies });
        text.extend(lines(directive));
    }
    let start = move |world: &World| {
        let (meter, last) = (world.meters.of(), ArcSwapOption::empty());
        Ok(Arc::new(Acl { rules: rules.clone(), meter, last }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(text, start).alone())
}

/// One directive.
#[derive(Clone, Debug)]
struct Rule {
    zones: Zones,
    policies: Vec<Policy>,
}

/// `ACTION [type QTYPE…] [net SOURCE…]`
#[derive(Clone, Debug)]
struct Policy {
    action: Action,
    /// Empty for every type.
    types: Vec<RecordType>,
    /// Empty for every client.
    nets: Vec<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Block,
    Filter,
    Drop,
}

impl Policy {
    fn read(line: &Directive) -> Result<Self, Error> {
        let action = match line.name.text.to_ascii_lowercase().as_str() {
            "allow" => Action::Allow,
            "block" => Action::Block,
            "filter" => Action::Filter,
            "drop" => Action::Drop,
            _ => {
                let text = &line.name.text;
                return Err(line.error(format!(
                    "unexpected token \"{text}\"; expect 'allow', 'block', 'filter' or 'drop'"
                )));
            }
        };
        let mut policy = Self { action, types: Vec::new(), nets: Vec::new() };
        let (mut any_type, mut any_net) = (false, false);
        let mut words = line.args.as_slice();
        while let Some((section, rest)) = words.split_first() {
            if !is_section(section) {
                let text = &section.text;
                return Err(section.error(format!("unexpected token \"{text}\"; expect 'type | net'")));
            }
            let end = rest.iter().position(is_section).unwrap_or(rest.len());
            let (tokens, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            words = after;
            if tokens.is_empty() {
                let text = section.text.to_ascii_lowercase();
                return Err(section.error(format!("no token specified in \"{text}\" section")));
            }
            for token in tokens {
                match (section.text.eq_ignore_ascii_case("type"), token.text.as_str()) {
                    (true, "*") => any_type = true,
                    (true, text) => policy.types.push(parse_type(text).ok_or_else(|| {
                        token.error(format!("unexpected token \"{text}\"; expect legal QTYPE"))
                    })?),
                    (false, "*") => any_net = true,
                    (false, _) => policy.nets.push(net(token)?),
                }
            }
        }
        if any_type {
            policy.types.clear();
        }
        if any_net {
            policy.nets.clear();
        }
        Ok(policy)
    }

    fn is_for(&self, ip: IpAddr, qtype: RecordType) -> bool {
        (self.types.is_empty() || self.types.contains(&qtype))
            && (self.nets.is_empty() || self.nets.iter().any(|net| net.contains(&ip)))
    }
}

fn is_section(token: &Token) -> bool {
    token.text.eq_ignore_ascii_case("type") || token.text.eq_ignore_ascii_case("net")
}

/// A range, or one address.
fn net(token: &Token) -> Result<IpNet, Error> {
    let alone = || token.text.parse::<IpAddr>().map(IpNet::from);
    let net = token.text.parse::<IpNet>().or_else(|_| alone());
    let net = net.map_err(|_| token.error(format!("illegal CIDR notation \"{}\"", token.text)))?;
    // Clients of IPv4 are seen as such on every socket.
    Ok(match net {
        IpNet::V6(v6) => match v6.network().to_ipv4_mapped() {
            Some(v4) if v6.prefix_len() >= 96 => {
                Ipv4Net::new(v4, v6.prefix_len() - 96).map_or(net, IpNet::V4)
            }
            _ => net,
        },
        IpNet::V4(_) => net,
    })
}

struct Acl {
    rules: Vec<Rule>,
    meter: Arc<AclMeter>,
    /// The counter of what was allowed last, without a view: mostly that of the next question too.
    last: ArcSwapOption<(Arc<str>, Counter)>,
}

impl Acl {
    /// What is done with a question, and the zone that it was judged by.
    fn judge(&self, name: &Name, qtype: RecordType, client: IpAddr) -> Option<(Action, &Name)> {
        let ip = client.to_canonical();
        for rule in &self.rules {
            let Some(zone) = rule.zones.longest(name) else { continue };
            if let Some(policy) = rule.policies.iter().find(|policy| policy.is_for(ip, qtype)) {
                return (policy.action != Action::Allow).then_some((policy.action, zone));
            }
        }
        None
    }
}

impl Plugin for Acl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let asked = &question.asked.request().question;
        match self.judge(&asked.name, asked.qtype, question.peer.address.ip()) {
            None => Quickly::Pass,
            Some(_) => Quickly::Slow,
        }
    }

    fn touches(&self) -> bool {
        true
    }

    /// What is answered the quick way was allowed, in a block without a view.
    fn touch(&self, question: &Quick<'_>, _: &mut Vec<u8>) {
        match &*self.last.load() {
            Some(last) if Arc::ptr_eq(&last.0, question.server) => {
                last.1.inc();
            }
            _ => {
                let counter = self.meter.allowed(question.server, "");
                counter.inc();
                self.last.store(Some(Arc::new((Arc::clone(question.server), counter))));
            }
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let view = query.block.view.as_ref().map_or_else(String::new, |view| view.name().to_owned());
        let Some((action, zone)) = self.judge(query.name(), query.qtype(), query.peer.address.ip()) else {
            self.meter.allowed(&query.server, &view).inc();
            return next.serve(query);
        };
        let told = |rcode, code: u16| Reply {
            options: vec![(EXTENDED_ERROR, code.to_be_bytes().to_vec())],
            ..Reply::new(NAME, rcode)
        };
        let (family, reply) = match action {
            Action::Filter => (&self.meter.filtered, told(ResponseCode::NoError, FILTERED)),
            Action::Drop => (&self.meter.dropped, Reply::silence(NAME)),
            Action::Block | Action::Allow => (&self.meter.blocked, told(ResponseCode::Refused, BLOCKED)),
        };
        let labels = ZoneLabels { server: query.server.to_string(), zone: name_text(zone), view };
        family.get_or_create(&labels).inc();
        Box::pin(std::future::ready(reply))
    }
}

/// What is counted of judgements.
struct AclMeter {
    allowed: Family<AllowedLabels, Counter>,
    blocked: Family<ZoneLabels, Counter>,
    filtered: Family<ZoneLabels, Counter>,
    dropped: Family<ZoneLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ZoneLabels {
    server: String,
    zone: String,
    view: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AllowedLabels {
    server: String,
    view: String,
}

impl AclMeter {
    /// The counter of what is allowed on a server.
    fn allowed(&self, server: &str, view: &str) -> Counter {
        let labels = AllowedLabels { server: server.to_owned(), view: view.to_owned() };
        self.allowed.get_or_create(&labels).clone()
    }
}

impl Meter for AclMeter {
    fn register(registry: &mut Registry) -> Self {
        let mut zoned = |what: &str| {
            let family = Family::<ZoneLabels, Counter>::default();
            let help = format!("Counter of DNS requests being {what}");
            registry.register(format!("coredns_acl_{what}_requests"), help, family.clone());
            family
        };
        let (blocked, filtered, dropped) = (zoned("blocked"), zoned("filtered"), zoned("dropped"));
        let allowed = Family::default();
        let help = "Counter of DNS requests being allowed";
        registry.register("coredns_acl_allowed_requests", help, Family::clone(&allowed));
        Self { allowed, blocked, filtered, dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// What becomes of a question: `allow`, `block`, `filter` or `drop`.
    async fn judged(acl: &str, client: &str, name: &str, qtype: RecordType) -> &'static str {
        let config = testing::config(&format!("example.org:53 {{\n {acl}\n}}")).unwrap();
        let plugin = config.blocks[0].chain[0].start(&testing::world()).unwrap();
        let mut query = testing::query(name, qtype);
        query.peer.address = (client.parse::<IpAddr>().unwrap(), 4096).into();
        let passes = testing::passes(&plugin, &query);
        let reply = testing::ask_one(plugin, &mut query, |_| Reply::new("tail", ResponseCode::NoError)).await;
        assert_eq!(passes, reply.plugin == "tail", "both ways judge the same");
        match (reply.plugin, reply.silent, reply.rcode) {
            ("tail", ..) => "allow",
            (_, true, _) => "drop",
            (_, _, ResponseCode::Refused) => "block",
            _ => "filter",
        }
    }

    #[tokio::test]
    async fn the_first_policy_decides() {
        use RecordType::{A, AAAA, MX};
        for (acl, client, name, qtype, wanted) in [
            ("acl {\n block type A net 192.168.0.0/16\n }", "192.168.0.2", "www.example.org.", A, "block"),
            ("acl {\n block type A net 192.168.0.0/16\n }", "192.168.0.2", "www.example.org.", MX, "allow"),
            (
                "acl {\n block type A net 192.168.0.0/16\n }",
                "::ffff:192.168.0.2",
                "www.example.org.",
                A,
                "block",
            ),
            ("acl {\n block type A net 192.168.0.0/16\n }", "10.0.0.1", "www.example.org.", A, "allow"),
            ("acl {\n block type A net 192.168.0.0/16\n }", "192.168.0.2", "www.example.net.", A, "allow"),
            ("acl a.example.org {\n block\n }", "192.168.0.2", "A.Example.org.", A, "block"),
            ("acl a.example.org {\n block\n }", "192.168.0.2", "www.example.org.", A, "allow"),
            (
                "acl {\n allow net 192.168.1.0/24\n block net 192.168.0.0/16\n }",
                "192.168.1.9",
                "a.example.org.",
                A,
                "allow",
            ),
            (
                "acl {\n allow net 192.168.1.0/24\n block net 192.168.0.0/16\n }",
                "192.168.2.9",
                "a.example.org.",
                A,
                "block",
            ),
            ("acl {\n allow net 192.168.1.1\n block\n }", "192.168.1.1", "a.example.org.", A, "allow"),
            ("acl {\n allow net 192.168.1.1\n block\n }", "2001:db8::1", "a.example.org.", A, "block"),
            ("acl {\n filter type A AAAA net *\n }", "2001:db8::1", "a.example.org.", AAAA, "filter"),
            ("acl {\n filter type *\n }", "10.0.0.1", "a.example.org.", MX, "filter"),
            ("acl {\n drop net 2001:db8::/32\n }", "2001:db8::1", "a.example.org.", A, "drop"),
            ("acl {\n drop net 2001:db8::1\n }", "2001:db8::2", "a.example.org.", A, "allow"),
            ("acl {\n BLOCK Net 10.0.0.1 TYPE A\n }", "10.0.0.1", "a.example.org.", A, "block"),
            (
                "acl b.example.org {\n block\n }\n acl {\n filter\n }",
                "10.0.0.1",
                "a.example.org.",
                A,
                "filter",
            ),
            ("acl {\n allow\n }\n acl {\n block\n }", "10.0.0.1", "a.example.org.", A, "allow"),
        ] {
            assert_eq!(judged(acl, client, name, qtype).await, wanted, "{acl} {client} {name} {qtype}");
        }
    }

    #[tokio::test]
    async fn judgements_are_counted_and_told() {
        let world = testing::world();
        let corefile = ".:53 {\n acl cluster.local {\n block type MX\n }\n kubernetes cluster.local\n}";
        let router = testing::router_in(corefile, &world);
        let vip = "vip.ns.svc.cluster.local.";
        let reply = testing::ask(&router, vip, RecordType::MX).await;
        assert_eq!((reply.rcode, reply.options), (ResponseCode::Refused, vec![(15, vec![0, 15])]));
        assert!(testing::quickly(&router, &testing::query(vip, RecordType::A)).is_some());
        testing::ask(&router, vip, RecordType::A).await;
        let page = world.meters.encode().unwrap();
        let blocked =
            r#"coredns_acl_blocked_requests_total{server="dns://:53",zone="cluster.local.",view=""} 1"#;
        assert!(page.contains(blocked), "{page}");
        assert!(
            page.contains(r#"coredns_acl_allowed_requests_total{server="dns://:53",view=""} 2"#),
            "{page}"
        );
    }

    #[test]
    fn policies_are_checked() {
        for (line, message) in [
            ("deny", "unexpected token \"deny\"; expect 'allow', 'block', 'filter' or 'drop'"),
            ("block from 10.0.0.1", "unexpected token \"from\"; expect 'type | net'"),
            ("block type", "no token specified in \"type\" section"),
            ("block type net 10.0.0.1", "no token specified in \"type\" section"),
            ("block type ABC", "unexpected token \"ABC\"; expect legal QTYPE"),
            ("block net 10.0.0.0/33", "illegal CIDR notation \"10.0.0.0/33\""),
            ("block net 10.0.0", "illegal CIDR notation \"10.0.0\""),
        ] {
            let error = testing::config(&format!(".:53 {{\n acl {{\n {line}\n }}\n}}")).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("plugin/acl: Corefile:3 - Error during parsing: {message}")
            );
        }
    }
}
