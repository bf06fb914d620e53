//! HTTP: one port for the XML API and DAV, one thread.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{World, api, dav};

/// Largest API request.
const API_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest DAV body unless a difficulty says less.
const DAV_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// An answer, whole.
pub(super) type Reply = Response<Full<Bytes>>;

/// The connection is to be lost instead of an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection was to be lost here")
    }
}

impl std::error::Error for Cut {}

/// A reply with a body of text.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    reply
}

/// A reply that is a status and nothing else.
pub(super) fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

/// Serves until told to stop.
pub(super) fn serve(world: &Arc<World>, listener: TcpListener, stopped: tokio::sync::oneshot::Receiver<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let world = Arc::clone(world);
    runtime.block_on(async {
        tokio::spawn(async move { accept(&world, listener).await });
        // Told to stop, or the one who could tell is gone.
        let _ = stopped.await;
    });
}

async fn accept(world: &Arc<World>, listener: TcpListener) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let world = Arc::clone(world);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&world), request));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60)).max_buf_size(64 * 1024);
            // What a client does wrong on its connection ends that connection only.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(world: Arc<World>, request: Request<Incoming>) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if world.tallies.http_busy.strikes(world.difficulties.http_busy) {
        return Ok(status(StatusCode::SERVICE_UNAVAILABLE));
    }
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Ok(status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if head.headers.contains_key(EXPECT) {
        return Ok(status(StatusCode::EXPECTATION_FAILED));
    }
    if path.starts_with("/icewarpapi/") {
        let Ok(body) = Limited::new(body, API_BYTES_MAX).collect().await else {
            return Ok(status(StatusCode::PAYLOAD_TOO_LARGE));
        };
        let (delay, text) = api::answer(&world, &head.method, &body.to_bytes());
        tokio::time::sleep(delay).await;
        return Ok(
            text.map_or_else(|| status(StatusCode::METHOD_NOT_ALLOWED), |text| reply(StatusCode::OK, "application/xml", text))
        );
    }
    let user = match dav::admit(&world, &head) {
        Ok(user) => user,
        Err(refused) => {
            let (delay, refusal) = *refused;
            tokio::time::sleep(delay).await;
            return Ok(refusal);
        }
    };
    let most = match world.difficulties.max_body_bytes {
        0 => DAV_BYTES_MAX,
        most => most,
    };
    let Some(body) = at_most(body, most).await else { return Ok(status(StatusCode::PAYLOAD_TOO_LARGE)) };
    let reply = dav::answer(&world, &user, &head, &body);
    let (tallies, difficulties) = (&world.tallies, &world.difficulties);
    let is_cut = match head.method.as_str() {
        "PUT" => tallies.cut_put.strikes(difficulties.cut_put),
        "MKCOL" | "MKCALENDAR" => tallies.cut_make.strikes(difficulties.cut_make),
        _ => false,
    };
    if is_cut {
        return Err(Cut);
    }
    Ok::<_, Infallible>(reply).map_err(|never| match never {})
}

/// The body, if it has at most so many bytes. A longer one is read to its end and dropped: who still writes does not see the answer.
async fn at_most(mut body: Incoming, most: u64) -> Option<Vec<u8>> {
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        read += data.len() as u64;
        if read <= most {
            bytes.extend_from_slice(&data);
        } else if read > DAV_BYTES_MAX {
            break;
        }
    }
    (read <= most).then_some(bytes)
}
