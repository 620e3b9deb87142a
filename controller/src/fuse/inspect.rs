//! The look at the cluster behind a blown fuse.
//!
//! Pods and Nodes are listed from the API server's storage (no `resourceVersion`: not from a cache that may lag), page by
//! page. A pod that is listed as ready and that the index lacks, or holds as unready in an older version, is one that
//! would be taken away wrongly; so is every pod of a Node that the index lacks.

use std::{collections::HashSet, sync::Arc, time::Duration};

use callsign_shared::{
    Index, Key, Name,
    index::Indexed,
    object::{Decode, Node, Pod, Uid, Watched},
};
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge as Value},
    registry::Registry,
};
use serde::Deserialize;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Fuse, Ready, Swing, agrees, swing};
use crate::{
    ask::{Asker, NoAnswer},
    gate::{Gate, Holder},
    plan::{Part, Plan, Write},
};

/// Objects of one page.
const PAGE: usize = 500;

/// Between a look that found the index wrong, or failed, and the next.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the watch has to catch up with a list.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A fuse, and what looks at the cluster when it has blown.
#[derive(Debug)]
pub(crate) struct Inspector {
    fuse: Mutex<Fuse>,
    index: Arc<Index>,
    gate: Arc<Gate>,
    asker: Asker,
    blew: Notify,
    blown: Value,
    trips: Counter,
}

/// A pod that is listed as ready.
struct Listed {
    key: Key,
    uid: Uid,
    version: u64,
    node: Option<Name>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Decode")]
struct Page<T> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<Watched<T>>,
}

#[derive(Default, Deserialize)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl Inspector {
    pub(crate) fn new(
        percent: u8,
        index: Arc<Index>,
        gate: Arc<Gate>,
        client: kube::Client,
        registry: &mut Registry,
    ) -> Self {
        let (blown, trips) = (Value::default(), Counter::default());
        registry.register(
            "callsign_controller_fuse_blown",
            "1 while nothing is written because too many ready endpoints would be removed at once",
            blown.clone(),
        );
        registry.register(
            "callsign_controller_fuse_trips",
            "How often writing was paused before too many ready endpoints were removed",
            trips.clone(),
        );
        let (fuse, blew) = (Mutex::new(Fuse::new(percent)), Notify::new());
        Self { fuse, index, gate, asker: Asker::new(client), blew, blown, trips }
    }

    /// A run begins.
    pub(crate) fn begin(&self) {
        self.fuse.lock().begin();
        self.open();
    }

    /// Whether a plan may be carried out. If not, the gate is closed.
    pub(crate) fn admits<T: Ready>(&self, part: Part, plan: &Plan<T>) -> bool {
        let count = || self.index.views().iter().map(|view| T::ready_in(view)).sum();
        if self.fuse.lock().admits(part, swing(&plan.writes), Instant::now(), count) {
            return true;
        }
        if self.gate.reason(Holder::Fuse).is_none() {
            let reason =
                "too many ready endpoints would be removed at once; comparing with the cluster first";
            tracing::warn!("{reason}");
            self.trips.inc();
            self.blown.set(1);
            self.gate.close(Holder::Fuse, reason);
        }
        self.blew.notify_one();
        false
    }

    /// An admitted plan of these writes is carried out, as far as the first `done` of them: what was not taken away is not
    /// counted, and what was added is.
    pub(crate) fn carried_out<T: Ready>(&self, part: Part, writes: &[Write<T>], done: usize) {
        let rest = writes.get(done..).unwrap_or_default();
        let back = match (swing(writes), swing(rest)) {
            (Swing::Down(_), Swing::Down(kept)) => kept,
            (Swing::Up(gained), _) if rest.is_empty() => gained,
            _ => 0,
        };
        self.fuse.lock().give_back(part, back);
    }

    /// Looks at the cluster whenever the fuse has blown, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let looking = async {
            loop {
                self.blew.notified().await;
                if self.gate.reason(Holder::Fuse).is_some() {
                    self.until_right().await;
                }
            }
        };
        // Never ends by itself.
        stop.run_until_cancelled(looking).await;
        self.open();
    }

    fn open(&self) {
        self.blown.set(0);
        self.gate.open(Holder::Fuse);
    }

    async fn until_right(&self) {
        let mut last_error = None;
        loop {
            match self.look().await {
                Ok((listed, pods, nodes)) if agrees(listed, pods) && nodes == 0 => {
                    tracing::warn!(ready_pods = listed, "the cluster is as it was believed to be; going on");
                    self.fuse.lock().excuse(Instant::now());
                    return self.open();
                }
                Ok((listed, pods, nodes)) => {
                    let reason = format!(
                        "{pods} of {listed} ready pods and {nodes} Nodes were not known; nothing is written until they are"
                    );
                    tracing::warn!("{reason}");
                    self.gate.close(Holder::Fuse, reason);
                    self.index.doubt::<Pod>();
                    if nodes > 0 {
                        self.index.doubt::<Node>();
                    }
                }
                Err(error) if last_error.as_ref() != Some(&error) => {
                    tracing::warn!(%error, "cannot list pods to compare with; nothing is written until then");
                    last_error = Some(error);
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// How many pods are listed as ready, about how many of them the index is wrong, and how many Nodes it lacks.
    async fn look(&self) -> Result<(usize, usize, usize), NoAnswer> {
        let mut ready = Vec::new();
        self.list::<Pod>("/api/v1/pods", |pod| {
            if pod.readiness.ready && !pod.meta.deleting && !pod.finished() && !pod.ips.is_empty() {
                let version = pod.meta.version().unwrap_or_default();
                ready.push(Listed { key: pod.meta.key, uid: pod.meta.uid, version, node: pod.node });
            }
        })
        .await?;
        let mut nodes = HashSet::new();
        self.list::<Node>("/api/v1/nodes", |node| {
            nodes.insert(node.meta.key.name);
        })
        .await?;
        let deadline = Instant::now() + CATCH_UP;
        let newest = ready.iter().map(|pod| pod.version).max().unwrap_or_default();
        while self.index.newest::<Pod>() < newest && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let missing: HashSet<&Name> = nodes.iter().filter(|node| self.index.node(node).is_none()).collect();
        let wrong =
            |pod: &&Listed| !self.knows(pod) || pod.node.as_ref().is_some_and(|node| missing.contains(node));
        Ok((ready.len(), ready.iter().filter(wrong).count(), missing.len()))
    }

    fn knows(&self, listed: &Listed) -> bool {
        self.index.pod(&listed.key).is_some_and(|known| {
            known.meta.version().unwrap_or_default() > listed.version
                || known.meta.uid == listed.uid && known.readiness.ready && !known.meta.deleting
        })
    }

    /// Lists all objects of a kind.
    async fn list<T: Indexed>(&self, path: &str, mut take: impl FnMut(T)) -> Result<(), NoAnswer> {
        let mut next = String::new();
        loop {
            let from = if next.is_empty() { String::new() } else { format!("&continue={}", escaped(&next)) };
            let answer = self.asker.get(&format!("{path}?limit={PAGE}{from}")).await?.success()?;
            let page: Page<T> = serde_json::from_str(&answer.text).map_err(NoAnswer::of)?;
            page.items.into_iter().filter_map(|item| item.object.ok()).for_each(&mut take);
            let Some(token) = page.metadata.next.filter(|token| !token.is_empty()) else { return Ok(()) };
            if token == next {
                return Err(NoAnswer::of("the API server gives the same page again and again"));
            }
            next = token;
        }
    }
}

/// A text as a part of a query: everything but letters and digits escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_escaped() {
        assert_eq!(escaped("aZ9+/=&"), "aZ9%2B%2F%3D%26");
    }
}
