//! `callsign check`: whether an installation is healthy, or may begin, and what to do where not.
//!
//! ```text
//!   gather (IO) ─▶ facts ─▶ a check for each category: facts → items ─▶ report: text, short, JSON, exit code
//! ```
//!
//! Checks are plain functions: what they know is in [`facts`], what they say is in [`codes`] and explained in docs/check.md.
//! What the caller may not see is told as such, never left out. The questions to the API server are few and bounded: pages of
//! lists, reviews of rights, and two pages of each pod.

mod answers;
mod api;
mod codes;
mod controllers;
pub(crate) mod corefile;
mod facts;
mod finding;
mod gather;
mod install;
mod metrics;
mod objects;
mod permissions;
mod report;
mod rights;
mod servers;
mod service;
mod software;
#[cfg(test)]
mod testing;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use callsign_dns::plugin::Meters;

use facts::{ApiFacts, Cluster, Missing};
use finding::{Item, Section};
use gather::{Gatherer, answers::Plan};
use objects::Service;
use report::{Report, Style, Verdict};

use crate::{
    args::{Category, HealthArgs, Strategy},
    client,
    exit::Exit,
    log::say,
    requests::Requests,
};

/// How long between two looks with --wait.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a connection to the API server may take.
const CONNECTING: Duration = Duration::from_secs(5);

/// Looks, and says what there is to say; with --wait until all is good.
///
/// # Errors
/// With the exit code of what was found, and with 2 when the arguments make no sense.
pub(crate) async fn run(args: &HealthArgs) -> Result<(), Exit> {
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    let mut told = String::new();
    loop {
        let report = look(args).await?;
        let verdict = report.verdict(args.fail_on);
        let over = deadline.is_none_or(|deadline| Instant::now() + PAUSE > deadline);
        if verdict == Verdict::Good || over {
            let late = deadline.is_some() && verdict != Verdict::Good;
            return tell(args, &report, if late { Verdict::Timeout } else { verdict });
        }
        let gist = report.gist(args.fail_on);
        if gist != told {
            eprintln!("waiting: {gist}");
            told = gist;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn tell(args: &HealthArgs, report: &Report, verdict: Verdict) -> Result<(), Exit> {
    let text = report.render(args.output, verdict, Style::here());
    let text = text.map_err(|error| Exit::from(anyhow::Error::new(error)))?;
    if !text.is_empty() {
        say(&text);
    }
    match verdict {
        Verdict::Good => Ok(()),
        verdict => Err(Exit::said(verdict.code())),
    }
}

/// The categories that are looked at.
fn categories(args: &HealthArgs) -> Vec<Category> {
    let wanted = |category: &Category| match category {
        category if !args.only.is_empty() => args.only.contains(category),
        Category::Servers | Category::Answers => !args.pre,
        Category::Install => args.pre,
        _ => true,
    };
    Category::ALL.into_iter().filter(wanted).collect()
}

/// One look.
async fn look(args: &HealthArgs) -> Result<Report, Exit> {
    let categories = categories(args);
    let only_answers = categories == [Category::Answers];
    if only_answers && args.server.is_some() {
        let section = ask(args, None).await;
        return Ok(Report { sections: vec![section], unreachable: false });
    }
    let config = match client::config(&args.cluster).await {
        Ok(config) => config,
        // A pod without an account still has a nameserver.
        Err(_) if only_answers => {
            return Ok(Report { sections: vec![ask(args, None).await], unreachable: false });
        }
        Err(exit) => return Err(exit),
    };
    let gatherer = gatherer(args, config)?;
    let api = gatherer.api().await;
    if api.version.is_err() {
        return Ok(unreachable(args, &categories, &api).await);
    }
    let cluster = gatherer.cluster().await;
    let corefile = match categories
        .iter()
        .any(|category| matches!(category, Category::Corefile | Category::Permissions | Category::Answers))
    {
        true => Some(gatherer.corefile(&cluster).await?),
        false => None,
    };
    let mut sections = Vec::new();
    for category in categories {
        let items = match category {
            Category::Api => api::check(&api, gatherer.writes(&cluster)),
            Category::Permissions => {
                let text = corefile.as_ref().and_then(|facts| facts.text.as_deref().ok()).unwrap_or_default();
                permissions::check(&gatherer.permissions(&cluster, text).await)
            }
            Category::Corefile => corefile.as_ref().map(corefile::check).unwrap_or_default(),
            Category::Service => fronts(args, &cluster),
            Category::Servers => servers::check(&args.namespace, &cluster),
            Category::Controllers if args.pre => controllers::before(&cluster, args.mode.writes()),
            Category::Controllers => controllers::check(&cluster),
            Category::Install => install::check(&gatherer.install(&api).await),
            Category::Answers => {
                let domain = corefile.as_ref().map(|facts| facts.domain.0.as_str());
                sections.push(ask(args, Some((&cluster, domain))).await);
                continue;
            }
        };
        sections.push(Section { category, items, decides: true });
    }
    Ok(Report { sections, unreachable: false })
}

fn gatherer(args: &HealthArgs, mut config: kube::Config) -> Result<Gatherer<'_>, Exit> {
    config.connect_timeout = Some(CONNECTING);
    let account = client::account_namespace(&config);
    let url = config.cluster_url.to_string();
    let requests = Requests::of(&Meters::default(), &config.cluster_url);
    let client = client::client(config, &requests)?;
    Ok(Gatherer::new(client, url.trim_end_matches('/').to_owned(), args, account))
}

/// What can be said without the API server.
async fn unreachable(args: &HealthArgs, categories: &[Category], api: &ApiFacts) -> Report {
    let mut sections =
        vec![Section { category: Category::Api, items: api::check(api, false), decides: true }];
    for category in categories.iter().copied().filter(|category| *category != Category::Api) {
        if category == Category::Answers && args.server.is_some() {
            sections.push(ask(args, None).await);
        } else {
            let items = vec![Item::not_checked(category.name(), "the API server cannot be used")];
            sections.push(Section { category, items, decides: true });
        }
    }
    Report { sections, unreachable: true }
}

/// The Service that pods ask, and Callsign's own.
fn fronts(args: &HealthArgs, cluster: &Cluster) -> Vec<Item> {
    let name = format!("{}/{}", args.service.0, args.service.1);
    let absent = cluster.front.service.as_ref().is_err_and(Missing::is_absent);
    // Whoever brings a Service of its own needs no other.
    let mut items = match absent && args.pre && args.strategy != Strategy::Join {
        true => vec![Item::good(format!("there is no Service {name} that anybody could lose"))],
        false => service::check(&name, &cluster.front, &cluster.pages),
    };
    if let Some(own) = &cluster.own_front {
        items.extend(service::check("of Callsign", own, &cluster.pages));
    }
    items
}

/// The Service that leads to Callsign: where its pods stand, else where they are to.
fn leading(cluster: &Cluster) -> Option<&Service> {
    let own = |path: String| cluster.own.iter().flatten().any(|pod| pod.metadata.path() == path);
    let joined = cluster.front.behind.iter().flatten().any(|pod| own(pod.metadata.path()));
    let other = cluster.own_front.as_ref().filter(|_| !joined);
    other.unwrap_or(&cluster.front).service.as_ref().ok()
}

/// Asks a DNS server: the one that was named, else the Service's, else in a pod its own.
async fn ask(args: &HealthArgs, known: Option<(&Cluster, Option<&str>)>) -> Section {
    let category = Category::Answers;
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let of_service = || {
        let service = leading(known?.0)?;
        let ip: IpAddr = service::addresses(service).first()?.parse().ok()?;
        Some((SocketAddr::new(ip, 53), format!("Service {}", service.metadata.path())))
    };
    let of_pod = || {
        let text = std::fs::read_to_string("/etc/resolv.conf").ok().filter(|_| in_pod)?;
        Some((SocketAddr::new(nameserver(&text)?, 53), "the nameserver of /etc/resolv.conf".to_owned()))
    };
    let named = args.server.map(|server| (server, "--server".to_owned()));
    let Some((server, why)) = named.or_else(of_service).or_else(of_pod) else {
        let why = "no server is known: name one with --server";
        return Section { category, items: vec![Item::not_checked("answers", why)], decides: true };
    };
    let said = args.cluster_domain.as_deref().or_else(|| known.and_then(|(_, domain)| domain));
    let kubernetes = known.and_then(|(cluster, _)| cluster.kubernetes.as_ref().ok());
    let plan = Plan {
        server,
        why,
        domain: said.unwrap_or("cluster.local").to_owned(),
        kubernetes_ips: kubernetes.map(service::addresses).unwrap_or_default(),
        external: Some(args.external.clone()).filter(|name| name != "none"),
    };
    let facts = gather::answers::gather(&plan).await;
    // From outside a cluster its addresses are seldom reached, or are somebody else's: that says nothing about the cluster.
    if args.server.is_none() && !in_pod && !facts.knows_kubernetes() {
        let missing = Missing::Failed(
            format!("reach the cluster's server at {server} from here"),
            "this is no pod of the cluster; name an address that can be reached with --server, or run `helm test`"
                .to_owned(),
        );
        let items = vec![Item::not_checked("answers", missing)];
        return Section { category, items, decides: args.only.contains(&category) };
    }
    let mut items = answers::check(&facts);
    if let Some(Err(missing)) = known.map(|(cluster, _)| cluster.kubernetes.as_ref()) {
        items.push(Item::not_checked("whether addresses are those of Services", missing));
    }
    Section { category, items, decides: true }
}

/// The first `nameserver` of a resolv.conf.
fn nameserver(text: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> HealthArgs {
        let cli = Cli::parse_from(["callsign", "check"].iter().chain(words));
        match cli.command {
            Command::Check(args) => *args,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn categories_follow_the_occasion() {
        use Category::{Answers, Api, Controllers, Corefile, Install, Permissions, Servers, Service};
        assert_eq!(
            categories(&args(&[])),
            [Api, Permissions, Corefile, Service, Servers, Controllers, Answers]
        );
        assert_eq!(
            categories(&args(&["--pre"])),
            [Api, Permissions, Corefile, Service, Controllers, Install]
        );
        assert_eq!(categories(&args(&["--only", "answers,api"])), [Api, Answers]);
        assert_eq!(
            nameserver("# x\nsearch a\nnameserver 10.96.0.10\nnameserver 1.1.1.1\n"),
            "10.96.0.10".parse().ok()
        );
        assert_eq!(nameserver("nameserver\n"), None);
    }
}
