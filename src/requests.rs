//! Counts every request to the API server, whoever makes it: watches, writes, leases, events. The names, labels and buckets
//! are client-go's (Kubernetes `staging/src/k8s.io/component-base/metrics/prometheus/restclient`).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use callsign_dns::plugin::{Meter, Meters};
use http::{Request, Response};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tower::{Layer, Service};

/// The counters of requests to one API server. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    meter: Arc<RequestMeter>,
    host: String,
}

/// The counters of all.
#[derive(Debug)]
pub(crate) struct RequestMeter {
    total: Family<RequestLabels, Counter>,
    duration: Family<VerbLabels, Histogram>,
    coredns: Family<VerbLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    method: String,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: String,
    host: String,
}

/// The default buckets of Prometheus' clients, seconds.
const PROMETHEUS_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A client's service, counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl Meter for RequestMeter {
    fn register(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0]);
        let new = Self {
            total: Family::default(),
            duration: Family::new_with_constructor(seconds),
            coredns: Family::new_with_constructor(|| Histogram::new(PROMETHEUS_BUCKETS)),
        };
        registry.register(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code, method, and host",
            new.total.clone(),
        );
        registry.register(
            "rest_client_request_duration_seconds",
            "Request latency in seconds. Broken down by verb, and host",
            new.duration.clone(),
        );
        registry.register(
            "coredns_kubernetes_rest_client_request_duration_seconds",
            "Request latency in seconds. Broken down by verb and host",
            new.coredns.clone(),
        );
        new
    }
}

impl Requests {
    /// Counters of requests to the API server at `url`.
    pub(crate) fn of(meters: &Meters, url: &http::Uri) -> Self {
        Self { meter: meters.of(), host: url.authority().map(ToString::to_string).unwrap_or_default() }
    }

    fn answered(&self, method: &http::Method, code: Option<http::StatusCode>, seconds: f64) {
        let (method, host) = (method.to_string(), self.host.clone());
        // Without an answer there is no code; client-go says so.
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.as_str().to_owned());
        let verb = VerbLabels { verb: method.clone(), host: host.clone() };
        self.meter.duration.get_or_create(&verb).observe(seconds);
        self.meter.coredns.get_or_create(&verb).observe(seconds);
        self.meter.total.get_or_create(&RequestLabels { code, method, host }).inc();
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, requests, begun) = (request.method().clone(), self.requests.clone(), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(Response::status);
            requests.answered(&method, code, begun.elapsed().as_secs_f64());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn every_request_is_counted_by_its_end() {
        let meters = Meters::default();
        let requests = Requests::of(&meters, &"https://10.0.0.1:6443/".parse().unwrap());
        for code in [200, 429, 0] {
            let answer = tower::service_fn(move |_: Request<()>| async move {
                match code {
                    0 => Err(std::io::Error::other("cut")),
                    code => Ok(Response::builder().status(code).body(()).unwrap()),
                }
            });
            let request = Request::builder().method("PUT").body(()).unwrap();
            let _ = requests.layer(answer).oneshot(request).await;
        }
        let page = meters.encode().unwrap();
        for code in ["200", "429", "<error>"] {
            let line = format!(
                "rest_client_requests_total{{code=\"{code}\",method=\"PUT\",host=\"10.0.0.1:6443\"}} 1\n"
            );
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
