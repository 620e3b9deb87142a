//! The client of the Kubernetes API.

use std::path::Path;

use anyhow::Context as _;
use callsign_dns::plugins::kubernetes::ClusterAccess;
use callsign_shared::watch::Contacts;
use http::HeaderValue;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{
        AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
    },
};

use crate::{args::ClusterArgs, exit::Exit, hearing::Hearing, requests::Requests};

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

/// How to reach the cluster a `kubernetes` directive names.
///
/// # Errors
/// When a file cannot be read, or the environment names no cluster.
pub(crate) fn access(access: &ClusterAccess) -> anyhow::Result<Config> {
    if let Some((path, context)) = &access.kubeconfig {
        let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
        let named = || format!("kubeconfig {}", path.display());
        let kubeconfig = Kubeconfig::read_from(path).with_context(named)?;
        // Files are all it reads: nothing is waited for.
        return futures::executor::block_on(Config::from_custom_kubeconfig(kubeconfig, &options))
            .with_context(named);
    }
    let Some(endpoint) = &access.endpoint else {
        return futures::executor::block_on(Config::infer())
            .context("no cluster: this is no pod, and there is no kubeconfig");
    };
    let Some([certificate, key, authority]) = &access.tls else {
        return Ok(Config::new(endpoint.parse().with_context(|| format!("endpoint {endpoint}"))?));
    };
    let text = |path: &Path| path.display().to_string();
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster {
            name: "endpoint".to_owned(),
            cluster: Some(Cluster {
                server: Some(endpoint.clone()),
                certificate_authority: Some(text(authority)),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: "tls".to_owned(),
            auth_info: Some(AuthInfo {
                client_certificate: Some(text(certificate)),
                client_key: Some(text(key)),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: "corefile".to_owned(),
            context: Some(Context {
                cluster: "endpoint".to_owned(),
                user: Some("tls".to_owned()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some("corefile".to_owned()),
        ..Kubeconfig::default()
    };
    futures::executor::block_on(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()))
        .with_context(|| format!("endpoint {endpoint}"))
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
pub(crate) fn client(config: Config, requests: &Requests) -> Result<Client, Exit> {
    let builder = ClientBuilder::try_from(ours(config)).map_err(Exit::configuration)?;
    Ok(builder.with_layer(requests).build())
}

/// The same, for watches: what the API server says is noted in `contacts`.
///
/// # Errors
/// As [`client`].
pub(crate) fn watching(config: Config, requests: &Requests, contacts: &Contacts) -> Result<Client, Exit> {
    let builder = ClientBuilder::try_from(ours(config)).map_err(Exit::configuration)?;
    Ok(builder.with_layer(requests).with_layer(&Hearing(contacts.clone())).build())
}

fn ours(mut config: Config) -> Config {
    // The watches and the writer retry by themselves: what the server says of pauses must reach them.
    config.default_retry = false;
    config.headers.push((http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    config
}
