//! Start, run and stop: the listening socket, its connections and the tasks behind the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::faults::Faults;
use super::http::Http;
use super::options::Options;
use super::store::Store;

/// The embedded API server. See the [module](super) for what it is not.
#[derive(Debug)]
pub struct ApiServer;

/// A server that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    store: Arc<Store>,
    faults: Arc<Faults>,
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
                "the embedded API server trusts everybody and listens on loopback only, not on {}",
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
        let http = Arc::new(Http {
            store: Arc::clone(&store),
            faults: Arc::clone(&faults),
            stop: stop.clone(),
            options,
        });
        tasks.spawn(accept(listener, http, stop.clone(), tasks.clone()));
        Ok(Running { addr, store, faults, stop, tasks })
    }
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:1064`
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The objects, for in-process use; writes take the same path as over HTTP.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The fault switches.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// A kubeconfig file for this server.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: callsign-sandbox\n\
             \x20 cluster:\n\
             \x20   server: {}\n\
             contexts:\n\
             - name: callsign-sandbox\n\
             \x20 context:\n\
             \x20   cluster: callsign-sandbox\n\
             \x20   user: callsign-sandbox\n\
             users:\n\
             - name: callsign-sandbox\n\
             \x20 user: {{}}\n\
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

async fn accept(listener: TcpListener, http: Arc<Http>, stop: CancellationToken, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => drop(tasks.spawn(connection(stream, Arc::clone(&http), stop.clone()))),
            Err(error) => {
                // Out of file descriptors, most likely: let some connections end before the next try.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, http: Arc<Http>, stop: CancellationToken) {
    // Watch events are small and must not wait for an acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
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
            match tokio::time::timeout(std::time::Duration::from_secs(1), connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
