//! `callsign sandbox`: a cluster, its endpoints and its names in one process, on loopback.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    time::Instant,
};

use callsign_controller::Config as ControllerConfig;
use callsign_e2e::apiserver::{
    ApiServer, Options, Running, WriteOptions,
    kind::Kind,
    manifest::{self, Manifests},
    samples,
};
use callsign_shared::index::Source;
use tracing::info;

use crate::{
    args::SandboxArgs,
    client,
    engine::{Engine, Settings},
    exit::Exit,
    signals,
};

/// How the sandbox's own loading signs the fields it sets.
const MANAGER: &str = "callsign-sandbox";

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
        dns: Some((args.dns.clone(), vec![args.listen])),
        controller: Some(ControllerConfig::default()),
        source: Source::Memberships,
        admin: None,
    };
    let engine = Engine::start(&client::plain(&server.url())?, settings).await?;
    tokio::select! {
        () = engine.ready() => {}
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
        return manifest::read(&args.filenames).map_err(Exit::configuration);
    }
    if args.no_samples {
        return Ok(Manifests::default());
    }
    samples::manifests().map_err(Exit::configuration)
}

/// Creates every object, and returns how many there are of each kind.
fn load(server: &Running, manifests: &Manifests) -> Result<Vec<(Kind, usize)>, Exit> {
    let mut counts: Vec<(Kind, usize)> = Vec::new();
    for object in &manifests.objects {
        manifest::apply(server.store(), object, &WriteOptions::by(MANAGER))
            .map_err(|error| Exit::configuration(anyhow::anyhow!("{error}")))?;
        match counts.iter_mut().find(|(kind, _)| *kind == object.kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((object.kind, 1)),
        }
    }
    Ok(counts)
}

fn write_kubeconfig(path: &Path, server: &Running) -> Result<(), Exit> {
    let written = std::fs::write(path, server.kubeconfig());
    written.map_err(|error| {
        Exit::configuration(anyhow::Error::new(error).context(format!("--write-kubeconfig {}", path.display())))
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
    let mut text = String::new();
    let millis = started.elapsed().as_millis();
    let mut line = |line: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    };
    line(&format!("Sandbox ready in {millis} ms. Nothing outside this process; Ctrl-C forgets everything."));
    line("");
    for dns in engine.dns_addresses() {
        let (ip, port) = (dns.ip(), dns.port());
        line(&format!("  DNS  {dns} (udp, tcp)       dig @{ip} -p {port} {}", example(args, manifests)));
    }
    line(&format!("  API  {}      kubectl --server {} get services,endpointslices -A", server.url(), server.url()));
    if let Some(path) = &args.write_kubeconfig {
        line(&format!("                                    kubectl --kubeconfig {} get pods -A", path.display()));
    }
    line("");
    let counts: Vec<String> =
        loaded.iter().map(|(kind, count)| format!("{count} {}", plural(*kind, *count))).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    line(&format!("  Loaded {counts}."));
    for unknown in &manifests.unknown {
        line(&format!("  Not loaded: {unknown}"));
    }
    if args.filenames.is_empty() && !args.no_samples {
        line("");
        for hint in samples::hints(&server.url(), engine.dns_addresses().first().copied()) {
            line(&format!("  {hint}"));
        }
    }
    text
}

/// The name of the first Service that was loaded.
fn example(args: &SandboxArgs, manifests: &Manifests) -> String {
    let domain = args.dns.cluster_domain.trim_end_matches('.');
    let service = manifests.objects.iter().find(|object| object.kind == Kind::Service);
    let (namespace, name) = service.map_or(("default", "kubernetes"), |object| (object.namespace(), object.name()));
    format!("{name}.{namespace}.svc.{domain}")
}

fn plural(kind: Kind, count: usize) -> &'static str {
    match (kind, count) {
        (Kind::Endpoints, _) => "Endpoints",
        (_, 1) => kind.info().name,
        (_, _) => kind.info().plural,
    }
}
