//! From a directive to a started plugin, and what it gets to start with.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::Arc,
};

use hickory_proto::rr::Name;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::{Changes, Plugin};
use crate::{corefile::Position, plugins::kubernetes::KubernetesConfig, zone::Zone};

/// A directive that has been read and is right. Reading does no IO but for files that the directive names.
pub trait Setup: fmt::Debug + Send + Sync {
    /// What was understood, defaults filled in, as lines of a Corefile.
    fn describe(&self) -> Vec<String>;

    /// Options that are accepted and have no effect, and why.
    fn notes(&self) -> Vec<Note> {
        Vec::new()
    }

    /// Starts it. Called within the runtime that serves; tasks end with `world.stop`.
    ///
    /// # Errors
    /// When something it needs is not there: the configuration is refused.
    fn start(&self, world: &World) -> Result<Arc<dyn Plugin>, StartError>;
}

/// Something that is said once of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it stands.
    pub at: Position,
    /// What there is to say.
    pub message: String,
}

/// Why a plugin cannot start; names what and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// What plugins start with.
#[derive(Clone)]
pub struct World {
    /// Cancelled when the configuration is replaced or the process ends.
    pub stop: CancellationToken,
    /// The metrics of the process.
    pub meters: Arc<Meters>,
    /// The clusters' zones.
    pub clusters: Arc<dyn Clusters>,
    /// The block's zones: what a plugin without zones of its own serves.
    pub zones: Vec<Name>,
    /// What relative file names begin at (`root`); empty for the working folder.
    pub root: PathBuf,
    /// What the block's zones tell of their changes.
    pub changes: Changes,
    /// The addresses the block listens on.
    pub listens: Vec<std::net::SocketAddr>,
    /// A detected loop ends the process, as with CoreDNS, instead of being told.
    pub loop_is_fatal: bool,
}

/// Gives out the zones of clusters. They outlive configurations: a reload that leaves a block as it is keeps its zone.
pub trait Clusters: Send + Sync {
    /// The zone of this configuration, watched from now on.
    ///
    /// # Errors
    /// When the cluster's address or credentials cannot be read.
    fn zone(&self, config: &KubernetesConfig) -> Result<Arc<Zone>, StartError>;

    /// Says which zones are still served: the others need not be watched any more.
    fn keep(&self, used: &[Arc<Zone>]);
}

/// Metrics of one plugin.
pub trait Meter: Send + Sync + Sized + 'static {
    /// Makes and registers them. Called once a process.
    fn register(registry: &mut Registry) -> Self;
}

/// The metrics of the process. Plugins that are started again find theirs as they were.
#[derive(Default)]
pub struct Meters {
    registry: Mutex<Registry>,
    known: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Meters {
    /// A plugin's metrics.
    pub fn of<M: Meter>(&self) -> Arc<M> {
        let mut known = self.known.lock();
        let meter = known
            .entry(TypeId::of::<M>())
            .or_insert_with(|| Arc::new(M::register(&mut self.registry.lock())));
        // The key is the type: the other case does not exist, and fresh metrics would do no harm.
        Arc::clone(meter).downcast().unwrap_or_else(|_| Arc::new(M::register(&mut Registry::default())))
    }

    /// Registers metrics that are not a plugin's.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Registry) -> T) -> T {
        edit(&mut self.registry.lock())
    }

    /// All metrics, as OpenMetrics text.
    ///
    /// # Errors
    /// When one cannot be encoded.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry.lock())?;
        Ok(page)
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
