//! Failures: what the API server's refusal means for what to do next.

use std::{fmt::Display, time::Duration};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use kube::core::Status;

use super::throttle::By;
use crate::gate::Closed;

/// Headers of answers that passed priority and fairness (Kubernetes
/// `staging/src/k8s.io/api/flowcontrol/v1/types.go`).
const FLOW_SCHEMA: &str = "x-kubernetes-pf-flowschema-uid";
const PRIORITY_LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";

/// The pause when an overloaded API server does not say how long.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that an answer can impose.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The cause in a refusal to create something in a namespace that is being deleted.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Why a write was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The object has another version or identity than the write names: read it and plan again.
    #[error("the object has changed")]
    Conflict,
    /// The name of a new object is taken: by the same write, made before, or by another's object.
    #[error("an object of this name exists")]
    AlreadyExists,
    /// The object to update is gone, or the namespace is.
    #[error("not found")]
    NotFound,
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    NamespaceEnding,
    /// The API server has too much to do (429, 503): nothing is to be sent for a while.
    #[error("the API server is overloaded; pausing for {pause:?}")]
    Overloaded {
        /// How long.
        pause: Duration,
        /// Which part of it says so.
        by: Overload,
    },
    /// Nothing was sent: the API server was overloaded, and wants to be left alone for so long.
    #[error("leaving the API server alone for {pause:?}")]
    Paused {
        /// How long.
        pause: Duration,
    },
    /// There was no answer in time.
    #[error("no answer within {} s", .after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
    /// There was no connection, or it ended.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing may be written now: wait until the gate opens.
    #[error("not writing: {0}")]
    Closed(#[from] Closed),
    /// Anything else: try again later.
    #[error("{0}")]
    Other(String),
}

/// Who has too much to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overload {
    /// The API server's priority and fairness: the share of the flow that our requests belong to is used up.
    PriorityAndFairness {
        /// The uid of the FlowSchema that our requests match.
        flow_schema: String,
        /// The uid of its PriorityLevelConfiguration.
        priority_level: String,
    },
    /// The API server as a whole, or something before it.
    Server,
}

impl Overload {
    fn of(headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (flow_schema, priority_level) = (text(FLOW_SCHEMA), text(PRIORITY_LEVEL));
        if flow_schema.is_empty() && priority_level.is_empty() {
            return Self::Server;
        }
        Self::PriorityAndFairness { flow_schema, priority_level }
    }

    pub(super) fn by(&self) -> By {
        match self {
            Self::PriorityAndFairness { .. } => By::PriorityAndFairness,
            Self::Server => By::Server,
        }
    }
}

impl Failure {
    /// A failure on this side of the connection.
    pub(super) fn other(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }

    /// A connection that could not be made, or ended.
    pub(super) fn unreachable(error: impl Display) -> Self {
        Self::Unreachable(error.to_string())
    }

    /// What an answer other than success means. The body is a `Status` unless something in between answered.
    pub(super) fn of(code: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let status: Status = serde_json::from_str(body).unwrap_or_default();
        let details = status.details.as_ref();
        let ending = || {
            details.is_some_and(|details| details.causes.iter().any(|c| c.reason == NAMESPACE_TERMINATING))
        };
        match code {
            StatusCode::CONFLICT if status.reason == "AlreadyExists" => Self::AlreadyExists,
            StatusCode::CONFLICT => Self::Conflict,
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::FORBIDDEN if ending() => Self::NamespaceEnding,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let header =
                    headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
                let said = header.or_else(|| details.map(|details| u64::from(details.retry_after_seconds)));
                let pause = said.filter(|seconds| *seconds > 0).map_or(PAUSE, Duration::from_secs);
                let by = match code {
                    StatusCode::TOO_MANY_REQUESTS => Overload::of(headers),
                    _ => Overload::Server,
                };
                Self::Overloaded { pause: pause.min(LONGEST_PAUSE), by }
            }
            _ if status.message.is_empty() => Self::Other(format!("the API server answered {code}")),
            _ => Self::Other(status.message),
        }
    }
}
