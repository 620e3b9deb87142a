//! CoreDNS's signals (`coredns/caddy` `sigtrap.go`, `sigtrap_posix.go`).
//!
//! SIGTERM and SIGINT end the process in order; a second SIGINT ends it at once with 2, SIGQUIT at once with 0. SIGUSR1 reads
//! the configuration again. SIGHUP is ignored, and so is SIGUSR2, which would replace a running CoreDNS's binary.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::PidFile;

/// What signals ask for.
pub(super) struct Signals {
    /// The end.
    pub(super) end: CancellationToken,
    /// To read the configuration again.
    pub(super) reload: Arc<Notify>,
}

/// Listens for signals from now on.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn listen(pidfile: &PidFile) -> io::Result<Signals> {
    let (end, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut again = signal(SignalKind::user_defined1())?;
    let mut upgrade = signal(SignalKind::user_defined2())?;
    let mut hangup: Signal = signal(SignalKind::hangup())?;
    let signals = Signals { end: end.clone(), reload: Arc::clone(&reload) };
    let pidfile = pidfile.clone();
    tokio::spawn(async move {
        let mut interrupted = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {
                    info!("SIGTERM: Shutting down servers then terminating");
                    end.cancel();
                }
                _ = interrupt.recv() => {
                    if interrupted {
                        info!("SIGINT: Force quit");
                        pidfile.remove();
                        std::process::exit(2);
                    }
                    info!("SIGINT: Shutting down");
                    interrupted = true;
                    end.cancel();
                }
                _ = quit.recv() => {
                    info!("SIGQUIT: Quitting process immediately");
                    pidfile.remove();
                    std::process::exit(0);
                }
                _ = again.recv() => {
                    info!("SIGUSR1: Reloading");
                    reload.notify_one();
                }
                _ = upgrade.recv() => warn!("SIGUSR2: a running process is not replaced; start another"),
                _ = hangup.recv() => {}
            }
        }
    });
    Ok(signals)
}
