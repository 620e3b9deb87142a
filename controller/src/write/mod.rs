//! Guarded writes: one object, one request, and what the answer means.
//!
//! * An update names the version it replaces, a deletion version and uid. A write that somebody came before is refused,
//!   never lost.
//! * The object in the answer is handed back: it counts from then on ([`Overlay`](crate::overlay::Overlay)).
//! * Answers are sorted into what to do next ([`Failure`]). In a namespace that is ending nothing can be made and nothing
//!   needs to be; that is not an error.
//! * All requests together keep to the [`Throttle`], which workers enter before they take a key, and the [`Gate`] is looked at right before a write is sent, and again
//!   at every step on the way to a connection: that takes as long as it takes, and a lease does not.
//!
//! The client should not retry by itself (`default_retry` of `kube::Config`): whoever waits inside of it holds up a
//! worker, with a plan that grows old.

mod body;
mod failure;
mod throttle;
mod window;

#[cfg(test)]
mod tests;

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use callsign_shared::{
    Key,
    object::{Decode, Service},
};
use http::{HeaderValue, Method, Request, header::USER_AGENT};
use http_body_util::{BodyExt, Limited};
use kube::{
    Client, Resource,
    api::{DeleteParams, GetParams, PostParams, Preconditions},
    client::Body as HttpBody,
};

use tokio::time::Instant;

pub use self::{
    body::Body,
    failure::{Failure, Overload},
    throttle::{By, Limit, Throttle, Turn},
};
use crate::{gate::Gate, plan::Write};

/// Who we are in `managedFields` and in the API server's logs; not kube-controller-manager, so that an object tells who
/// wrote it.
pub const FIELD_MANAGER: &str = callsign_shared::object::well_known::FIELD_MANAGER;

pub(crate) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("callsign/", env!("CARGO_PKG_VERSION")));

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer that is read: etcd holds nothing larger.
const LARGEST: usize = 8 << 20;

/// Writes to an API server.
#[derive(Clone, Debug)]
pub struct Writer {
    client: NoDebug,
    throttle: Arc<Throttle>,
    gate: Arc<Gate>,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The object as it is now, also when it is still there after a deletion because finalizers hold it.
    Written(Arc<T>),
    /// The object is gone.
    Deleted,
    /// The namespace is ending: nothing was written and nothing has to be.
    Dropped,
}

#[derive(Clone)]
struct NoDebug(Client);

impl std::fmt::Debug for NoDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Writer {
    /// A writer through `client`, while `gate` is open.
    pub fn new(client: Client, throttle: Arc<Throttle>, gate: Arc<Gate>) -> Self {
        Self { client: NoDebug(client), throttle, gate }
    }

    /// Waits until a key may be worked on. Cancelling loses nothing.
    pub async fn enter(&self) -> Turn {
        self.throttle.enter().await
    }

    /// Makes one write.
    ///
    /// # Errors
    /// When the API server refuses it or cannot be reached.
    pub async fn write<T: Body>(&self, write: &Write<T>) -> Result<Outcome<T>, Failure> {
        let request = kube::core::Request::new(path::<T>(&write.meta().key));
        let post = PostParams { dry_run: false, field_manager: Some(FIELD_MANAGER.into()) };
        let name = &write.meta().key.name;
        let encode = |new: &T| new.body().map_err(Failure::other);
        let request = match write {
            Write::Create(new) => request.create(&post, encode(new)?),
            Write::Update { new, .. } => request.replace(name, &post, encode(new)?),
            Write::Delete { current } => {
                let meta = current.meta();
                let preconditions = Preconditions {
                    uid: Some(meta.uid.to_string()),
                    resource_version: Some(meta.resource_version.to_string()),
                };
                let delete = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                request.delete(name, &delete)
            }
        };
        let answer = match self.send(request.map_err(Failure::other)?).await {
            Err(Failure::NamespaceEnding) if matches!(write, Write::Create(_)) => {
                return Ok(Outcome::Dropped);
            }
            Err(Failure::NotFound) if matches!(write, Write::Delete { .. }) => return Ok(Outcome::Deleted),
            other => other?,
        };
        match write {
            // The answer to a deletion is a Status, or the object when finalizers hold it.
            Write::Delete { .. } => match T::decode(&answer) {
                Ok(object) if object.meta().deleting => Ok(Outcome::Written(Arc::new(object))),
                _ => Ok(Outcome::Deleted),
            },
            Write::Create(_) | Write::Update { .. } => {
                T::decode(&answer).map(|object| Outcome::Written(Arc::new(object))).map_err(Failure::other)
            }
        }
    }

    /// Reads an object as it is now.
    ///
    /// # Errors
    /// When the API server cannot be reached or does not allow it. An object that is not there is no error.
    pub async fn read<T: Decode>(&self, key: &Key) -> Result<Option<Arc<T>>, Failure> {
        let request = kube::core::Request::new(path::<T>(key)).get(&key.name, &GetParams::default());
        match self.send(request.map_err(Failure::other)?).await {
            Ok(answer) => T::decode(&answer).map(|object| Some(Arc::new(object))).map_err(Failure::other),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the API server says that there is no Service of this name.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn service_is_gone(&self, key: &Key) -> Result<bool, Failure> {
        Ok(self.read::<Service>(key).await?.is_none())
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<String, Failure> {
        let writes = request.method() != Method::GET;
        self.throttle.admit().await?;
        if writes {
            self.gate.check()?;
        }
        let mut request = request.map(HttpBody::from);
        request.headers_mut().insert(USER_AGENT, AGENT);
        let sent = Instant::now();
        let answer = async {
            let response = self.client.0.send(request).await.map_err(Failure::unreachable)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(Failure::unreachable)?.to_bytes();
            let text = String::from_utf8(body.to_vec()).map_err(Failure::other)?;
            if head.status.is_success() {
                Ok(text)
            } else {
                Err(Failure::of(head.status, &head.headers, &text))
            }
        };
        let answer = match tokio::time::timeout(PATIENCE, self.fenced(writes, answer)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Silent { after: PATIENCE }),
        };
        self.throttle.ended(sent, &answer);
        answer
    }

    /// A write that goes no step further once the lease is lost. Credentials, the connection and another attempt on a new
    /// one are all parts of this future.
    async fn fenced<T>(
        &self,
        writes: bool,
        sending: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut sending = pin!(sending);
        poll_fn(|context| {
            if writes && self.gate.is_lost() {
                self.gate.check()?;
            }
            sending.as_mut().poll(context)
        })
        .await
    }
}

fn path<T: Decode>(key: &Key) -> String {
    T::Api::url_path(&(), Some(&key.namespace))
}
