//! The flags of `callsign check`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    ClusterArgs,
    values::{domain, duration, object_name, service, upstream},
};

/// What `check` looks at, and how it tells.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Look at what an installation needs, before there is one
    #[arg(long, env = "CALLSIGN_PRE")]
    pub(crate) pre: bool,
    /// Look again until all is good, and for so long at most
    #[arg(long, env = "CALLSIGN_WAIT", value_name = "DURATION", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Look at these only
    #[arg(long, value_enum, env = "CALLSIGN_ONLY", value_name = "CATEGORY", value_delimiter = ',')]
    pub(crate) only: Vec<Category>,
    /// Form of what is said
    #[arg(short, long, value_enum, default_value = "text", env = "CALLSIGN_OUTPUT", value_name = "FORM")]
    pub(crate) output: ReportForm,
    /// From which findings on the exit code is 1
    #[arg(long, value_enum, default_value = "error", env = "CALLSIGN_FAIL_ON", value_name = "SEVERITY")]
    pub(crate) fail_on: FailOn,
    /// Namespace that Callsign is in, or is to be
    #[arg(short, long, default_value = "kube-system", env = "CALLSIGN_NAMESPACE", value_name = "NAME",
          value_parser = object_name)]
    pub(crate) namespace: String,
    /// The Service that pods ask
    #[arg(long, default_value = "kube-system/kube-dns", env = "CALLSIGN_SERVICE", value_name = "NAMESPACE/NAME",
          value_parser = service)]
    pub(crate) service: (String, String),
    /// Server to ask [default: the Service's cluster IP; where the cluster cannot be reached, that of /etc/resolv.conf]
    #[arg(long, env = "CALLSIGN_SERVER", value_name = "ADDR[:PORT]", value_parser = upstream)]
    pub(crate) server: Option<SocketAddr>,
    /// Corefile to look at [default: that of the installation; before one, CoreDNS's]
    #[arg(long, env = "CALLSIGN_COREFILE", value_name = "FILE")]
    pub(crate) corefile: Option<PathBuf>,
    /// Domain of the cluster's names [default: kubeadm's, else cluster.local]
    #[arg(long, env = "CALLSIGN_CLUSTER_DOMAIN", value_name = "DOMAIN", value_parser = domain)]
    pub(crate) cluster_domain: Option<String>,
    /// A name outside the cluster that should be answered; `none` for none
    #[arg(long, default_value = "example.com", env = "CALLSIGN_EXTERNAL", value_name = "NAME", value_parser = domain)]
    pub(crate) external: String,
    /// With --pre: what is to be installed
    #[arg(long, value_enum, default_value = "dns", env = "CALLSIGN_MODE", value_name = "MODE")]
    pub(crate) mode: InstallMode,
    /// With --pre: how pods are to come to ask it
    #[arg(long, value_enum, default_value = "own", env = "CALLSIGN_STRATEGY", value_name = "STRATEGY")]
    pub(crate) strategy: Strategy,
}

const EXAMPLES: &str = "\
Examples:
  callsign check --pre                        may it be installed here?
  callsign check --pre --mode split --strategy join
  callsign check --wait 2m                    after an installation
  callsign check -o short --fail-on warning   in a pipeline
  callsign check --only answers --server 10.96.0.10

Exit codes: 0 good, 1 findings, 2 usage, 3 what it needs could not be reached, 4 --wait was over.
Every code that it names is explained in docs/check.md.";

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Category {
    /// Whether the API server answers, and what it serves
    Api,
    /// What accounts may do
    Permissions,
    /// The configuration of DNS
    Corefile,
    /// The Service that pods ask, and who stands behind it
    Service,
    /// Callsign's own pods
    Servers,
    /// Who writes Endpoints and EndpointSlices
    Controllers,
    /// What an installation would meet; with --pre
    Install,
    /// Questions to the server; needs no rights
    Answers,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// For people
    Text,
    /// Only what is wrong, a line each
    Short,
    /// One JSON object
    Json,
}

/// Which findings fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors
    Error,
    /// Warnings and errors
    Warning,
}

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InstallMode {
    /// DNS beside the cluster's own endpoint controllers
    Dns,
    /// DNS and controllers in one Deployment
    AllInOne,
    /// DNS and controllers in a Deployment each
    Split,
}

/// How pods come to ask Callsign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// A Service of its own, with an address of its own
    Own,
    /// Its pods stand behind the Service that is there
    Join,
    /// The Service that is there becomes part of the installation
    Adopt,
}

impl Category {
    /// All, in the order in which they are told.
    pub(crate) const ALL: [Self; 8] = [
        Self::Api,
        Self::Permissions,
        Self::Corefile,
        Self::Service,
        Self::Servers,
        Self::Controllers,
        Self::Install,
        Self::Answers,
    ];

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Permissions => "permissions",
            Self::Corefile => "corefile",
            Self::Service => "service",
            Self::Servers => "servers",
            Self::Controllers => "controllers",
            Self::Install => "install",
            Self::Answers => "answers",
        }
    }
}

impl InstallMode {
    /// As it is written.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::AllInOne => "all-in-one",
            Self::Split => "split",
        }
    }

    /// Whether Endpoints and EndpointSlices are written.
    pub(crate) fn writes(self) -> bool {
        self != Self::Dns
    }
}

impl Strategy {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Join => "join",
            Self::Adopt => "adopt",
        }
    }
}
