//! Notes what the API server says to the watches: when it was last heard about a kind, and whether a watch of it is open.
//!
//! A layer of the client, because only the bytes tell: the watcher hands on neither bookmarks nor that a connection was taken
//! up again.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use callsign_shared::watch::{Contact, Contacts};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, combinators::MapFrame};
use hyper::body::{Body, Bytes, Frame};
use tower::{Layer, Service};

/// Notes it for each kind.
#[derive(Clone, Debug)]
pub(crate) struct Hearing(pub(crate) Contacts);

/// A client's service that is listened to.
#[derive(Clone, Debug)]
pub(crate) struct Heard<S> {
    inner: S,
    contacts: Contacts,
}

/// A body whose parts are noted as they arrive.
type HeardBody<B> = MapFrame<B, Box<dyn FnMut(Frame<Bytes>) -> Frame<Bytes> + Send>>;

impl<S> Layer<S> for Hearing {
    type Service = Heard<S>;

    fn layer(&self, inner: S) -> Heard<S> {
        Heard { inner, contacts: self.0.clone() }
    }
}

impl<S, Q, B> Service<Request<Q>> for Heard<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes>,
{
    type Response = Response<HeardBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let contact = kind(request.uri()).and_then(|kind| self.contacts.of(kind)).cloned();
        let watches = is_watch(request.uri());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let contact = contact.filter(|_| answer.status().is_success());
            let note = noting(contact, watches);
            Ok(answer.map(|body| body.map_frame(note)))
        })
    }
}

/// What is done with each part of a body; a watch is open until this goes with its body.
fn noting(
    contact: Option<Arc<Contact>>,
    watches: bool,
) -> Box<dyn FnMut(Frame<Bytes>) -> Frame<Bytes> + Send> {
    match contact {
        Some(contact) if watches => {
            let open = contact.opened();
            Box::new(move |frame| {
                open.heard();
                frame
            })
        }
        Some(contact) => {
            contact.heard();
            Box::new(move |frame| {
                contact.heard();
                frame
            })
        }
        None => Box::new(|frame| frame),
    }
}

/// The plural at the end of a path: `/apis/discovery.k8s.io/v1/endpointslices`.
fn kind(uri: &Uri) -> Option<&str> {
    uri.path().rsplit('/').next()
}

fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use http_body_util::Full;
    use tower::ServiceExt;

    use super::*;

    async fn ask(contacts: &Contacts, path: &str, status: u16) -> Response<HeardBody<Full<Bytes>>> {
        let answer = tower::service_fn(move |_: Request<()>| async move {
            let body = Full::new(Bytes::from_static(b"{}"));
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        let request = Request::builder().uri(format!("https://10.0.0.1{path}")).body(()).unwrap();
        Hearing(contacts.clone()).layer(answer).oneshot(request).await.unwrap()
    }

    const PAUSE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_watch_is_open_as_long_as_its_body() {
        let contacts = Contacts::default();
        let lag = |kind: &str| contacts.of(kind).unwrap().lag();
        let slices = "/apis/discovery.k8s.io/v1/endpointslices";
        let watch = ask(&contacts, &format!("{slices}?allowWatchBookmarks=true&watch=true"), 200).await;
        tokio::time::sleep(PAUSE).await;
        assert_eq!(lag("endpointslices"), Duration::ZERO);
        assert!(lag("services") >= PAUSE, "another kind");
        let body = watch.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{}", "the body is what it was");
        assert!(lag("endpointslices") < PAUSE, "heard to the end");
        tokio::time::sleep(PAUSE).await;
        assert!(lag("endpointslices") >= PAUSE, "and gone");
    }

    #[tokio::test]
    async fn a_list_is_heard_and_a_refusal_is_not() {
        let contacts = Contacts::default();
        let lag = || contacts.of("services").unwrap().lag();
        tokio::time::sleep(PAUSE).await;
        drop(ask(&contacts, "/api/v1/services?watch=true", 403).await);
        assert!(lag() >= PAUSE);
        drop(ask(&contacts, "/api/v1/services?limit=500", 200).await);
        assert!(lag() < PAUSE);
        drop(ask(&contacts, "/version", 200).await);
    }
}
