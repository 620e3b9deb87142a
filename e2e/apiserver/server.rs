//! Start, run and stop: the listening socket, its connections and the tasks behind the server.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::faults::Faults;
use super::http::Http;
use super::options::Options;
use super::store::Store;
use super::tls::Tls;

/// The embedded API server. See the [module](super) for what it is not.
#[derive(Debug)]
pub struct ApiServer;

/// A server that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    store: Arc<Store>,
    faults: Arc<Faults>,
    access: Arc<Access>,
    authority: Option<String>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ApiServer {
    /// Binds the socket, makes the objects every cluster has and starts to serve.
    ///
    /// # Errors
    /// What binding the address says ([`io::ErrorKind::AddrInUse`] for a port that is taken), and
    /// [`io::ErrorKind::InvalidInput`] for an address that is not loopback.
    pub async fn start(options: Options) -> io::Result<Running> {
        if !options.listen.ip().is_loopback() {
            let why = format!(
                "the embedded API server is a test double and listens on loopback only, not on {}",
                options.listen
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let faults = Arc::new(Faults::default());
        let store = Arc::new(Store::new(options.watch_window, Arc::clone(&faults)));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        super::boot::boot(&store, &options).map_err(io::Error::other)?;
        super::actors::boot(&store, &options).map_err(io::Error::other)?;
        super::actors::start(&store, &options, &stop, &tasks);
        let access = Arc::new(Access::new(Arc::clone(&store), options.access.as_ref()));
        if access.is_enforced() {
            super::access::boot(&store).map_err(io::Error::other)?;
        }
        let tls = options.tls.then(|| Tls::new(addr)).transpose()?;
        let authority = tls.as_ref().map(|tls| tls.authority().to_owned());
        let http = Arc::new(Http {
            store: Arc::clone(&store),
            faults: Arc::clone(&faults),
            access: Arc::clone(&access),
            stop: stop.clone(),
            options,
        });
        tasks.spawn(accept(listener, tls, http, stop.clone(), tasks.clone()));
        Ok(Running { addr, store, faults, access, authority, stop, tasks })
    }
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:1064`, or `https://…`
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The certificate of the authority that signed the server's, in PEM, when it speaks HTTPS: `ca.crt`.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Tokens, roles, and what was asked for.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// The objects, for in-process use; writes take the same path as over HTTP.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The fault switches.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// A kubeconfig file for this server, for its administrator.
    pub fn kubeconfig(&self) -> String {
        let token = self.access.admin_token().map(|token| format!("token: {token:?}"));
        self.kubeconfig_with(token.as_deref())
    }

    /// A kubeconfig file for whoever has the token in a file, which is read again when it changes.
    pub fn kubeconfig_of_file(&self, token: &Path) -> String {
        self.kubeconfig_with(Some(&format!("tokenFile: {:?}", token.display().to_string())))
    }

    fn kubeconfig_with(&self, user: Option<&str>) -> String {
        let authority = self.authority.as_ref().map_or_else(String::new, |pem| {
            format!("\x20   certificate-authority-data: {}\n", BASE64_STANDARD.encode(pem))
        });
        let user = user.map_or_else(|| " {}".to_owned(), |user| format!("\n\x20   {user}"));
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: callsign-sandbox\n\
             \x20 cluster:\n\
             \x20   server: {}\n\
             {authority}\
             contexts:\n\
             - name: callsign-sandbox\n\
             \x20 context:\n\
             \x20   cluster: callsign-sandbox\n\
             \x20   user: callsign-sandbox\n\
             users:\n\
             - name: callsign-sandbox\n\
             \x20 user:{user}\n\
             current-context: callsign-sandbox\n",
            self.url()
        )
    }

    /// Ends every watch, connection and task, and waits until they are gone.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    http: Arc<Http>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: let some connections end before the next try.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Watch events are small and must not wait for an acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let (http, stop) = (Arc::clone(&http), stop.clone());
        match tls.clone() {
            None => drop(tasks.spawn(connection(stream, http, stop))),
            Some(tls) => drop(tasks.spawn(async move {
                match tls.accept(stream, &stop).await {
                    Ok(stream) => connection(stream, http, stop).await,
                    Err(error) => tracing::debug!(%error, "no TLS"),
                }
            })),
        }
    }
}

async fn connection<S>(stream: S, http: Arc<Http>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let http = Arc::clone(&http);
        async move { http.answer(request).await }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(Duration::from_secs(1), connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
