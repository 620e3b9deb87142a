//! A whole small world for one test: an API server, and `callsign serve` beside it.

use std::{future::Future, net::SocketAddr, path::Path, sync::Once, time::Duration};

use anyhow::{Context, Result, bail};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};

use super::{
    cluster::Cluster,
    process::{Callsign, Signal},
    resolver::Resolver,
};
use crate::apiserver::{ApiServer, Options, Running, faults::Fault};

/// How long a change may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// An API server with Callsign beside it, both on free ports of loopback.
#[derive(Debug)]
pub struct World {
    /// The API server, unless the cluster is somebody else's.
    pub server: Option<Running>,
    /// The binary.
    pub callsign: Callsign,
    /// Where it answers DNS.
    pub dns: SocketAddr,
    /// Asks it.
    pub resolver: Resolver,
    /// Writes to the API server.
    pub cluster: Cluster,
    /// Holds the kubeconfig.
    folder: tempfile::TempDir,
}

impl World {
    /// Starts an embedded API server and `callsign serve` with further `arguments`, and waits until it is ready.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn start(binary: &Path, options: Options, arguments: &[&str]) -> Result<Self> {
        Self::join(binary, ApiServer::start(options).await?, arguments).await
    }

    /// Starts `callsign serve` with further `arguments` beside a server that runs, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn join(binary: &Path, server: Running, arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig())?;
        let world = Self::beside(binary, folder, Some(server), arguments).await?;
        world.ready().await?;
        Ok(world)
    }

    /// Sets a fault of the embedded API server.
    ///
    /// # Errors
    /// When the server is somebody else's, or the fault makes no sense.
    pub fn fault(&self, fault: Fault) -> Result<()> {
        self.embedded()?.faults().set(fault).map_err(anyhow::Error::msg)
    }

    /// The embedded API server.
    ///
    /// # Errors
    /// When the server is somebody else's.
    pub fn embedded(&self) -> Result<&Running> {
        self.server.as_ref().context("the embedded API server")
    }

    /// Starts `callsign serve` beside the cluster of `CALLSIGN_E2E_KUBECONFIG` if that is set, else as [`World::start`].
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn of_environment(binary: &Path, options: Options, arguments: &[&str]) -> Result<Self> {
        let Some(kubeconfig) = std::env::var_os("CALLSIGN_E2E_KUBECONFIG") else {
            return Self::start(binary, options, arguments).await;
        };
        let folder = tempfile::tempdir()?;
        std::fs::copy(kubeconfig, folder.path().join("kubeconfig"))?;
        let world = Self::beside(binary, folder, None, arguments).await?;
        world.ready().await?;
        Ok(world)
    }

    async fn beside(
        binary: &Path,
        folder: tempfile::TempDir,
        server: Option<Running>,
        arguments: &[&str],
    ) -> Result<Self> {
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = Cluster::new(client(&kubeconfig).await?);
        let mut callsign = Callsign::start(binary, serve(&kubeconfig, arguments))?;
        let dns = callsign.address("dns").await?;
        let resolver = Resolver::new(dns).await?;
        Ok(Self { server, callsign, dns, resolver, cluster, folder })
    }

    /// The file that leads to its API server.
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Starts a second Callsign on the same cluster.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn another(&self, binary: &Path, arguments: &[&str]) -> Result<Callsign> {
        Callsign::start(binary, serve(&self.folder.path().join("kubeconfig"), arguments))
    }

    /// Ends Callsign in an orderly way and starts it again with these `arguments`. It should not linger: have it started
    /// with `--lameduck 0`.
    ///
    /// # Errors
    /// When it does not end or come up.
    pub async fn restart(&mut self, binary: &Path, arguments: &[&str]) -> Result<()> {
        self.callsign.signal(Signal::SIGTERM)?;
        self.callsign.ended(PATIENCE).await?;
        self.callsign = self.another(binary, arguments)?;
        self.dns = self.callsign.address("dns").await?;
        self.resolver = Resolver::new(self.dns).await?;
        self.ready().await
    }

    async fn ready(&self) -> Result<()> {
        eventually("ready", async || {
            let answer = self.resolver.ask("svc.cluster.local.", "A").await?;
            if answer.rcode != "NOERROR" {
                bail!("{}:\n{}", answer.rcode, self.callsign.said());
            }
            Ok(())
        })
        .await
    }

    /// Waits until the data of the answer's records, sorted, are `wanted`.
    ///
    /// # Errors
    /// When they are not in time; with what was answered last.
    pub async fn answers(&self, name: &str, kind: &str, wanted: &[&str]) -> Result<()> {
        eventually(&format!("{name} {kind}"), async || {
            let found = self.data(name, kind).await?;
            if found != wanted {
                bail!("wanted {wanted:?}, found {found:?}");
            }
            Ok(())
        })
        .await
    }

    /// Waits until the answer has this rcode.
    ///
    /// # Errors
    /// When it has not in time; with the last one.
    pub async fn rcode(&self, name: &str, kind: &str, wanted: &str) -> Result<()> {
        eventually(&format!("{name} {kind}"), async || {
            let found = self.resolver.ask(name, kind).await?.rcode;
            if found != wanted {
                bail!("wanted {wanted}, found {found}");
            }
            Ok(())
        })
        .await
    }

    /// The data of the answer's records, sorted.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn data(&self, name: &str, kind: &str) -> Result<Vec<String>> {
        let answer = self.resolver.ask(name, kind).await?.answer;
        let mut data: Vec<String> =
            answer.iter().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned()).collect();
        data.sort();
        Ok(data)
    }
}

/// The arguments of `callsign serve` on free ports, without the guard against other controllers unless that is asked for.
fn serve(kubeconfig: &Path, arguments: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = ["serve", "--kubeconfig"].map(str::to_owned).into();
    all.push(kubeconfig.display().to_string());
    for flag in ["--listen", "--health-listen", "--ready-listen", "--metrics-listen"] {
        if !arguments.contains(&flag) {
            all.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
        }
    }
    // One replica writes at once; leader election has tests of its own.
    if !arguments.iter().any(|argument| argument.starts_with("--leader-elect")) {
        all.push("--leader-elect=false".to_owned());
    }
    // Most tests are about something else, and begin with the first write.
    if !arguments.contains(&"--guard") {
        all.extend(["--guard", "off"].map(str::to_owned));
    }
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    all
}

/// A client for the cluster of a kubeconfig file.
///
/// # Errors
/// When the file cannot be read.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    install_crypto();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// kube wants the process to have chosen one; with a single provider compiled in, that is the choice.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Somebody else in the process may have been first, with the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Repeats `attempt` until it succeeds.
///
/// # Errors
/// The last failure, when none succeeds in time.
pub async fn eventually<F: Future<Output = Result<()>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{what}: not within {PATIENCE:?}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}
