//! The binary in the place of CoreDNS: a Corefile, a port, an API server.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;

use super::{process::Callsign, resolver::Resolver, world::World};
use crate::apiserver::Running;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a Corefile and a kubeconfig, as a pod's volumes are.
#[derive(Debug)]
pub struct Place {
    folder: tempfile::TempDir,
    /// The port of keys that name none.
    pub port: u16,
}

impl Place {
    /// A folder whose kubeconfig leads to this API server.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(server: &Running) -> Result<Self> {
        let place = Self { folder: tempfile::tempdir()?, port: free_port()? };
        place.write("kubeconfig", &server.kubeconfig())?;
        Ok(place)
    }

    /// A folder whose kubeconfig is that of a world.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn beside(world: &World) -> Result<Self> {
        let place = Self { folder: tempfile::tempdir()?, port: free_port()? };
        place.write("kubeconfig", &std::fs::read_to_string(world.kubeconfig())?)?;
        Ok(place)
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Starts the binary with the folder's file `Corefile` and further `arguments`, with CoreDNS's flags.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, binary: &Path, arguments: &[&str]) -> Result<Callsign> {
        let (corefile, kubeconfig) = (self.path("Corefile"), self.path("kubeconfig"));
        let (corefile, kubeconfig) = (corefile.to_string_lossy(), kubeconfig.to_string_lossy());
        let port = self.port.to_string();
        let mut all = vec!["-conf", &*corefile, "-dns.port", &port];
        all.extend(arguments);
        // The machine that recorded the cases had this address.
        let variables = [("KUBECONFIG", &*kubeconfig), ("CALLSIGN_OWN_ADDRESS", "192.0.2.2")];
        Callsign::start_with(binary, all, variables)
    }

    /// Where it answers, over loopback.
    pub fn dns(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Waits until it answers this question with NOERROR.
    ///
    /// # Errors
    /// When it does not, with what it said.
    pub async fn answers(&self, callsign: &Callsign, name: &str, kind: &str) -> Result<Resolver> {
        let started = Instant::now();
        let resolver = Resolver::new(self.dns()).await?;
        loop {
            // A port that nobody listens on yet refuses at once.
            let answer = resolver.ask(name, kind).await;
            if answer.as_ref().is_ok_and(|answer| answer.rcode == "NOERROR" && !answer.answer.is_empty()) {
                return Ok(resolver);
            }
            if started.elapsed() > PATIENCE {
                bail!("{name} {kind}: {answer:?}\n{}", callsign.said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A port of loopback that is free for both protocols, and for all addresses of the machine. No two callers of a process get
/// the same one.
///
/// # Errors
/// When none is found.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..64 {
        // Below the ports that the system gives out by itself, so that nobody is given it in the meantime.
        let port = fastrand::u16(20_000..32_000);
        if !GIVEN.lock().insert(port) {
            continue;
        }
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port")
}
