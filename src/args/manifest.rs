//! The flags of `callsign manifest`.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use super::{
    check::{InstallMode, Strategy},
    values::{image, object_name},
};

/// Which objects, and what about them is different.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManifestArgs {
    /// What is installed
    #[arg(long, value_enum, default_value = "dns", env = "CALLSIGN_MODE", value_name = "MODE")]
    pub(crate) mode: InstallMode,
    /// How pods come to ask it
    #[arg(
        long = "strategy",
        visible_alias = "service",
        value_enum,
        default_value = "own",
        env = "CALLSIGN_STRATEGY",
        value_name = "STRATEGY"
    )]
    pub(crate) service: Strategy,
    /// Namespace of the installation [default: kube-system]
    #[arg(short, long, env = "CALLSIGN_NAMESPACE", value_name = "NAME", value_parser = object_name)]
    pub(crate) namespace: Option<String>,
    /// Image with tag or digest [default: that of this version]
    #[arg(long, env = "CALLSIGN_IMAGE", value_name = "IMAGE", value_parser = image)]
    pub(crate) image: Option<String>,
    /// Pods that answer DNS [default: 2]
    #[arg(long, env = "CALLSIGN_REPLICAS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) replicas: Option<u16>,
    /// Address of the Service, of its own or adopted [default: the cluster gives one]
    #[arg(long, env = "CALLSIGN_CLUSTER_IP", value_name = "ADDR")]
    pub(crate) cluster_ip: Option<IpAddr>,
    /// Serve what this Corefile says; it is checked first, - for the standard input
    #[arg(long, env = "CALLSIGN_COREFILE", value_name = "FILE", conflicts_with = "config_map")]
    pub(crate) corefile: Option<PathBuf>,
    /// Serve the Corefile of this ConfigMap, which is there already, such as CoreDNS's: coredns
    #[arg(long, env = "CALLSIGN_CONFIG_MAP", value_name = "NAME", value_parser = object_name)]
    pub(crate) config_map: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  callsign manifest | kubectl apply -f -                            beside CoreDNS, with an address of its own
  callsign manifest --strategy join --config-map coredns            behind kube-dns, with CoreDNS's Corefile
  callsign manifest --strategy adopt --cluster-ip 10.96.0.10
  callsign manifest --mode split -n dns --image registry.example/callsign:0.1.0 --replicas 3";
