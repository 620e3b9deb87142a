//! What an embedded API server is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the server behaves. [`Options::sandbox`] is a small cluster that lives by itself, [`Options::bare`] an API
/// server with nothing behind it, which is what recorded scenarios and most tests want.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. This is a test double, so anything but loopback is refused; port 0 is any free port.
    pub listen: SocketAddr,
    /// Whether the Service `default/kubernetes` exists with its endpoints, as in a real cluster.
    pub default_objects: bool,
    /// The fake kubelet and scheduler.
    pub kubelet: KubeletOptions,
    /// Whether Deployments, ReplicaSets and StatefulSets make pods.
    pub workloads: bool,
    /// Whether objects go when the owners of their `ownerReferences` are gone.
    pub garbage: bool,
    /// Whether a deleted namespace empties itself; without, it stays `Terminating`.
    pub namespaces: bool,
    /// How many events of a kind are kept for watches that start from an older version; older versions are 410.
    pub watch_window: usize,
    /// How often an idle watch that asked for bookmarks gets one. The real server: about a minute.
    pub bookmarks: Duration,
    /// Whether everybody has to say who they are, and may do what roles say. `None`: everybody may do everything.
    pub access: Option<AccessOptions>,
    /// Whether it speaks HTTPS, with a certificate of its own authority, instead of HTTP.
    pub tls: bool,
    /// The watch timeout when a client asks for none. The real server: 30 to 60 minutes.
    pub watch_timeout: Duration,
}

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub struct AccessOptions {
    /// The token of the administrator, in the group `system:masters`. `None`: one is made up.
    pub admin_token: Option<String>,
}

/// What stands in for the scheduler and the kubelets.
#[derive(Clone, Debug)]
pub struct KubeletOptions {
    /// Whether it runs. When it does not, nobody but the client touches a pod.
    pub runs: bool,
    /// The nodes it makes at start: name and zone.
    pub nodes: Vec<(String, String)>,
    /// The time from scheduled to running and ready.
    pub start_delay: Duration,
    /// Whether a terminating pod is removed when its grace period ends.
    pub finishes_deletion: bool,
    /// The longest it waits before it removes a terminating pod, whatever the pod's grace period.
    pub longest_grace: Duration,
}

impl Options {
    /// A cluster in one process: nodes, a kubelet that starts and removes pods, workloads, garbage collection.
    pub fn sandbox(listen: SocketAddr) -> Self {
        Self { kubelet: KubeletOptions::sandbox(), workloads: true, garbage: true, ..Self::bare(listen) }
    }

    /// An API server with nothing behind it but namespaces that empty themselves.
    pub fn bare(listen: SocketAddr) -> Self {
        Self {
            listen,
            default_objects: true,
            kubelet: KubeletOptions::off(),
            workloads: false,
            garbage: false,
            namespaces: true,
            watch_window: 20_000,
            bookmarks: Duration::from_secs(1),
            access: None,
            tls: false,
            watch_timeout: Duration::from_secs(30 * 60),
        }
    }
}

impl Default for Options {
    /// [`Options::bare`] on any free port.
    fn default() -> Self {
        Self::bare(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

impl KubeletOptions {
    /// Nobody starts or removes pods.
    pub fn off() -> Self {
        Self { runs: false, nodes: Vec::new(), finishes_deletion: false, ..Self::sandbox() }
    }

    /// Three nodes in two zones; pods run after 200 ms and are removed at most two seconds after their deletion.
    pub fn sandbox() -> Self {
        let node = |name: &str, zone: &str| (name.to_owned(), zone.to_owned());
        Self {
            runs: true,
            nodes: vec![node("node-a", "zone-a"), node("node-b", "zone-b"), node("node-c", "zone-a")],
            start_delay: Duration::from_millis(200),
            finishes_deletion: true,
            longest_grace: Duration::from_secs(2),
        }
    }
}
