//! Exit codes: 0 good, 1 failure or findings, 2 usage or configuration, 3 what is needed cannot be reached, 4 waited in vain,
//! 5 port in use.

use std::{fmt, io, process::ExitCode};

/// An error with the exit code it ends the process with.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    /// `None` when everything has been said.
    error: Option<anyhow::Error>,
}

impl Exit {
    /// Something is wrong with what the user gave.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 2, error: Some(error.into()) }
    }

    /// A server that is to be looked at cannot be reached.
    pub(crate) fn unreachable(error: impl Into<anyhow::Error>) -> Self {
        Self { code: 3, error: Some(error.into()) }
    }

    /// An address cannot be listened on: 5 when somebody else does.
    pub(crate) fn listen(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::AddrInUse { 5 } else { 2 };
        Self { code, error: Some(error.into()) }
    }

    /// The end of a command that has told what it found.
    pub(crate) fn said(code: u8) -> Self {
        Self { code, error: None }
    }

    /// Whether there is nothing left to say.
    pub(crate) fn is_said(&self) -> bool {
        self.error.is_none()
    }

    /// Whether it is that something cannot be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == 3
    }

    /// The code for the process.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<anyhow::Error> for Exit {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 1, error: Some(error) }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain of causes on one line.
        self.error.as_ref().map_or(Ok(()), |error| write!(f, "{error:#}"))
    }
}
