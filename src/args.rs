//! The command line. Every flag has an environment twin: `--cluster-domain` is `CALLSIGN_CLUSTER_DOMAIN`.

mod check;
mod diff;
mod manifest;
mod values;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) use check::{Category, FailOn, HealthArgs, InstallMode, ReportForm, Strategy};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use diff::DiffArgs;
pub(crate) use manifest::ManifestArgs;
use values::{domain, duration, identity, listen_address, object_name, upstream};

/// Kubernetes' endpoint controllers and cluster DNS server, from one in-memory index.
#[derive(Debug, Parser)]
#[command(name = "callsign", version, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer DNS and write Endpoints and EndpointSlices for a cluster
    Serve(ServeArgs),
    /// Answer DNS only, from EndpointSlices, as CoreDNS does
    Dns(DnsCommandArgs),
    /// Write Endpoints and EndpointSlices only
    Controller(ControllerCommandArgs),
    /// Try it without a cluster: API server, controllers and DNS in one process, on loopback
    #[cfg(feature = "sandbox")]
    Sandbox(SandboxArgs),
    /// Ask two servers every name of the cluster and tell where their answers differ
    Diff(DiffArgs),
    /// Say whether an installation is healthy, or may begin (--pre), and what to do where not
    Check(Box<HealthArgs>),
    /// Print the objects of an installation, as the Helm chart makes them. Applies nothing
    Manifest(ManifestArgs),
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version
    Version,
    /// Print the completion script of a shell
    Completion {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what becomes of each directive of a Corefile, and how it is understood. Needs no cluster and opens no port
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The Corefile; - for the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Port of keys that name none
    #[arg(long, default_value_t = 53, env = "CALLSIGN_DNS_PORT", value_name = "PORT")]
    pub(crate) dns_port: u16,
    /// Form of what is said
    #[arg(short, long, value_enum, default_value = "text", env = "CALLSIGN_OUTPUT", value_name = "FORM")]
    pub(crate) output: OutputForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// How to log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Form of the log on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "CALLSIGN_LOG_FORMAT",
        value_name = "FORM"
    )]
    pub(crate) log_format: LogFormat,
    /// What to log: a level, or directives such as `info,callsign_controller=debug`
    #[arg(long, global = true, default_value = "info", env = "CALLSIGN_LOG_LEVEL", value_name = "FILTER")]
    pub(crate) log_level: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Which cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Kubeconfig file; without it $KUBECONFIG or ~/.kube/config, else the in-cluster account
    #[arg(long, env = "CALLSIGN_KUBECONFIG", value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, env = "CALLSIGN_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// What DNS answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct DnsArgs {
    /// Domain of the cluster's names
    #[arg(long, default_value = "cluster.local", env = "CALLSIGN_CLUSTER_DOMAIN", value_name = "DOMAIN",
          value_parser = domain)]
    pub(crate) cluster_domain: String,
    /// Time to live of every record, seconds
    #[arg(long, default_value_t = 30, env = "CALLSIGN_TTL", value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub(crate) ttl: u32,
    /// Names of pods by address, `10-244-0-7.ns.pod.cluster.local`: none, any address, or those of living pods
    #[arg(long, value_enum, default_value = "insecure", env = "CALLSIGN_PODS", value_name = "MODE")]
    pub(crate) pods: PodNames,
    /// Server for names that are not the cluster's; repeatable, tried in order. Without one they are refused
    #[arg(long, env = "CALLSIGN_UPSTREAM", value_name = "ADDR[:PORT]", value_delimiter = ',', value_parser = upstream)]
    pub(crate) upstream: Vec<SocketAddr>,
    /// Address under which clients reach this server, for its NS records; repeatable [default: this machine's addresses]
    #[arg(long, env = "CALLSIGN_OWN_ADDRESS", value_name = "ADDR", value_delimiter = ',')]
    pub(crate) own_address: Vec<std::net::IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PodNames {
    /// No such names
    Disabled,
    /// Every address has a name, whether or not there is such a pod
    Insecure,
    /// Pods that run, in their namespace
    Verified,
}

/// A Corefile in the place of the flags that say what DNS to serve and where.
#[derive(Debug, Args)]
pub(crate) struct CorefileArgs {
    /// Serve what this Corefile says, and where it says; read again when it changes (`reload`), and at SIGUSR1
    #[arg(
        long,
        env = "CALLSIGN_COREFILE",
        value_name = "FILE",
        conflicts_with_all = [
            "listen", "cluster_domain", "ttl", "pods", "upstream", "health_listen", "ready_listen",
            "metrics_listen", "lameduck",
        ]
    )]
    pub(crate) corefile: Option<PathBuf>,
}

/// Where to listen with `serve` and `dns`.
#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Address for DNS over UDP and TCP; repeatable
    #[arg(long, default_values = ["0.0.0.0:53", "[::]:53"], env = "CALLSIGN_LISTEN", value_name = "ADDR:PORT",
          value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
}

/// Health, readiness, metrics and the end.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// Address of /health: 200 while the process lives
    #[arg(long, default_value = ":8080", env = "CALLSIGN_HEALTH_LISTEN", value_name = "[ADDR]:PORT", value_parser = listen_address)]
    pub(crate) health_listen: SocketAddr,
    /// Address of /ready: 503 naming what is not synced, then 200
    #[arg(long, default_value = ":8181", env = "CALLSIGN_READY_LISTEN", value_name = "[ADDR]:PORT", value_parser = listen_address)]
    pub(crate) ready_listen: SocketAddr,
    /// Address of /metrics, and of /journal: what the controllers wrote and why
    #[arg(long, default_value = ":9153", env = "CALLSIGN_METRICS_LISTEN", value_name = "[ADDR]:PORT", value_parser = listen_address)]
    pub(crate) metrics_listen: SocketAddr,
    /// How long to keep answering after SIGTERM, not ready, while clients turn to other replicas
    #[arg(long, default_value = "5s", env = "CALLSIGN_LAMEDUCK", value_name = "DURATION", value_parser = duration)]
    pub(crate) lameduck: Duration,
}

/// How the controllers write.
#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// How many Services are written at the same time
    #[arg(long, default_value_t = 16, env = "CALLSIGN_CONCURRENT_SERVICE_ENDPOINT_SYNCS", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) concurrent_service_endpoint_syncs: u16,
    /// Most endpoints of one EndpointSlice
    #[arg(long, default_value_t = 100, env = "CALLSIGN_MAX_ENDPOINTS_PER_SLICE", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) max_endpoints_per_slice: u16,
    /// Most endpoints mirrored from one subset of hand-written Endpoints
    #[arg(long, default_value_t = 1000, env = "CALLSIGN_MIRRORING_MAX_ENDPOINTS_PER_SUBSET", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) mirroring_max_endpoints_per_subset: u16,
    /// Which Endpoints objects to write; EndpointSlices are always written
    #[arg(long, value_enum, default_value = "on", env = "CALLSIGN_ENDPOINTS", value_name = "WHICH")]
    pub(crate) endpoints: EndpointsWritten,
    /// After a write of a Service's slices, write its further changes of this time together
    #[arg(
        long,
        default_value = "0",
        env = "CALLSIGN_ENDPOINTSLICE_UPDATES_BATCH_PERIOD",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) endpointslice_updates_batch_period: Duration,
    /// The same for slices that are mirrored from hand-written Endpoints
    #[arg(
        long,
        default_value = "0",
        env = "CALLSIGN_MIRRORING_ENDPOINTSLICE_UPDATES_BATCH_PERIOD",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) mirroring_endpointslice_updates_batch_period: Duration,
    /// The same for its Endpoints
    #[arg(
        long,
        default_value = "0",
        env = "CALLSIGN_ENDPOINT_UPDATES_BATCH_PERIOD",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) endpoint_updates_batch_period: Duration,
    /// Changes of endpoints that are not ready may wait so long to be written with others, up to 6s while many Services
    /// change; 0 writes them at once
    #[arg(
        long,
        default_value = "300ms",
        env = "CALLSIGN_UNREADY_UPDATES_DELAY",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) unready_updates_delay: Duration,
    /// How long a Service must be without a pod, a ready pod or a named port before an Event tells of it; 0 for no such
    /// Events
    #[arg(long, default_value = "30s", env = "CALLSIGN_EVENT_AFTER", value_name = "DURATION", value_parser = duration)]
    pub(crate) event_after: Duration,
    /// Most requests a second to write with [default: no limit but the API server's]
    #[arg(long, env = "CALLSIGN_KUBE_API_QPS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) kube_api_qps: Option<u32>,
    /// Most requests at once above that rate
    #[arg(
        long,
        default_value_t = 100,
        requires = "kube_api_qps",
        env = "CALLSIGN_KUBE_API_BURST",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) kube_api_burst: u32,
    /// Before the first write, and every few minutes after, look for other controllers that write the same objects; write
    /// nothing while there is one
    #[arg(long, value_enum, default_value = "on", env = "CALLSIGN_GUARD", value_name = "MODE")]
    pub(crate) guard: GuardMode,
    /// How long another controller has to show itself, where kube-controller-manager runs or may
    #[arg(long, default_value = "30s", env = "CALLSIGN_GUARD_WAIT", value_name = "DURATION", value_parser = duration)]
    pub(crate) guard_wait: Duration,
    /// How often to look again; ten times as often while there is one
    #[arg(long, default_value = "10m", env = "CALLSIGN_GUARD_INTERVAL", value_name = "DURATION", value_parser = duration)]
    pub(crate) guard_interval: Duration,
    /// Namespace of the Services that other controllers are looked for with [default: that of this process's account, else
    /// kube-system]
    #[arg(long, env = "CALLSIGN_GUARD_NAMESPACE", value_name = "NAME")]
    pub(crate) guard_namespace: Option<String>,
    /// Share of all ready endpoints that may be removed within ten seconds before all pods are listed again to make sure; 0
    /// for any
    #[arg(long, default_value_t = 30, env = "CALLSIGN_REMOVAL_FUSE", value_name = "PERCENT",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) removal_fuse: u8,
}

/// Whether other controllers are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GuardMode {
    /// They are, and while there is one nothing is written
    On,
    /// They are not
    Off,
}

/// Which of several replicas writes.
#[derive(Debug, Args)]
pub(crate) struct LeaderArgs {
    /// Write only while holding a Lease. `--leader-elect=false` only where there is one replica and never two
    #[arg(
        long,
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        env = "CALLSIGN_LEADER_ELECT",
        value_name = "BOOL"
    )]
    pub(crate) leader_elect: bool,
    /// How long others wait since the last renewal they saw before they take the Lease
    #[arg(
        long,
        default_value = "15s",
        env = "CALLSIGN_LEADER_ELECT_LEASE_DURATION",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) leader_elect_lease_duration: Duration,
    /// How long the leader writes without a renewal that succeeded; less than the lease duration
    #[arg(
        long,
        default_value = "10s",
        env = "CALLSIGN_LEADER_ELECT_RENEW_DEADLINE",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) leader_elect_renew_deadline: Duration,
    /// How often the Lease is renewed, or looked at
    #[arg(
        long,
        default_value = "2s",
        env = "CALLSIGN_LEADER_ELECT_RETRY_PERIOD",
        value_name = "DURATION",
        value_parser = duration
    )]
    pub(crate) leader_elect_retry_period: Duration,
    /// Name of the Lease
    #[arg(
        long,
        default_value = "callsign-controller",
        env = "CALLSIGN_LEADER_ELECT_RESOURCE_NAME",
        value_name = "NAME",
        value_parser = object_name
    )]
    pub(crate) leader_elect_resource_name: String,
    /// Namespace of the Lease [default: that of the in-cluster account, else kube-system]
    #[arg(long, env = "CALLSIGN_LEADER_ELECT_RESOURCE_NAMESPACE", value_name = "NAME", value_parser = object_name)]
    pub(crate) leader_elect_resource_namespace: Option<String>,
    /// Name of this replica in the Lease, of no other process's [default: the host's and this process's]
    #[arg(long, env = "CALLSIGN_LEADER_ELECT_IDENTITY", value_name = "NAME", value_parser = identity)]
    pub(crate) leader_elect_identity: Option<String>,
}

/// Which Endpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndpointsWritten {
    /// Those of every Service with a selector
    On,
    /// Those that are there; no new ones
    Existing,
    /// None
    Off,
}

/// Whether and how the controllers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ControllerMode {
    /// Write
    On,
    /// Compute everything, write nothing, log what would be written
    Shadow,
    /// Do not run: DNS answers from EndpointSlices alone
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) corefile: CorefileArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) dns: DnsArgs,
    /// The endpoint controllers. `on` needs a cluster whose own endpoint controllers are off
    #[arg(long, value_enum, default_value = "on", env = "CALLSIGN_CONTROLLER", value_name = "MODE")]
    pub(crate) controller: ControllerMode,
    #[command(flatten)]
    pub(crate) write: ControllerArgs,
    #[command(flatten)]
    pub(crate) leader: LeaderArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DnsCommandArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) corefile: CorefileArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) dns: DnsArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ControllerCommandArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Compute everything, write nothing, log what would be written
    #[arg(long, env = "CALLSIGN_SHADOW")]
    pub(crate) shadow: bool,
    #[command(flatten)]
    pub(crate) write: ControllerArgs,
    #[command(flatten)]
    pub(crate) leader: LeaderArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// Load manifests, YAML or JSON, from a file or a folder, instead of the samples; repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR")]
    pub(crate) filenames: Vec<PathBuf>,
    /// Start empty
    #[arg(long)]
    pub(crate) no_samples: bool,
    /// Loopback address for DNS; port 0 for any free one
    #[arg(long, default_value = "127.0.0.1:1053", env = "CALLSIGN_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) listen: SocketAddr,
    /// Loopback address of the API server; port 0 for any free one
    #[arg(long, default_value = "127.0.0.1:1064", env = "CALLSIGN_API_LISTEN", value_name = "ADDR:PORT")]
    pub(crate) api_listen: SocketAddr,
    /// Write a kubeconfig for kubectl
    #[arg(long, env = "CALLSIGN_WRITE_KUBECONFIG", value_name = "FILE")]
    pub(crate) write_kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) dns: DnsArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_twin() {
        let root = Cli::command();
        let below = root.get_subcommands().flat_map(clap::Command::get_subcommands);
        let commands = root.get_subcommands().chain(below);
        for command in commands.filter(|command| command.get_name() != "completion") {
            for argument in command.get_arguments().filter(|argument| argument.get_long().is_some()) {
                let long = argument.get_long().unwrap_or_default();
                if ["help", "version", "filename", "no-samples"].contains(&long) {
                    continue;
                }
                let twin = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                let wanted = format!("CALLSIGN_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(twin, Some(wanted), "{} --{long}", command.get_name());
            }
        }
    }
}
