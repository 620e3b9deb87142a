//! The client of the Kubernetes API.

use http::HeaderValue;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{args::ClusterArgs, exit::Exit, requests::Requests};

/// How servers and their audit logs know us; the writer of `managedFields` is derived from it.
const USER_AGENT: &str = concat!("callsign/", env!("CARGO_PKG_VERSION"));

/// How to reach the cluster the arguments name. Nothing is asked yet: a cluster that cannot be reached now is waited for.
///
/// # Errors
/// When the configuration cannot be read or there is none.
pub(crate) async fn config(args: &ClusterArgs) -> Result<Config, Exit> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    match &args.kubeconfig {
        Some(path) => {
            let named = |error| {
                Exit::configuration(
                    anyhow::Error::new(error).context(format!("--kubeconfig {}", path.display())),
                )
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(named)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(named)
        }
        None if args.context.is_some() => {
            Config::from_kubeconfig(&options).await.map_err(Exit::configuration)
        }
        None => Config::infer().await.map_err(Exit::configuration),
    }
}

/// The namespace of the account we run as, where `config` is that of a pod.
pub(crate) fn account_namespace(config: &Config) -> Option<String> {
    let account = Config::incluster().ok()?;
    (account.cluster_url == config.cluster_url).then_some(account.default_namespace)
}

/// How to reach a server without authentication.
///
/// # Errors
/// When the address cannot be read.
#[cfg(feature = "sandbox")]
pub(crate) fn plain(url: &str) -> Result<Config, Exit> {
    Ok(Config::new(url.parse().map_err(|error| Exit::configuration(anyhow::anyhow!("{url}: {error}")))?))
}

/// A client with connections of its own, which live on the runtime this is called in. Its requests are counted.
///
/// # Errors
/// When the configuration does not make a client: certificates, credentials.
pub(crate) fn client(mut config: Config, requests: &Requests) -> Result<Client, Exit> {
    // The watches and the writer retry by themselves: what the server says of pauses must reach them.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    let builder = ClientBuilder::try_from(config).map_err(Exit::configuration)?;
    Ok(builder.with_layer(requests).build())
}
