//! `callsign sandbox`: a cluster, its endpoints and its names in one process, on loopback.

use std::{
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use callsign_controller::Config as ControllerConfig;
use callsign_e2e::apiserver::{
    ApiServer, Options, Running, Scope,
    kind::Kind,
    manifest::{self, Manifest, Manifests},
    samples,
};
use callsign_shared::index::Source;
use tracing::info;

use crate::{
    args::SandboxArgs,
    client,
    engine::{Admin, Engine, Settings},
    exit::Exit,
    serve, signals,
};

/// How long the sandbox waits for its pods before it says that it is ready.
const SETTLING: Duration = Duration::from_secs(3);

/// Runs the sandbox until it is interrupted.
pub(crate) async fn run(args: SandboxArgs) -> Result<(), Exit> {
    let started = Instant::now();
    let end = signals::ending().map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    if !args.listen.ip().is_loopback() {
        let why = format!("--listen {}: the sandbox listens on loopback only", args.listen);
        return Err(Exit::configuration(anyhow::anyhow!(why)));
    }
    let manifests = read(&args)?;
    let server = ApiServer::start(Options::sandbox(args.api_listen)).await.map_err(|error| {
        let text = format!("--api-listen {}: {error}", args.api_listen);
        Exit::listen(io::Error::new(error.kind(), text))
    })?;
    info!(what = "api", address = %server.addr(), "listening");
    let loaded = load(&server, &manifests)?;
    if let Some(path) = &args.write_kubeconfig {
        write_kubeconfig(path, &server)?;
    }
    let settings = Settings {
        dns: Some(serve::dns_settings(&args.dns, &[args.listen])?),
        controller: Some(ControllerConfig {
            event_after: Some(Duration::from_secs(30)),
            ..ControllerConfig::default()
        }),
        leader: None,
        source: Source::Memberships,
        admin: Admin::None,
    };
    let engine = Engine::start(Some(&client::plain(&server.url())?), settings).await?;
    tokio::select! {
        () = async { engine.ready().await; settled(&server).await } => {}
        () = end.cancelled() => return Ok(()),
    }
    let welcome = welcome(&args, &server, &engine, &loaded, &manifests, started);
    // A reader that has gone away is no reason to stop.
    let _ = io::stdout().write_all(welcome.as_bytes());
    let ended = engine.run(end).await;
    server.shutdown().await;
    ended
}

fn read(args: &SandboxArgs) -> Result<Manifests, Exit> {
    if !args.filenames.is_empty() {
        return manifest::load(&args.filenames).map_err(Exit::configuration);
    }
    if args.no_samples {
        return Ok(Manifests::default());
    }
    samples::load().map_err(Exit::configuration)
}

/// Loads every object, Namespaces first, and returns how many there are of each kind. A namespace that objects are in and
/// nobody brought is made: manifests are often written for one that is there.
fn load(server: &Running, manifests: &Manifests) -> Result<Vec<(Kind, usize)>, Exit> {
    let (namespaces, rest): (Vec<&Manifest>, Vec<&Manifest>) =
        manifests.objects.iter().partition(|manifest| manifest.kind == Kind::Namespace);
    let mut counts: Vec<(Kind, usize)> = Vec::new();
    for manifest in namespaces.into_iter().chain(rest) {
        let namespace = field(manifest, "/metadata/namespace");
        if !namespace.is_empty() && server.store().get(Kind::Namespace, "", namespace).is_none() {
            let object =
                serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            load_one(server, object, manifest)?;
            count(&mut counts, Kind::Namespace);
        }
        load_one(server, manifest.value.clone(), manifest)?;
        count(&mut counts, manifest.kind);
    }
    Ok(counts)
}

fn load_one(server: &Running, object: serde_json::Value, from: &Manifest) -> Result<(), Exit> {
    let loaded = server.store().load(object);
    loaded
        .map(drop)
        .map_err(|error| Exit::configuration(anyhow::anyhow!("{}: {}", from.source, error.message)))
}

fn count(counts: &mut Vec<(Kind, usize)>, kind: Kind) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => counts.push((kind, 1)),
    }
}

fn field<'a>(manifest: &'a Manifest, pointer: &str) -> &'a str {
    manifest.value.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// Waits until every workload has the pods it wants, so that what is suggested next is answered. Manifests may hold pods
/// that never become ready: the wait is short.
async fn settled(server: &Running) {
    let all_ready = || {
        [Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet].iter().all(|kind| {
            let (workloads, _) = server.store().list(*kind, Scope::All);
            workloads.iter().all(|workload| {
                let number = |pointer| workload.value.pointer(pointer).and_then(serde_json::Value::as_u64);
                number("/status/readyReplicas").unwrap_or(0) >= number("/spec/replicas").unwrap_or(1)
            })
        })
    };
    let waiting = async {
        while !all_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Whether it came to rest in time is the manifests' business.
    let _ = tokio::time::timeout(SETTLING, waiting).await;
}

fn write_kubeconfig(path: &Path, server: &Running) -> Result<(), Exit> {
    let written = std::fs::write(path, server.kubeconfig());
    written.map_err(|error| {
        Exit::configuration(
            anyhow::Error::new(error).context(format!("--write-kubeconfig {}", path.display())),
        )
    })
}

/// What a user sees first: where things are, what is in them, what to try.
fn welcome(
    args: &SandboxArgs,
    server: &Running,
    engine: &Engine,
    loaded: &[(Kind, usize)],
    manifests: &Manifests,
    started: Instant,
) -> String {
    let millis = started.elapsed().as_millis();
    let mut lines = vec![
        format!("Sandbox ready in {millis} ms. Nothing outside this process; Ctrl-C forgets everything."),
        String::new(),
    ];
    let dns = engine.dns_addresses().first().copied().unwrap_or(args.listen);
    lines.push(format!("  DNS   {dns} (udp, tcp)"));
    lines.push(format!("  API   {}", server.url()));
    if let Some(path) = &args.write_kubeconfig {
        lines.push(format!("  kubeconfig   {}", path.display()));
    }
    lines.push(String::new());
    let counts: Vec<String> =
        loaded.iter().map(|(kind, count)| format!("{count} {}", plural(*kind, *count))).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    lines.push(format!("  Loaded {counts}."));
    for unknown in &manifests.unknown {
        let (version, kind, name) = (&unknown.api_version, &unknown.kind, &unknown.name);
        lines.push(format!("  Not loaded, kind unknown here: {version} {kind} {name} ({})", unknown.source));
    }
    let dig = format!("dig @{} -p {}", dns.ip(), dns.port());
    let kubectl = match &args.write_kubeconfig {
        Some(path) => format!("kubectl --kubeconfig {}", path.display()),
        None => format!("kubectl --server {}", server.url()),
    };
    lines.extend([String::new(), "  Try:".to_owned()]);
    let samples = args.filenames.is_empty() && !args.no_samples;
    lines.extend(
        next(&dig, &kubectl, args, manifests, samples).into_iter().map(|command| format!("    {command}")),
    );
    lines.push(String::new());
    lines.join("\n")
}

/// The commands to try.
fn next(dig: &str, kubectl: &str, args: &SandboxArgs, manifests: &Manifests, samples: bool) -> Vec<String> {
    let domain = args.dns.cluster_domain.trim_end_matches('.');
    if samples {
        return vec![
            format!("{dig} +short web.default.svc.{domain}"),
            format!("{dig} +short db.shop.svc.{domain}"),
            format!("{dig} +short _postgres._tcp.db.shop.svc.{domain} SRV"),
            format!("{kubectl} get services,endpointslices -A"),
            format!("{kubectl} -n shop scale statefulset/db --replicas=5"),
            format!("{kubectl} -n shop get endpoints payments      # broken on purpose: why is it empty?"),
        ];
    }
    let service = manifests.objects.iter().find(|manifest| manifest.kind == Kind::Service);
    let name = service.map_or("kubernetes", |service| field(service, "/metadata/name"));
    let namespace = service.map_or("default", |service| match field(service, "/metadata/namespace") {
        "" => "default",
        namespace => namespace,
    });
    vec![
        format!("{dig} {name}.{namespace}.svc.{domain}"),
        format!("{kubectl} get services,endpointslices -A"),
    ]
}

fn plural(kind: Kind, count: usize) -> &'static str {
    match (kind, count) {
        (Kind::Endpoints, _) => "endpoints",
        (_, 1) => kind.info().singular,
        (_, _) => kind.info().plural,
    }
}
