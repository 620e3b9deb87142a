//! DNS over HTTPS (RFC 8484): `GET /dns-query?dns=…` and `POST /dns-query`, over HTTP/1.1 and HTTP/2.
//!
//! What a client may cost is bounded as over TCP: the length of a request wherever it stands, how long it may take to
//! arrive, how many wait at once, and how long a connection may be idle. The JSON form of other servers is not spoken.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hickory_proto::{op::Message, rr::RData};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Handled, Handler, Limits, Peer, handle, metrics::HttpsMetrics, tcp::Slot};

/// The only path.
const PATH: &str = "/dns-query";
const MESSAGE: &str = "application/dns-message";
/// The header of a message, bytes.
const HEADER: usize = 12;
/// All header fields of a request, and the buffer of a connection of HTTP/1, bytes. A message in a URL fits.
const HEADERS: usize = 32 << 10;

/// One connection.
pub(super) struct Https<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Arc<Limits>,
    pub(super) from: Peer,
    pub(super) metrics: Arc<HttpsMetrics>,
    /// Where others see whether it is idle.
    pub(super) slot: Arc<Slot>,
}

/// When a connection last did something.
struct Activity {
    answering: AtomicUsize,
    last: Mutex<Instant>,
    slot: Arc<Slot>,
}

/// Why a request has no answer.
struct Refused(StatusCode, &'static str);

impl<H: Handler> Https<H> {
    /// Answers requests until the client ends the connection, is idle for too long, or the server ends.
    pub(super) async fn serve<S>(self, stream: S, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let https = Arc::new(self);
        let limits = Arc::clone(&https.limits);
        let activity = Arc::new(Activity {
            answering: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            slot: Arc::clone(&https.slot),
        });
        let (asked, seen) = (Arc::clone(&https), Arc::clone(&activity));
        let service = service_fn(move |request| {
            let (https, activity) = (Arc::clone(&asked), Arc::clone(&seen));
            async move {
                let _answering = activity.begin();
                Ok::<_, Infallible>(https.respond(request).await)
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.tcp_idle).max_buf_size(HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(u32::try_from(limits.tcp_waiting).unwrap_or(u32::MAX))
            .max_header_list_size(HEADERS as u32)
            .max_send_buf_size(HEADERS);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut idle = pin!(activity.idle(limits.tcp_idle));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = &mut idle => {}
            () = stop.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        // What is being answered may still go out.
        let _ = timeout(limits.tcp_write, connection).await;
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match self.message(request).await {
            Ok(message) => self.answer(&message).await,
            Err(refused) => Err(refused),
        };
        let response = match answer {
            Ok(message) => {
                let age = HeaderValue::from_str(&format!("max-age={}", freshness(&message)));
                let mut response = Response::new(Full::new(Bytes::from(message)));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(MESSAGE));
                age.into_iter().for_each(|age| drop(headers.insert(CACHE_CONTROL, age)));
                response
            }
            Err(Refused(status, why)) => {
                let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
                *response.status_mut() = status;
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
                }
                response
            }
        };
        self.metrics.responded(response.status().as_u16());
        response
    }

    /// The message of a request.
    async fn message(&self, request: Request<Incoming>) -> Result<Vec<u8>, Refused> {
        if request.uri().path() != PATH {
            return Err(Refused(StatusCode::NOT_FOUND, "there is only /dns-query\n"));
        }
        let too_long = Refused(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long\n");
        let longest = self.limits.tcp_request;
        let message = match *request.method() {
            Method::GET => {
                let text = (request.uri().query().unwrap_or_default().split('&'))
                    .find_map(|pair| pair.strip_prefix("dns="))
                    .ok_or(Refused(StatusCode::BAD_REQUEST, "no 'dns' query parameter found\n"))?;
                if text.len() > longest.div_ceil(3) * 4 {
                    return Err(too_long);
                }
                let decoded = URL_SAFE_NO_PAD.decode(text);
                decoded.map_err(|_| Refused(StatusCode::BAD_REQUEST, "'dns' is not base64url\n"))?
            }
            Method::POST => {
                let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
                if !kind.eq_ignore_ascii_case(MESSAGE) {
                    let why = "the body must be application/dns-message\n";
                    return Err(Refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
                }
                let body = Limited::new(request.into_body(), longest).collect();
                match timeout(self.limits.tcp_read, body).await {
                    Ok(Ok(body)) => body.to_bytes().to_vec(),
                    Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_long),
                    Ok(Err(_)) => return Err(Refused(StatusCode::BAD_REQUEST, "the body is broken\n")),
                    Err(_) => return Err(Refused(StatusCode::REQUEST_TIMEOUT, "the body is too slow\n")),
                }
            }
            _ => return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "GET or POST\n")),
        };
        // A response is never answered, nor what is no message.
        match message.get(2) {
            Some(flags) if message.len() >= HEADER && flags & 0x80 == 0 => Ok(message),
            _ => Err(Refused(StatusCode::BAD_REQUEST, "not a DNS query\n")),
        }
    }

    /// The answer to a message: one, so that transfers have none.
    async fn answer(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut out = Vec::new();
        let answer = match handle(&*self.handler, message, self.from, &mut out) {
            Handled::Reply => Some(out),
            Handled::Silent => None,
            Handled::Later(later) => {
                let mut replies = later.await;
                replies.next().filter(|_| replies.next().is_none())
            }
        };
        answer.ok_or(Refused(StatusCode::INTERNAL_SERVER_ERROR, "no response\n"))
    }
}

impl Activity {
    /// Until the value that it returns is dropped, a request is being answered.
    fn begin(self: &Arc<Self>) -> impl Drop + Send + 'static {
        struct Answering(Arc<Activity>);
        impl Drop for Answering {
            fn drop(&mut self) {
                *self.0.last.lock() = Instant::now();
                if self.0.answering.fetch_sub(1, Ordering::Relaxed) == 1 {
                    self.0.slot.touch(false);
                }
            }
        }
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.slot.touch(true);
        Answering(Arc::clone(self))
    }

    /// Waits until nothing has been asked for so long.
    async fn idle(&self, time: Duration) {
        loop {
            let last = *self.last.lock();
            sleep_until(last + time).await;
            if self.answering.load(Ordering::Relaxed) > 0 {
                // Its own end will be the beginning.
                tokio::time::sleep(time).await;
            } else if *self.last.lock() == last {
                return;
            }
        }
    }
}

/// For how many seconds an answer may be kept: the least of its TTLs, of a negative one what its SOA says (RFC 8484 5.1).
/// An answer without records is as old as it gets.
fn freshness(message: &[u8]) -> u32 {
    let Ok(message) = Message::from_vec(message) else { return 0 };
    let records = message.answers.iter().chain(&message.authorities).chain(&message.additionals);
    let ttls = records.map(|record| match &record.data {
        RData::SOA(soa) => record.ttl.min(soa.minimum),
        _ => record.ttl,
    });
    ttls.min().unwrap_or_default()
}
