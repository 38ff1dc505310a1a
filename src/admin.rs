//! The admin endpoint: `/metrics`, `/livez`, `/readyz`, `/status.json` and the status page at `/`. Read-only;
//! knows the board and the metrics, nothing of the pipeline.

mod page;

use crate::status::Board;
use crate::telemetry;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections served at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;
/// After a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
const HEADER_MAX: Duration = Duration::from_secs(5);
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// Listens and serves until stopped. Returns the address it got.
pub(crate) async fn serve(
    listen: SocketAddr,
    board: Board,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, mostly: the next attempt would fail at once, and take a core for nothing.
                    tracing::debug!(error = %error, "a connection to the admin endpoint was not taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (board, metrics, stop) = (board.clone(), metrics.clone(), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let answer = answer(&request, &board, &metrics);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stop.cancelled() => {}
                    // A broken client is its own business.
                    _ = tokio::time::timeout(CONNECTION_MAX, connection) => {}
                }
            });
        }
    });
    Ok(address)
}

fn answer(request: &Request<Incoming>, board: &Board, metrics: &PrometheusHandle) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/" => respond(StatusCode::OK, "text/html; charset=utf-8", page::render(&board.document())),
        "/status.json" => match serde_json::to_string_pretty(&board.document()) {
            Ok(text) => respond(StatusCode::OK, "application/json", text + "\n"),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", error.to_string()),
        },
        "/metrics" => {
            telemetry::show(board);
            respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.render())
        }
        "/livez" => respond(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned()),
        "/readyz" => {
            let ready = board.document().ready;
            let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            respond(code, "text/plain; charset=utf-8", if ready { "ready\n" } else { "not ready\n" }.to_owned())
        }
        _ => respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "no such page\n".to_owned()),
    }
}

fn respond(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
