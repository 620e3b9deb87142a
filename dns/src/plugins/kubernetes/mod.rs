//! `kubernetes`: the cluster's names.
//!
//! The records are the zone's ([`crate::zone`]); this is the directive, and the zone as a step of a chain. A name that the
//! zone does not have is the next plugin's where `fallthrough` says so. An alias that leads out of the zone is completed by
//! asking the whole server.

mod directive;
mod metadata;
mod serve;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hickory_proto::rr::Name;

pub(crate) use directive::read_ttl;
pub use directive::{first, setup};
pub use serve::Kubernetes;

use crate::{
    plugin::{Note, Plugin, Setup, StartError, World},
    plugins::autopath,
    zone::{Pods, ZoneConfig},
};

/// Where the node's search path is.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The directive.
#[derive(Clone, Debug)]
pub struct KubernetesConfig {
    /// What names there are, and what they say.
    pub zone: ZoneConfig,
    /// Where the cluster is.
    pub cluster: ClusterAccess,
    /// Names that are the next plugin's where the zone does not have them: those in these zones. Empty: none.
    pub fallthrough: Vec<Name>,
    /// The directive's lines, as they were understood.
    pub lines: Vec<String>,
    /// Options without effect.
    pub notes: Vec<Note>,
}

/// Where a cluster is and how it is entered. Equal ones share their watches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterAccess {
    /// `endpoint`: the API server's URL.
    pub endpoint: Option<String>,
    /// `tls`: client certificate, key and the server's authority.
    pub tls: Option<[PathBuf; 3]>,
    /// `kubeconfig`: the file, and the context in it.
    pub kubeconfig: Option<(PathBuf, Option<String>)>,
}

impl Setup for KubernetesConfig {
    fn describe(&self) -> Vec<String> {
        self.lines.clone()
    }

    fn notes(&self) -> Vec<Note> {
        self.notes.clone()
    }

    fn start(&self, world: &World) -> Result<Arc<dyn Plugin>, StartError> {
        let zone = world.clusters.zone(self)?;
        // A pod's search path ends with its node's, which is ours too.
        let search = match self.zone.pods {
            Pods::Verified => autopath::search_path(Path::new(RESOLV_CONF)).unwrap_or_default(),
            Pods::Disabled | Pods::Insecure => Vec::new(),
        };
        Ok(Arc::new(Kubernetes::new(zone, self.fallthrough.clone(), search)))
    }
}

#[cfg(test)]
mod tests;
