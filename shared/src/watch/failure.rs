//! Errors of watches: how to go on, what to say, and under what to count them.

use kube::{Error as ClientError, runtime::watcher};

/// How to go on after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// Poll on: the watcher resumes by itself.
    Resume,
    /// Start over with a list.
    Relist,
    /// Start over with paged lists: the server has no streaming ones.
    RelistPaged,
}

/// What kind of error it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFailure {
    /// The API server does not know us (401), or there are no credentials to be had.
    Unauthorized,
    /// It may not be read with this account (403).
    Forbidden,
    /// The version to go on from is too old (410): everything is listed again.
    Expired,
    /// The API server has too much to do (429).
    Throttled,
    /// Another 4xx.
    Refused,
    /// A 5xx.
    Server,
    /// What came is none of the format.
    Unreadable,
    /// There was no answer, or it broke off.
    Connection,
}

impl WatchFailure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unauthorized,
        Self::Forbidden,
        Self::Expired,
        Self::Throttled,
        Self::Refused,
        Self::Server,
        Self::Unreadable,
        Self::Connection,
    ];

    /// As it stands in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Server => "server",
            Self::Unreadable => "unreadable",
            Self::Connection => "connection",
        }
    }

    /// What kind of error this is.
    pub(super) fn of(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => match error {
                ClientError::Api(status) => Self::of_code(status.code),
                ClientError::SerdeError(_) => Self::Unreadable,
                ClientError::Auth(_) => Self::Unauthorized,
                _ => Self::Connection,
            },
            watcher::Error::WatchError(status) => Self::of_code(status.code),
            watcher::Error::NoResourceVersion => Self::Unreadable,
        }
    }

    fn of_code(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            410 => Self::Expired,
            429 => Self::Throttled,
            400..500 => Self::Refused,
            500.. => Self::Server,
            // A status without anything in it: something was said that is no status.
            _ => Self::Unreadable,
        }
    }
}

/// How to go on.
pub(super) fn recovery(error: &watcher::Error, streaming: bool) -> Recovery {
    let status = match error {
        watcher::Error::WatchStartFailed(ClientError::Api(status)) => status,
        // A line that is no event may have been any event. Nobody sends it again, and a list that lacks it would remove
        // what it was about. (What is JSON at least reaches us as a status without anything in it.)
        watcher::Error::WatchFailed(ClientError::SerdeError(_) | ClientError::Api(_)) => {
            return Recovery::Relist;
        }
        _ => return Recovery::Resume,
    };
    match status.code {
        // The version to go on from is too old. The watcher itself would ask for it for ever.
        410 => Recovery::Relist,
        // "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled", or a server that does
        // not know the parameter and refuses what comes with it.
        400 | 422 if streaming => Recovery::RelistPaged,
        _ => Recovery::Resume,
    }
}

/// The error with its causes: the watcher's own text leaves out why a connection failed.
///
/// What the API server itself said is a sentence already, which names who may not do what.
pub(super) fn describe(error: &watcher::Error) -> String {
    let status = match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(ClientError::Api(status))
        | watcher::Error::WatchStartFailed(ClientError::Api(status))
        | watcher::Error::WatchFailed(ClientError::Api(status)) => Some(status),
        _ => None,
    };
    if let Some(status) = status.filter(|status| status.code != 0 && !status.message.is_empty()) {
        return match status.reason.as_str() {
            "" => format!("{}: {}", status.code, status.message),
            reason => format!("{} {reason}: {}", status.code, status.message),
        };
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_code() {
        let of = |code: u16| {
            let status = Status { code, ..Status::default() };
            let asked = ClientError::Api(Box::new(status.clone()));
            let told = watcher::Error::WatchError(Box::new(status));
            let kind = WatchFailure::of(&told);
            assert_eq!(kind, WatchFailure::of(&watcher::Error::InitialListFailed(asked)));
            kind.as_str()
        };
        let codes = [401, 403, 410, 429, 404, 422, 500, 503, 0];
        let names = codes.map(of);
        let wanted = [
            "unauthorized",
            "forbidden",
            "expired",
            "throttled",
            "refused",
            "refused",
            "server",
            "server",
            "unreadable",
        ];
        assert_eq!(names, wanted);
        let status = Status {
            code: 403,
            reason: "Forbidden".to_owned(),
            message: "pods is forbidden: User \"a\" cannot list resource \"pods\"".to_owned(),
            ..Status::default()
        };
        let refused = watcher::Error::InitialListFailed(ClientError::Api(Box::new(status)));
        let text = "403 Forbidden: pods is forbidden: User \"a\" cannot list resource \"pods\"";
        assert_eq!(describe(&refused), text);
        let cut = ClientError::Service(Box::new(std::io::Error::other("cut")));
        assert_eq!(WatchFailure::of(&watcher::Error::WatchFailed(cut)), WatchFailure::Connection);
    }
}
