//! Signals that end the process, or have it read its configuration again.

use std::sync::Arc;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// Cancels the token it returns at the first SIGTERM or SIGINT. A second one ends the process at once with code 2.
///
/// # Errors
/// When no handler can be installed.
pub(crate) fn ending() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let first = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "ending");
        first.cancel();
        next().await;
        std::process::exit(2);
    });
    Ok(token)
}

/// Notifies at each SIGUSR1.
///
/// # Errors
/// When no handler can be installed.
pub(crate) fn again() -> std::io::Result<Arc<Notify>> {
    let mut asked = signal(SignalKind::user_defined1())?;
    let told = Arc::new(Notify::new());
    let telling = Arc::clone(&told);
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            telling.notify_one();
        }
    });
    Ok(told)
}
