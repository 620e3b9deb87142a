//! How many files may be open: sockets are files, and each connection and each forwarded question has one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many as the system lets us have. What is usual for a start is 1024, for the sake of programs that use `select`;
/// Go's programs take them all too.
pub(crate) fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, soft, hard, "no more open files than before");
    }
}
