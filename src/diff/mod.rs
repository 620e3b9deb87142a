//! `callsign diff`: asks two servers every name of the cluster, and tells where their answers differ.
//!
//! ```text
//!   API server ─▶ cluster: index, zone ─▶ questions ─┐
//!   files, flags ─▶ listed ──────────────────────────┴▶ round: ask both ─▶ compare · wanted · verdict ─▶ report
//! ```
//!
//! What is asked, how two answers differ, which differences are wanted and what a second look decides are plain functions;
//! IO is in [`ask`], [`cluster`] and [`find`].

mod ask;
mod cluster;
mod compare;
mod find;
mod listed;
mod pace;
mod questions;
mod report;
mod round;
mod seen;
mod standing;
mod verdict;
mod wanted;

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use callsign_dns::{corefile::read_text, plugin::Meters};
use hickory_proto::rr::RecordType;
use tokio_util::sync::CancellationToken;

use ask::Server;
use cluster::Cluster;
use find::Domain;
use pace::Pace;
use questions::{Choice, Question};
use report::{About, Report};
use round::Pair;
use standing::Zones;

use crate::{
    args::{DiffArgs, OutputForm},
    client,
    exit::Exit,
    log::say,
    requests::Requests,
};

/// What stands for the names of the cluster.
const CLUSTER: &str = "cluster";

/// Compares, once or until it is interrupted.
///
/// # Errors
/// With code 1 when answers differ, 2 when the arguments make no sense, 3 when a server or the cluster cannot be reached.
pub(crate) async fn run(args: DiffArgs) -> Result<(), Exit> {
    let listed = listed(&args)?;
    let wants_cluster = args.names.iter().any(|name| name == CLUSTER);
    // A list of names can be asked without a cluster, if it must be.
    let needs_cluster = wants_cluster || args.server.is_none();
    let mut config = match client::config(&args.cluster).await {
        Ok(config) => Some(config),
        Err(error) if needs_cluster => return Err(error),
        Err(_) => None,
    };
    let domain = match domain(&args, config.as_ref()).await {
        Err(error) if !needs_cluster && error.is_unreachable() => {
            without_cluster(&error);
            config = None;
            domain(&args, None).await?
        }
        domain => domain?,
    };
    let (server, service) = match (args.server, &config) {
        (Some(address), _) => (address, None),
        (None, Some(config)) => {
            let (address, service) = find::server(&requester(config)?).await?;
            (address, Some(service))
        }
        // Without a cluster it had to be named.
        (None, None) => return Err(Exit::configuration(anyhow::anyhow!("--server: where is Callsign?"))),
    };
    if server == args.against {
        let why = format!("{server} cannot be compared with itself: --server and --against are the same");
        return Err(Exit::configuration(anyhow::anyhow!(why)));
    }
    let mut about = About {
        server: service.map_or_else(|| server.to_string(), |name| format!("{server} (Service {name})")),
        against: args.against.to_string(),
        zones: domain.config.zones.iter().map(ToString::to_string).collect(),
        zones_from: domain.source.clone(),
        services: None,
        strict: args.strict,
        show: args.show,
    };
    let zones = Zones::new(&domain.config.zones, domain.mixed_case);
    let apex = domain.config.zones.first().cloned();
    let cluster = match config {
        None => None,
        Some(config) => match Cluster::watch(config, domain.config, domain.passed_on).await {
            Ok(cluster) => Some(cluster),
            Err(error) if wants_cluster => return Err(error),
            Err(error) => {
                without_cluster(&error);
                None
            }
        },
    };
    let asker = |address| Server::new(address, args.tcp, args.timeout, args.tries, Pace::new(args.rate));
    let pair = Arc::new(Pair {
        server: asker(server),
        against: asker(args.against),
        cluster,
        zones,
        concurrency: usize::from(args.concurrency),
        settle: args.settle,
        asked: AtomicU64::new(0),
    });
    if let Some(name) = apex {
        let question = Question { name, kind: RecordType::SOA };
        for (flag, server) in [("--server", &pair.server), ("--against", &pair.against)] {
            reach(flag, server, &question, args.tcp).await?;
        }
    }
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            let _ = tokio::signal::ctrl_c().await;
            stop.cancel();
        }
    });
    let choice = Choice { namespace: args.namespace.clone(), sample: args.sample };
    let choice = wants_cluster.then_some(&choice);
    let mut worst = None;
    loop {
        let questions = asked(&pair, choice, &listed);
        if questions.is_empty() {
            return Err(Exit::configuration(anyhow::anyhow!("there is nothing to ask")));
        }
        about.services = pair.cluster.as_ref().map(|cluster| cluster.index.views().len());
        let report = watched(&pair, questions, &stop, &about).await;
        match args.output {
            OutputForm::Text => say(report.to_string().trim_end()),
            // A round a line, so that rounds can be told apart.
            OutputForm::Json if args.repeat.is_some() => say(&json(&report, false)?),
            OutputForm::Json => say(&json(&report, true)?),
        }
        if let Some(server) = pair.gone() {
            let why = format!("{} has stopped answering; {}", server.address, report.summary());
            return Err(Exit::unreachable(anyhow::anyhow!(why)));
        }
        if !report.is_good() {
            worst = Some(report.summary());
        }
        let Some(pause) = args.repeat else { break };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => break,
        }
    }
    match worst {
        None => Ok(()),
        Some(summary) => Err(Exit::from(anyhow::anyhow!(summary))),
    }
}

fn without_cluster(error: &Exit) {
    eprintln!("callsign: {error}; without the cluster it is not known which differences are wanted");
}

/// The questions of files and flags.
fn listed(args: &DiffArgs) -> Result<Vec<Question>, Exit> {
    let mut all = Vec::new();
    for file in args.names.iter().filter(|name| *name != CLUSTER) {
        let wrong = |error: String| Exit::configuration(anyhow::anyhow!("--names {file}: {error}"));
        let text = read_file(file).map_err(|error| wrong(error.to_string()))?;
        all.extend(listed::read(&text).map_err(wrong)?);
    }
    for name in &args.external {
        let name = listed::read_name(name);
        let name = name.map_err(|error| Exit::configuration(anyhow::anyhow!("--external {error}")))?;
        all.extend(questions::of_name(&name));
    }
    Ok(all)
}

fn read_file(file: &str) -> std::io::Result<String> {
    if file == "-" { read_text(std::io::stdin()) } else { read_text(std::fs::File::open(Path::new(file))?) }
}

/// What the cluster's names are.
async fn domain(args: &DiffArgs, config: Option<&kube::Config>) -> Result<Domain, Exit> {
    let domain = match (&args.corefile, &args.zone, config) {
        (Some(file), _, _) => Domain::of_file(file)?,
        (None, Some(zone), None) => return Domain::named(zone, "--zone"),
        (None, _, Some(config)) => Domain::of_cluster(&requester(config)?).await?,
        (None, None, None) => return Domain::named("cluster.local", "the default"),
    };
    match &args.zone {
        Some(zone) => domain.renamed(zone),
        None => Ok(domain),
    }
}

/// A client for single requests.
fn requester(config: &kube::Config) -> Result<kube::Client, Exit> {
    let mut config = config.clone();
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(Duration::from_secs(10));
    let requests = Requests::of(&Meters::default(), &config.cluster_url);
    client::client(config, &requests)
}

/// Sees that a server answers at all.
async fn reach(flag: &str, server: &Server, question: &Question, tcp: bool) -> Result<(), Exit> {
    let Err(silence) = server.ask(question, false).await else { return Ok(()) };
    let (address, how) = (server.address, if tcp { "TCP" } else { "UDP" });
    let hint = if tcp { "" } else { " (through kubectl port-forward only TCP works: --tcp)" };
    let why = format!("{flag} {address}: {question} over {how}: {silence}{hint}");
    Err(Exit::unreachable(anyhow::anyhow!(why)))
}

/// What to ask now, none twice.
fn asked(pair: &Pair, choice: Option<&Choice>, listed: &[Question]) -> Vec<Question> {
    let mut questions = match (&pair.cluster, choice) {
        (Some(cluster), Some(choice)) => questions::of_cluster(&cluster.zone, &cluster.index, choice),
        _ => Vec::new(),
    };
    let known: HashSet<Question> = questions.iter().cloned().collect();
    questions.extend(listed.iter().filter(|question| !known.contains(*question)).cloned());
    questions
}

/// A round, with its progress on stderr.
async fn watched(
    pair: &Arc<Pair>,
    questions: Vec<Question>,
    stop: &CancellationToken,
    about: &About,
) -> Report {
    let (total, terminal) = (questions.len(), std::io::stderr().is_terminal());
    pair.asked.store(0, Ordering::Relaxed);
    let progress = async {
        // A file of a job's output needs no line a second.
        let pause = Duration::from_secs(if terminal { 1 } else { 10 });
        loop {
            tokio::time::sleep(pause).await;
            let asked = pair.asked.load(Ordering::Relaxed);
            let mut out = std::io::stderr();
            // Whether anybody reads it is no matter of the comparison.
            let _ = match terminal {
                true => write!(out, "\r{asked} of {total} asked "),
                false => writeln!(out, "{asked} of {total} asked"),
            };
        }
    };
    let tally = tokio::select! {
        tally = pair.round(questions, stop) => tally,
        () = progress => round::Tally::default(),
    };
    if terminal {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    Report::new(about, &tally)
}

fn json(report: &Report, pretty: bool) -> Result<String, Exit> {
    let json = if pretty { serde_json::to_string_pretty(report) } else { serde_json::to_string(report) };
    json.map_err(|error| Exit::from(anyhow::Error::new(error)))
}
