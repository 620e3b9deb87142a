//! `callsign diff`: quiet where answers are alike or differ on purpose, and not where they differ otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use callsign_e2e::{
    apiserver::Options,
    harness::{
        answers::Exchange,
        build,
        case::Case,
        in_place::Place,
        namespace::{Namespace, hold},
        process::Callsign,
        resolver::Resolver,
        stand_in::{Said, StandIn, Way},
        world::World,
    },
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use serde_json::{Value, json};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_callsign");

/// What a run said.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }
}

async fn diff(kubeconfig: &Path, arguments: &[&str]) -> Result<Run> {
    let output = Command::new(BINARY)
        .args(["diff", "--log-level", "warn", "--kubeconfig"])
        .arg(kubeconfig)
        .args(arguments)
        .output()
        .await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Run {
        code: output.status.code().context("a code")?,
        out: text(output.stdout),
        err: text(output.stderr),
    })
}

/// A real CoreDNS of these clusters said what was recorded, under kubeadm's settings and ten others. All of it is equal, or
/// different as `docs/deviations.md` says; and so many are different as the rules of the conformance test say.
#[tokio::test(flavor = "multi_thread")]
async fn what_coredns_answered_is_equal_or_different_on_purpose() -> Result<()> {
    let cases = Case::all()?;
    let settings = ["--pods", "insecure", "--ttl", "30", "--own-address", "192.0.2.2"];
    let world = World::start(Path::new(BINARY), Options::default(), &settings).await?;
    for case in &cases {
        world.cluster.play(&case.prelude).await?;
        world.cluster.play(&case.steps).await?;
    }
    world.cluster.settle().await?;
    let pairs: Vec<(&Case, &Case)> = cases.iter().map(|case| (case, case)).collect();
    let (asked, wanted) = recorded(&world, world.dns, &pairs, &["--zone", "cluster.local"]).await?;
    assert_eq!(wanted, ["alias", "below-pod", "nodata", "soa-of-nothing"]);
    assert!(asked > 4500, "{asked}");

    let variants = Case::variants()?;
    let mut settings: BTreeMap<&str, Vec<(&Case, &Case)>> = BTreeMap::new();
    for variant in &variants {
        let played = cases.iter().find(|case| case.scenario == variant.scenario).context("its scenario")?;
        let directive = variant.kubernetes.as_deref().context("a directive")?;
        settings.entry(directive).or_default().push((variant, played));
    }
    assert_eq!(settings.len(), 10);
    let of_setting = async |directive: &str, pairs: &[(&Case, &Case)]| -> Result<u64> {
        let place = Place::beside(&world)?;
        let directive = directive.replace("{ ", "{\n").replace(" }", "\n}");
        place.write("Corefile", &format!(". {{\n{directive}\nloadbalance\n}}\n"))?;
        let callsign = place.start(Path::new(BINARY), &[])?;
        place.answers(&callsign, "dns-version.cluster.local.", "TXT").await?;
        let corefile = place.path("Corefile").display().to_string();
        let asked = recorded(&world, place.dns(), pairs, &["--corefile", &corefile]).await;
        Ok(asked.context(directive)?.0)
    };
    let asked = settings.iter().map(|(directive, pairs)| of_setting(directive, pairs));
    let asked: u64 = futures::future::try_join_all(asked).await?.into_iter().sum();
    assert!(asked > 4500, "{asked}");
    Ok(())
}

/// Compares a server with a recording and the scenario that was played for it. How many questions there were, and which
/// wanted differences.
async fn recorded(
    world: &World,
    server: SocketAddr,
    pairs: &[(&Case, &Case)],
    arguments: &[&str],
) -> Result<(u64, Vec<String>)> {
    let old = StandIn::of_recording(pairs.iter().flat_map(|(case, _)| &case.dns)).await?;
    // Questions that differ in case only are one.
    let (mut names, mut deviating) = (BTreeSet::new(), BTreeSet::new());
    for (case, played) in pairs {
        let recording = case.recording(played);
        for question in &case.dns {
            let line = format!("{} {}", question.name.to_lowercase(), question.kind);
            // A chain whose end nobody answers is that of both.
            if question.rcode != "SERVFAIL" && folded(&recording.wanted(question)) != folded(question) {
                deviating.insert(line.clone());
            }
            names.insert(line);
        }
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("names");
    std::fs::write(&file, names.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    let (server, against, file) = (server.to_string(), old.address.to_string(), file.display().to_string());
    let all =
        ["--server", &server, "--against", &against, "--names", &file, "--rate", "0", "--output", "json"];
    let arguments = [&all[..], arguments].concat();
    let run = diff(&world.kubeconfig(), &arguments).await?;
    let report = run.json()?;
    let is = |field: &str, value: Value| report.get(field) == Some(&value);
    ensure!(run.code == 0 && is("findings", json!([])), "{report:#}\n{run:?}");
    ensure!(is("asked", json!(names.len())), "{report:#}");
    let wanted: BTreeMap<String, u64> = report
        .get("wanted")
        .and_then(Value::as_object)
        .context("wanted")?
        .iter()
        .map(|(code, tally)| (code.clone(), tally["count"].as_u64().unwrap_or_default()))
        .collect();
    ensure!(wanted.values().sum::<u64>() == deviating.len() as u64, "{wanted:?}, {}", deviating.len());
    ensure!(!wanted.is_empty(), "nothing is different");

    Ok((names.len() as u64, wanted.into_keys().collect()))
}

/// As the comparison sees it.
fn folded(exchange: &Exchange) -> Exchange {
    let lower = |lines: &BTreeSet<String>| lines.iter().map(|line| line.to_lowercase()).collect();
    Exchange {
        name: exchange.name.to_lowercase(),
        answer: lower(&exchange.answer),
        authority: lower(&exchange.authority),
        additional: lower(&exchange.additional),
        ..exchange.clone()
    }
}

/// A cluster, Callsign, and another that answers alike.
struct Two {
    world: World,
    other: SocketAddr,
    #[expect(dead_code, reason = "it runs as long as this")]
    process: Callsign,
}

impl Two {
    async fn start() -> Result<Self> {
        let world = World::start(Path::new(BINARY), Options::default(), &[]).await?;
        let n = Namespace::new(world.embedded()?, "n")?;
        n.put(build::node("node-a", "zone-a"))?;
        let mut wanted = Vec::new();
        for (name, service) in [("web", build::service("n", "web")), ("db", build::headless("n", "db"))] {
            n.put(service)?;
            let mut slices = Vec::new();
            for at in 1..=3 {
                let ip = format!("10.1.{}.{at}", name.len());
                n.put(build::pod("n", &format!("{name}-{at}"), name, &ip, true))?;
                slices.push(format!("{ip} rs- http:8080/TCP"));
            }
            let slices: Vec<&str> = slices.iter().map(String::as_str).collect();
            let endpoints: Vec<String> = slices.iter().map(|line| line.replace(" rs-", "")).collect();
            let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
            wanted.push(n.wants(name, Some(&endpoints), &slices));
        }
        n.put(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"},
                     "spec": {"type": "ExternalName", "externalName": "db.n.svc.cluster.local"}}))?;
        hold(&world, &wanted).await?;
        let kubeconfig = world.kubeconfig().display().to_string();
        let any = "127.0.0.1:0";
        let flags = ["--listen", any, "--health-listen", any, "--ready-listen", any, "--metrics-listen", any];
        let mut process =
            Callsign::start(Path::new(BINARY), ["dns", "--kubeconfig", &kubeconfig].iter().chain(&flags))?;
        callsign_e2e::harness::replicas::is_ready(&mut process).await?;
        let other = process.address("dns").await?;
        Ok(Self { world, other, process })
    }

    /// Compares with what `alter` makes of the other's answers.
    async fn diff(
        &self,
        alter: impl Fn(&Message, &mut Message, Way) -> Said + Send + Sync + 'static,
        arguments: &[&str],
    ) -> Result<Run> {
        let old = StandIn::before(self.other, alter).await?;
        let (server, against) = (self.world.dns.to_string(), old.address.to_string());
        let all =
            ["--server", &server, "--against", &against, "--rate", "0", "--output", "json", "--show", "1000"];
        diff(&self.world.kubeconfig(), &[&all[..], arguments].concat()).await
    }
}

fn asked(question: &Message) -> (String, RecordType) {
    let query = question.queries.first().map(|query| (query.name().to_string(), query.query_type()));
    query.unwrap_or((String::new(), RecordType::ZERO))
}

/// The findings of a class: `name type`.
fn findings(report: &Value, class: &str) -> BTreeSet<String> {
    let all = report["findings"].as_array().into_iter().flatten();
    let of_class = all.filter(|finding| finding["class"] == class);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_class.map(|finding| format!("{} {}", text(&finding["name"]), text(&finding["type"]))).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_difference_is_found_and_no_other() -> Result<()> {
    let two = Two::start().await?;
    let quiet = two.diff(|_, _, _| Said::Now, &[]).await?;
    let report = quiet.json()?;
    assert_eq!((quiet.code, &report["findings"]), (0, &json!([])), "{report:#}");
    let whole = report["asked"].as_u64().unwrap_or_default();
    assert!(whole > 80, "{report:#}");

    let run = two.diff(planted(), &["--timeout", "400ms", "--tries", "2", "--settle", "1100ms"]).await?;
    let report = run.json()?;
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(
        findings(&report, "different"),
        set(&[
            "1.2.1.10.in-addr.arpa. PTR",
            "_http._tcp.db.n.svc.cluster.local. SRV",
            "callsign-diff-no-such.n.svc.cluster.local. A",
            "db.n.svc.cluster.local. A",
            "web.n.svc.cluster.local. A",
            "web.n.svc.cluster.local. AAAA",
            "web.n.svc.cluster.local. SRV",
        ]),
        "{report:#}"
    );
    assert_eq!(findings(&report, "unreachable"), set(&["svc.cluster.local. A"]), "{report:#}");
    assert_eq!(findings(&report, "ttl"), set(&["10-1-2-1.db.n.svc.cluster.local. A"]), "{report:#}");
    assert_eq!(findings(&report, "changing"), set(&[]));
    assert_eq!(report["settled"], 2, "one by another answer, one by a cache's TTL: {report:#}");
    assert_eq!(report["asked"], whole);
    assert_eq!(report["equal"], whole - 9);
    let finding = |name: &str| -> Result<Value> {
        let all = report["findings"].as_array().context("findings")?;
        Ok(all.iter().find(|finding| finding["name"] == name).context(name.to_owned())?.clone())
    };
    let db = finding("db.n.svc.cluster.local.")?;
    assert_eq!(db["right"], "server");
    assert_eq!(db["differences"][0]["onlyServer"][0]["data"], "10.1.2.3", "{db:#}");
    assert_eq!(db["against"]["answer"].as_array().map(Vec::len), Some(2));
    ensure!(finding("svc.cluster.local.")?["against"]["error"] == "no answer in time");

    // Where all that differs counts, what is wanted does too.
    let strict = two.diff(deviating, &["--strict"]).await?;
    assert_eq!((strict.code, &strict.json()?["wanted"]["nodata"]["count"]), (1, &json!(1)), "{strict:?}");
    let mild = two.diff(deviating, &[]).await?;
    assert_eq!((mild.code, &mild.json()?["wanted"]["nodata"]["count"]), (0, &json!(1)), "{mild:?}");

    // Believed at once.
    let run = two.diff(planted(), &["--settle", "0", "--timeout", "400ms", "--tries", "1"]).await?;
    let report = run.json()?;
    assert_eq!((run.code, &report["different"], &report["settled"]), (1, &json!(8), &json!(0)), "{report:#}");
    Ok(())
}

/// CoreDNS's denial of what is there.
fn deviating(question: &Message, reply: &mut Message, _: Way) -> Said {
    if asked(question) == ("pod.cluster.local.".to_owned(), RecordType::TXT) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    Said::Now
}

/// One difference of each kind, and what must not count as one.
fn planted() -> impl Fn(&Message, &mut Message, Way) -> Said + Send + Sync + 'static {
    let looks = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    move |question, reply, way| {
        let (name, kind) = asked(question);
        let extra = |last| {
            let owner = question.queries.first().map(|query| query.name().clone()).unwrap_or_default();
            Record::from_rdata(owner, 30, RData::A(rdata::A::new(10, 9, 9, last)))
        };
        match (name.as_str(), kind) {
            // A record is missing, one is too many, one is another.
            ("db.n.svc.cluster.local.", RecordType::A) => {
                reply.answers.retain(|record| record.data != RData::A(rdata::A::new(10, 1, 2, 3)));
            }
            ("web.n.svc.cluster.local.", RecordType::A) => reply.answers.push(extra(9)),
            ("_http._tcp.db.n.svc.cluster.local.", RecordType::SRV) => reply.additionals.clear(),
            // The code, a flag, another zone's SOA.
            ("1.2.1.10.in-addr.arpa.", RecordType::PTR) => {
                reply.answers.clear();
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            ("web.n.svc.cluster.local.", RecordType::SRV) => reply.metadata.authoritative = false,
            ("web.n.svc.cluster.local.", RecordType::AAAA) => {
                for record in &mut reply.authorities {
                    record.name = "local.".parse().unwrap_or_default();
                }
            }
            ("callsign-diff-no-such.n.svc.cluster.local.", RecordType::A) => {
                reply.metadata.response_code = ResponseCode::ServFail;
            }
            ("svc.cluster.local.", RecordType::A) => return Said::Never,
            ("10-1-2-1.db.n.svc.cluster.local.", RecordType::A) => {
                reply.answers.iter_mut().for_each(|record| record.ttl = 5);
            }
            // What must not count: a cache that counts down, an answer that was late once, a serial, slowness, no room.
            ("10-1-2-2.db.n.svc.cluster.local.", RecordType::A) => {
                let look = looks.0.fetch_add(1, Ordering::Relaxed) as u32;
                reply.answers.iter_mut().for_each(|record| record.ttl = 20_u32.saturating_sub(look));
            }
            ("10-1-2-3.db.n.svc.cluster.local.", RecordType::A)
                if looks.1.fetch_add(1, Ordering::Relaxed) == 0 =>
            {
                reply.answers.clear();
            }
            ("db.n.svc.cluster.local.", RecordType::AAAA) => {
                for record in &mut reply.authorities {
                    if let RData::SOA(soa) = &mut record.data {
                        soa.serial = 1;
                    }
                }
            }
            ("db.n.svc.cluster.local.", RecordType::TXT) => return Said::After(Duration::from_millis(150)),
            ("db.n.svc.cluster.local.", RecordType::SRV) if way == Way::Udp => {
                reply.metadata.truncation = true;
                reply.answers.clear();
            }
            _ => {}
        }
        Said::Now
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_with_its_code() -> Result<()> {
    let two = Two::start().await?;
    let kubeconfig = two.world.kubeconfig();
    let (server, other) = (two.world.dns.to_string(), two.other.to_string());
    let fails = async |arguments: &[&str], code: i32, says: &[&str]| -> Result<()> {
        let run = diff(&kubeconfig, arguments).await?;
        ensure!(run.code == code && says.iter().all(|text| run.err.contains(text)), "{arguments:?}: {run:?}");
        Ok(())
    };
    fails(&["--server", &server], 2, &["--against"]).await?;
    fails(&["--server", &server, "--against", &server], 2, &["compared with itself"]).await?;
    fails(&["--against", &other], 2, &["app.kubernetes.io/name=callsign", "--server"]).await?;
    fails(&["--against", "nonsense"], 2, &["want ADDR"]).await?;
    fails(&["--server", &server, "--against", &other, "--names", "/nowhere/x"], 2, &["/nowhere/x"]).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("names").display().to_string();
    std::fs::write(&file, "a.example\nb.example WHAT\n")?;
    fails(&["--server", &server, "--against", &other, "--names", &file], 2, &["line 2: WHAT"]).await?;

    // A port that nobody listens on, and one that does not answer.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?.to_string();
    let quick = ["--timeout", "100ms", "--tries", "1"];
    let silent_one = [&["--server", &server, "--against", &address][..], &quick].concat();
    fails(&silent_one, 3, &["--against", &address, "no answer in time", "--tcp"]).await?;
    drop(silent);
    fails(&silent_one, 3, &["refused"]).await?;
    // One that stops answering in the middle ends it: there is no use in waiting for each name.
    let left = Arc::new(AtomicUsize::new(30));
    let falls_silent = move |_: &Message, _: &mut Message, _: Way| {
        let left = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Said::Now } else { Said::Never }
    };
    for at in 0..10 {
        two.world.cluster.apply(&build::service("n", &format!("more-{at}"))).await?;
    }
    let run = two.diff(falls_silent, &["--timeout", "50ms", "--tries", "1"]).await?;
    ensure!(run.code == 3 && run.err.contains("has stopped answering"), "{run:?}");

    // No API server; a list of names does without.
    let dead = folder.path().join("kubeconfig");
    let text = std::fs::read_to_string(&kubeconfig)?;
    let line = text.lines().find(|line| line.contains("server:")).context("server")?;
    std::fs::write(&dead, text.replace(line, "    server: http://127.0.0.1:9"))?;
    let run = diff(&dead, &["--server", &server, "--against", &other]).await?;
    ensure!(run.code == 3 && run.err.contains("the API server cannot be reached"), "{run:?}");
    std::fs::write(&file, "web.n.svc.cluster.local\n")?;
    let run = diff(&dead, &["--server", &server, "--against", &other, "--names", &file]).await?;
    ensure!(
        run.code == 0 && run.err.contains("without the cluster") && run.out.contains("2 equal"),
        "{run:?}"
    );

    // A Service of Callsign's own is found, by its port's name; nothing leads to its address here.
    let own = Namespace::new(two.world.embedded()?, "dns")?;
    let mut service = build::service("dns", "callsign");
    service["metadata"]["labels"] = json!({"app.kubernetes.io/name": "callsign"});
    service["spec"]["ports"] = json!([{"name": "dns", "port": 5399, "protocol": "UDP"}]);
    let service = own.put(service)?;
    let ip = service["spec"]["clusterIP"].as_str().context("an address")?.to_owned();
    let found = [&["--against", &other][..], &quick].concat();
    fails(&found, 3, &["--server", &format!("{ip}:5399")]).await?;
    own.put(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "second", "labels": {"app.kubernetes.io/name": "callsign"}},
        "spec": {"ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}}))?;
    fails(&found, 2, &["several Services", "dns/callsign", "dns/second"]).await
}

/// Over TCP alone, as through a port-forward; names of a namespace, samples, files and logs; a domain from the Corefile.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_can_be_chosen() -> Result<()> {
    let two = Two::start().await?;
    let none = |_: &Message, _: &mut Message, way: Way| if way == Way::Udp { Said::Never } else { Said::Now };
    let run = two.diff(none, &["--tcp"]).await?;
    let all = run.json()?["asked"].as_u64().unwrap_or_default();
    assert_eq!(run.code, 0, "{run:?}");
    let count = async |arguments: &[&str]| -> Result<u64> {
        let run = two.diff(|_, _, _| Said::Now, arguments).await?;
        ensure!(run.code == 0, "{run:?}");
        run.json()?["asked"].as_u64().context("asked")
    };
    assert!(count(&["-n", "default"]).await? < all);
    assert!(count(&["--sample", "1"]).await? < all);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("log").display().to_string();
    let log = "[INFO] 10.1.0.1:5000 - 1 \"A IN db.n.svc.cluster.local. udp 40 false 512\" NOERROR qr,aa,rd 106 0.0001s\n";
    std::fs::write(&file, format!("{log}{log}web.n.svc.cluster.local\n"))?;
    assert_eq!(count(&["--names", &file]).await?, 3);
    assert_eq!(count(&["--names", &file, "--external", "example.com"]).await?, 5);
    assert_eq!(count(&["--names", "cluster", "--names", &file]).await?, all, "they were asked already");

    two.world
        .cluster
        .apply(&build::namespace("kube-system"))
        .await
        .or_else(|error| if format!("{error:#}").contains("exists") { Ok(()) } else { Err(error) })?;
    let corefile =
        ".:53 {\n import custom/*.override\n kubernetes other.test in-addr.arpa {\n  pods insecure\n }\n}\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "coredns"}, "data": {"Corefile": corefile}});
    two.world.cluster.apply(&map).await?;
    let run = two.diff(|_, _, _| Said::Now, &[]).await?;
    let report = run.json()?;
    assert_eq!(report["zonesFrom"], "ConfigMap kube-system/coredns", "{report:#}");
    assert_eq!(report["zones"][0], "other.test.");
    // Neither server has such a zone, and both say so.
    assert_eq!((run.code, &report["different"]), (0, &json!(0)), "{report:#}");
    Ok(())
}

/// Both follow the cluster at their own pace: what changes while it is asked is no difference.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_changes_is_no_difference() -> Result<()> {
    let two = Two::start().await?;
    let n = Namespace::new(two.world.embedded()?, "busy")?;
    for at in 0..20 {
        n.put(build::headless("busy", &format!("s{at}")))?;
        n.put(build::pod("busy", &format!("p{at}"), &format!("s{at}"), &format!("10.2.0.{}", at + 1), true))?;
    }
    let changing = async {
        for round in 0_u32.. {
            for at in 0..20 {
                let ip = format!("10.2.0.{}", at + 1);
                let _ = n.put(build::pod(
                    "busy",
                    &format!("p{at}"),
                    &format!("s{at}"),
                    &ip,
                    (round + at) % 3 != 0,
                ));
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    };
    // The other one is late by half a second, always.
    let late = |_: &Message, _: &mut Message, _: Way| Said::After(Duration::from_millis(300));
    let run = tokio::select! {
        run = two.diff(late, &["-n", "busy", "--concurrency", "16", "--settle", "200ms"]) => run?,
        () = changing => unreachable!(),
    };
    let report = run.json()?;
    assert_eq!(report["different"], 0, "{report:#}");
    assert!(report["asked"].as_u64().unwrap_or_default() > 150);
    let resolver = Resolver::new(two.world.dns).await?;
    resolver.ask("s1.busy.svc.cluster.local.", "A").await?;
    Ok(())
}
