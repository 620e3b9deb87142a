//! The flags of `callsign diff`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{
    ClusterArgs, OutputForm,
    values::{domain, duration, object_name, upstream},
};

/// Which servers, which names, how hard.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no differences but wanted ones, 1 differences or names without an answer, 2 usage, 3 a server or the cluster \
cannot be reached.

Examples:
  callsign diff --against 10.96.0.10
  callsign diff --against 10.96.0.10 --server 10.96.0.53 -n shop --output json
  callsign diff --against 10.96.0.10 --names clients.log --external example.com
  kubectl -n kube-system port-forward deploy/coredns 5300:53 &        # port-forwards are TCP only
  kubectl -n kube-system port-forward deploy/callsign 5301:1053 &
  callsign diff --against 127.0.0.1:5300 --server 127.0.0.1:5301 --tcp")]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The server to compare with: the one that is to be replaced
    #[arg(long, env = "CALLSIGN_AGAINST", value_name = "ADDR[:PORT]", value_parser = upstream)]
    pub(crate) against: SocketAddr,
    /// The server that is to take its place [default: the Service labelled app.kubernetes.io/name=callsign]
    #[arg(long, env = "CALLSIGN_SERVER", value_name = "ADDR[:PORT]", value_parser = upstream)]
    pub(crate) server: Option<SocketAddr>,
    /// What to ask: `cluster` for every name of it and some that must not exist, or a file with a `name [type]` or a line of
    /// a query log on each line; repeatable
    #[arg(
        long,
        default_value = "cluster",
        env = "CALLSIGN_NAMES",
        value_name = "cluster|FILE",
        value_delimiter = ','
    )]
    pub(crate) names: Vec<String>,
    /// A name that is not the cluster's, to ask too; repeatable
    #[arg(long, env = "CALLSIGN_EXTERNAL", value_name = "NAME", value_delimiter = ',')]
    pub(crate) external: Vec<String>,
    /// Only names of this namespace
    #[arg(short, long, env = "CALLSIGN_NAMESPACE", value_name = "NAME", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Of at most so many Services, and of so many endpoints of each, drawn at random
    #[arg(long, env = "CALLSIGN_SAMPLE", value_name = "N", value_parser = sample)]
    pub(crate) sample: Option<usize>,
    /// Domain of the cluster's names [default: that of the Corefile, else of this pod's search path, else cluster.local]
    #[arg(long, env = "CALLSIGN_ZONE", value_name = "DOMAIN", value_parser = domain)]
    pub(crate) zone: Option<String>,
    /// The Corefile whose zones are asked about [default: that of the ConfigMap kube-system/coredns, where it may be read]
    #[arg(long, env = "CALLSIGN_COREFILE", value_name = "FILE")]
    pub(crate) corefile: Option<PathBuf>,
    /// Most questions a second to each server; 0 for no limit
    #[arg(long, default_value_t = 200, env = "CALLSIGN_RATE", value_name = "N")]
    pub(crate) rate: u32,
    /// Most questions at the same time
    #[arg(long, default_value_t = 32, env = "CALLSIGN_CONCURRENCY", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How long to wait for an answer, before it is asked again
    #[arg(long, default_value = "2s", env = "CALLSIGN_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// How often a question is asked of a server that does not answer
    #[arg(long, default_value_t = 3, env = "CALLSIGN_TRIES", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub(crate) tries: u32,
    /// Ask over TCP only, as through `kubectl port-forward`
    #[arg(long, env = "CALLSIGN_TCP")]
    pub(crate) tcp: bool,
    /// What differs is asked again after this time before it is believed; 0 believes it at once
    #[arg(long, default_value = "2s", env = "CALLSIGN_SETTLE", value_name = "DURATION", value_parser = duration)]
    pub(crate) settle: Duration,
    /// Ask everything again this long after the last answer, until interrupted
    #[arg(long, env = "CALLSIGN_REPEAT", value_name = "DURATION", value_parser = duration)]
    pub(crate) repeat: Option<Duration>,
    /// Count wanted differences, and TTLs, as differences
    #[arg(long, env = "CALLSIGN_STRICT")]
    pub(crate) strict: bool,
    /// How many differences to show in full
    #[arg(long, default_value_t = 20, env = "CALLSIGN_SHOW", value_name = "N")]
    pub(crate) show: usize,
    /// Form of the report on stdout
    #[arg(short, long, value_enum, default_value = "text", env = "CALLSIGN_OUTPUT", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

fn sample(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "want a number above 0".to_owned())
}
