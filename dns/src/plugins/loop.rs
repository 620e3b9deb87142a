//! `loop`: finds out at the start whether what is forwarded comes back.
//!
//! The server asks itself for a name that nobody can guess, once. If the question arrives a second time, somebody to whom it
//! was forwarded has asked us: every forwarded question would go round until it times out. CoreDNS ends the process then.
//! Here the cluster's names go on to be answered; what would be forwarded is SERVFAIL, and the log says what is wrong. It is
//! tried again now and then: when the upstream has been put right, so is this. Who wants CoreDNS's end starts with
//! `-loop-fatal`.
//!
//! Only the name of the probe that is under way counts, so that no question from outside can bring this about.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{Name, RecordType},
};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep, timeout},
};

use super::reading::{no_body, once};
use crate::{
    block::BlockConfig,
    corefile::{Directive, Error},
    plugin::{Internal, Meter, Next, Plugin, Prepared, Query, Quick, Quickly, Reply, Setup, World, lines},
};

const NAME: &str = "loop";

/// How long the server is given to answer a first probe.
const PROBING: Duration = Duration::from_secs(30);
/// The listener is there soon after the plugin.
const FIRST: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_secs(1);
/// More than a forwarder takes to give up.
const PATIENCE: Duration = Duration::from_secs(6);
/// How often somebody else may answer: at a reload the configuration before may be one.
const ANSWERED: u8 = 3;
/// When a loop was found: how long until it is looked whether it still is one.
const AGAIN: Duration = Duration::from_secs(30);
/// How long a probe may still come back after it was answered.
const STRAGGLING: Duration = Duration::from_secs(2);

/// Reads the directive.
///
/// # Errors
/// When it has arguments.
pub(super) fn setup(block: &BlockConfig, directives: &[&Directive]) -> Result<Vec<Box<dyn Setup>>, Error> {
    let directive = once(directives)?;
    directive.exactly::<0>()?;
    no_body(directive)?;
    let zone = block.zones().into_iter().next().unwrap_or_else(Name::root);
    let start = move |world: &World| {
        let state = Arc::new(State::default());
        world.meters.of::<LoopMeter>().add(zone.to_ascii(), &state);
        if let Some(own) = own_address(&world.listens) {
            let probing = probe(own, zone.clone(), Arc::clone(&state), AGAIN);
            let stop = world.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(probing).await });
        }
        let (zone, fatal) = (zone.clone(), world.loop_is_fatal);
        Ok(Arc::new(Loop { zone, fatal, listens: world.listens.clone(), state }) as Arc<dyn Plugin>)
    };
    Ok(Prepared::new(lines(directive), start).alone())
}

struct Loop {
    zone: Name,
    fatal: bool,
    listens: Vec<SocketAddr>,
    state: Arc<State>,
}

/// Tells of every loop that is looked for, as long as it is.
struct LoopMeter(Arc<Looked>);

/// What is looked for, by zone. What a configuration no longer has is gone.
#[derive(Default)]
struct Looked(Mutex<Vec<(String, Weak<State>)>>);

/// What is known so far.
#[derive(Default)]
struct State {
    /// The name that is being asked for, if one is.
    probe: ArcSwapOption<Name>,
    /// How often it has come by.
    seen: AtomicUsize,
    /// It came back.
    found: AtomicBool,
}

impl Meter for LoopMeter {
    fn register(registry: &mut Registry) -> Self {
        let looked = Arc::<Looked>::default();
        registry.register_collector(Box::new(Page(Arc::clone(&looked))));
        Self(looked)
    }
}

impl LoopMeter {
    fn add(&self, zone: String, state: &Arc<State>) {
        let mut looked = self.0.0.lock();
        looked.retain(|(_, state)| state.strong_count() > 0);
        looked.push((zone, Arc::downgrade(state)));
    }
}

#[derive(Debug)]
struct Page(Arc<Looked>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut zones: BTreeMap<String, bool> = BTreeMap::new();
        for (zone, state) in self.0.0.lock().iter() {
            if let Some(state) = state.upgrade() {
                *zones.entry(zone.clone()).or_default() |= state.found.load(Ordering::Relaxed);
            }
        }
        let name = "callsign_dns_loop_detected";
        let help =
            "1 while what is forwarded comes back to this server, which forwards nothing of the zone then";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (zone, found) in zones {
            ConstGauge::new(i64::from(found)).encode(family.encode_family(&[("zone", zone)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked").finish_non_exhaustive()
    }
}

impl Plugin for Loop {
    fn name(&self) -> &'static str {
        NAME
    }

    fn quick(&self, question: &Quick<'_>, _: &mut Vec<u8>) -> Quickly {
        let found = self.state.found.load(Ordering::Relaxed);
        if found || self.state.is_probe(question.name(), question.asked.qtype) {
            Quickly::Slow
        } else {
            Quickly::Pass
        }
    }

    fn serve<'a>(&'a self, query: &'a mut Query, next: Next<'a>) -> BoxFuture<'a, Reply> {
        let probe = query.internal == Internal::default() && self.state.is_probe(query.name(), query.qtype());
        let times = if probe { self.state.seen.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        if times > 1 {
            self.detected(query);
        }
        // A probe is forwarded once, whatever is known.
        if self.state.found.load(Ordering::Relaxed) && times != 1 {
            let reply = Reply::failed(NAME, "not forwarded: an upstream leads back to this server");
            return Box::pin(std::future::ready(reply));
        }
        next.serve(query)
    }
}

impl Loop {
    /// Says what is wrong, once.
    fn detected(&self, query: &Query) {
        if self.state.found.swap(true, Ordering::Relaxed) {
            return;
        }
        let from = query.peer.address;
        let own = match self.listens.first() {
            Some(own) if own.ip().is_unspecified() => format!(":{}", own.port()),
            own => own.map(ToString::to_string).unwrap_or_default(),
        };
        let (zone, name) = (self.zone.to_ascii(), query.name().to_ascii());
        if self.fatal {
            tracing::error!(
                target: "plugin/loop",
                fatal = true,
                "Loop ({from} -> {own}) detected for zone {zone:?}, see https://coredns.io/plugins/loop#troubleshooting. \
                 Query: \"HINFO {name}\"",
            );
            std::process::exit(1);
        }
        let upstreams = query.block.plugins.iter().flat_map(|plugin| plugin.upstreams());
        let upstreams: Vec<SocketAddr> = upstreams.collect();
        tracing::error!(
            target: "plugin/loop",
            "Loop ({from} -> {own}) detected for zone {zone:?}: {} What would be forwarded gets SERVFAIL as long as it is \
             so; the cluster's names are answered. Query: \"HINFO {name}\"",
            advice(from.ip(), &upstreams),
        );
    }
}

impl State {
    fn is_probe(&self, name: &Name, qtype: RecordType) -> bool {
        qtype == RecordType::HINFO && self.probe.load().as_ref().is_some_and(|probe| **probe == *name)
    }
}

/// Who leads back here, and what to do about it.
fn advice(from: IpAddr, upstreams: &[SocketAddr]) -> String {
    let from = from.to_canonical();
    // Whoever sent it back, else whoever is on this machine: the usual stub resolver.
    let asked_by = upstreams.iter().filter(|upstream| upstream.ip() == from);
    let local = upstreams.iter().filter(|upstream| upstream.ip().to_canonical().is_loopback());
    let mut suspects: Vec<&SocketAddr> = asked_by.chain(local).collect();
    suspects.dedup();
    if suspects.is_empty() {
        suspects = upstreams.iter().collect();
    }
    let named: Vec<String> = suspects.iter().map(ToString::to_string).collect();
    let who = match named.as_slice() {
        [] => "a question that was forwarded came back".to_owned(),
        [one] => format!("the upstream {one} leads back to this server"),
        several => format!("one of the upstreams {} leads back to this server", several.join(", ")),
    };
    let local = suspects.iter().any(|upstream| upstream.ip().to_canonical().is_loopback());
    let what = if local {
        " An address of this machine in /etc/resolv.conf (127.0.0.53 is systemd-resolved's) is usually a resolver that \
         asks the cluster's DNS: forward to the real servers, for example `forward . /run/systemd/resolve/resolv.conf`, \
         or name that file as kubelet's resolvConf."
    } else {
        " Forward to servers that do not ask this one."
    };
    format!("{who}.{what}")
}

/// Where this server can be asked by itself.
fn own_address(listens: &[SocketAddr]) -> Option<SocketAddr> {
    let first = listens.iter().find(|address| address.port() != 0)?;
    let ip = match first.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Some(SocketAddr::new(ip, first.port()))
}

/// Asks this server for a name of its own making, a new one each time, until one has come by, and where it came back
/// until it does not any more. Where somebody before this plugin answers for the zone, nothing is forwarded.
async fn probe(own: SocketAddr, zone: Name, state: Arc<State>, again: Duration) {
    let started = Instant::now();
    let mut answered = 0;
    sleep(FIRST).await;
    while started.elapsed() < PROBING && answered < ANSWERED {
        let asked = once_around(own, &zone, &state).await;
        if state.seen.load(Ordering::Relaxed) > 0 {
            break;
        }
        answered += u8::from(asked);
        sleep(PAUSE).await;
    }
    while state.found.load(Ordering::Relaxed) {
        sleep(again).await;
        once_around(own, &zone, &state).await;
        if state.seen.load(Ordering::Relaxed) == 1 {
            state.found.store(false, Ordering::Relaxed);
            tracing::info!(target: "plugin/loop", "The loop of zone {:?} is gone: forwarding again", zone.to_ascii());
        }
    }
    state.probe.store(None);
}

/// Sends a probe and waits until it has come back, or will not any more. Whether there was an answer.
async fn once_around(own: SocketAddr, zone: &Name, state: &State) -> bool {
    let Some(name) = unguessable(zone) else { return true };
    state.probe.store(None);
    state.seen.store(0, Ordering::Relaxed);
    state.probe.store(Some(Arc::new(name.clone())));
    let asked = timeout(PATIENCE, ask(own, name)).await;
    if state.seen.load(Ordering::Relaxed) == 1 {
        sleep(STRAGGLING).await;
    }
    tracing::debug!(target: "plugin/loop", "the probe of {own}: {asked:?}");
    matches!(asked, Ok(Ok(())))
}

/// `<number>.<number>.<zone>`, 128 bits of the system's randomness; `None` for a zone that has no room.
fn unguessable(zone: &Name) -> Option<Name> {
    let label = || rand::random::<u64>().to_string();
    zone.prepend_label(label()).ok()?.prepend_label(label()).ok()
}

async fn ask(own: SocketAddr, name: Name) -> std::io::Result<()> {
    let any: IpAddr = if own.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(own).await?;
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(hickory_proto::op::Query::query(name, RecordType::HINFO));
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    socket.send(&bytes).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::ResponseCode;

    use super::*;
    use crate::testing;

    fn plugin(probe: Option<&str>) -> Arc<Loop> {
        let state = State::default();
        state.probe.store(probe.map(|name| Arc::new(Name::from_ascii(name).unwrap())));
        let listens = vec!["0.0.0.0:53".parse().unwrap()];
        Arc::new(Loop { zone: Name::root(), fatal: false, listens, state: Arc::new(state) })
    }

    async fn ask(plugin: &Arc<Loop>, name: &str, qtype: RecordType) -> ResponseCode {
        let mut query = testing::query(name, qtype);
        let tail = |_: &Query| Reply::new("forward", ResponseCode::NXDomain);
        testing::ask_one(Arc::clone(plugin) as Arc<dyn Plugin>, &mut query, tail).await.rcode
    }

    #[tokio::test]
    async fn only_the_probe_that_comes_back_is_a_loop() {
        let plugin = plugin(Some("12.34."));
        for _ in 0..3 {
            assert_eq!(ask(&plugin, "12.34.", RecordType::A).await, ResponseCode::NXDomain);
            assert_eq!(ask(&plugin, "34.12.", RecordType::HINFO).await, ResponseCode::NXDomain);
        }
        assert_eq!(ask(&plugin, "12.34.", RecordType::HINFO).await, ResponseCode::NXDomain);
        assert!(!plugin.state.found.load(Ordering::Relaxed));
        assert_eq!(ask(&plugin, "12.34.", RecordType::HINFO).await, ResponseCode::ServFail);
        // From then on nothing is forwarded.
        assert_eq!(ask(&plugin, "www.example.org.", RecordType::A).await, ResponseCode::ServFail);
    }

    #[tokio::test]
    async fn a_loop_that_is_gone_is_forgotten() {
        // Stands for the server: the first two probes come back, the third does not.
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let own = server.local_addr().unwrap();
        let state = Arc::new(State::default());
        let probing = tokio::spawn(probe(own, Name::root(), Arc::clone(&state), Duration::from_millis(50)));
        let mut names = Vec::new();
        for times in [2, 2, 1] {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let message = Message::from_vec(&buffer[..length]).unwrap();
            let (name, kind) = (message.queries[0].name().clone(), message.queries[0].query_type());
            assert!(state.is_probe(&name, kind));
            names.push(name);
            state.seen.fetch_add(times, Ordering::Relaxed);
            state.found.store(true, Ordering::Relaxed);
            server.send_to(&buffer[..length], from).await.unwrap();
        }
        timeout(Duration::from_secs(10), probing).await.unwrap().unwrap();
        assert!(!state.found.load(Ordering::Relaxed));
        assert!(names[0] != names[1] && names[1] != names[2]);
        assert!(!state.is_probe(&names[2], RecordType::HINFO), "the name counts no more");
    }

    #[tokio::test]
    async fn a_probe_of_a_known_loop_is_forwarded_once() {
        let plugin = plugin(Some("12.34."));
        plugin.state.found.store(true, Ordering::Relaxed);
        assert_eq!(ask(&plugin, "www.example.org.", RecordType::A).await, ResponseCode::ServFail);
        assert_eq!(ask(&plugin, "12.34.", RecordType::HINFO).await, ResponseCode::NXDomain);
        assert_eq!(ask(&plugin, "12.34.", RecordType::HINFO).await, ResponseCode::ServFail);
    }

    #[test]
    fn a_loop_is_shown_as_long_as_it_is_looked_for() {
        let meters = crate::plugin::Meters::default();
        let (old, new, other) = (Arc::<State>::default(), Arc::<State>::default(), Arc::<State>::default());
        let meter = meters.of::<LoopMeter>();
        meter.add(".".to_owned(), &old);
        meter.add("example.org.".to_owned(), &other);
        let shown = |zone: &str| {
            let start = format!("callsign_dns_loop_detected{{zone=\"{zone}\"}} ");
            let page = meters.encode().unwrap();
            page.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        assert_eq!(shown(".").as_deref(), Some("0"));
        old.found.store(true, Ordering::Relaxed);
        meter.add(".".to_owned(), &new);
        assert_eq!(shown(".").as_deref(), Some("1"), "the old configuration still serves");
        drop(old);
        assert_eq!(shown(".").as_deref(), Some("0"));
        assert_eq!(shown("example.org.").as_deref(), Some("0"));
        drop((new, other));
        assert_eq!(shown("."), None);
    }

    #[tokio::test]
    async fn without_a_probe_nothing_counts() {
        let plugin = plugin(None);
        for _ in 0..5 {
            assert_eq!(ask(&plugin, "12.34.", RecordType::HINFO).await, ResponseCode::NXDomain);
        }
        assert!(!plugin.state.found.load(Ordering::Relaxed));
    }

    #[test]
    fn names_of_probes_differ_and_are_in_the_zone() {
        let zone = Name::from_ascii("example.org.").unwrap();
        let names: std::collections::HashSet<Name> = (0..64).filter_map(|_| unguessable(&zone)).collect();
        assert_eq!(names.len(), 64);
        assert!(names.iter().all(|name| zone.zone_of(name) && name.num_labels() == 4));
    }

    #[test]
    fn the_log_names_who_leads_back() {
        let addresses =
            |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let local = advice("127.0.0.1".parse().unwrap(), &addresses(&["127.0.0.53:53", "192.0.2.1:53"]));
        assert!(local.starts_with("the upstream 127.0.0.53:53 leads back"), "{local}");
        assert!(local.contains("/etc/resolv.conf"), "{local}");
        let other = advice("192.0.2.7".parse().unwrap(), &addresses(&["192.0.2.1:53", "192.0.2.7:53"]));
        assert!(other.starts_with("the upstream 192.0.2.7:53 leads back"), "{other}");
        let unknown = advice("192.0.2.9".parse().unwrap(), &addresses(&["192.0.2.1:53", "192.0.2.7:53"]));
        assert!(unknown.starts_with("one of the upstreams 192.0.2.1:53, 192.0.2.7:53"), "{unknown}");
    }

    #[test]
    fn the_directive_has_no_arguments() {
        assert!(testing::config(". {\n loop\n}").is_ok());
        assert!(testing::config(". {\n loop example.org\n}").is_err());
        assert!(testing::config(". {\n loop\n loop\n}").is_err());
    }
}
