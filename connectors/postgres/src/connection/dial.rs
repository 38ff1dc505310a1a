//! From a host to an open stream: socket options, and TLS before anything else is said. One way for all sessions,
//! so that none is weaker than another.

use crate::config::{Host, Settings};
use crate::error::{connection_lost, protocol};
use crate::tls::{TlsMode, client_config, server_end_point};
use rustix::net::sockopt;
use rustls_pki_types::ServerName;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tidewire_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A silent peer is given up after `KEEPALIVE_IDLE + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL`, 30 s (PG-71).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;
/// Sent bytes that are not taken for so long end the connection.
const USER_TIMEOUT_MILLIS: u32 = 30_000;

/// An open stream.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Plain.
    Tcp(TcpStream),
    /// A local socket.
    Unix(UnixStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream and how it is protected.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The stream.
    pub(crate) stream: Stream,
    /// Data for channel binding; `None` when plain or when the certificate defines none.
    pub(crate) binding: Option<Vec<u8>>,
}

impl Dialed {
    /// Whether a password could be read on the way.
    pub(crate) fn can_be_overheard(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }
}

/// Connects. The caller limits the time.
pub(crate) async fn dial(settings: &Settings, host: &Host) -> Result<Dialed> {
    let refused = |cause| {
        Error::retry("connect", format!("connect to `{host}`"))
            .with_remedy("make sure that the server runs and that `url` names it")
            .with_cause(cause)
    };
    match host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(refused)?;
            Ok(Dialed { stream: Stream::Unix(stream), binding: None })
        }
        Host::Tcp(name, port) => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(refused)?;
            tune(&stream).map_err(refused)?;
            encrypt(settings, name, stream).await
        }
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MILLIS)?;
    Ok(())
}

async fn encrypt(settings: &Settings, name: &str, mut stream: TcpStream) -> Result<Dialed> {
    let mode = settings.tls.mode;
    if mode == TlsMode::Disable {
        return Ok(Dialed { stream: Stream::Tcp(stream), binding: None });
    }
    let lost = |cause| connection_lost("ask for encryption", cause);
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(lost)?;
    // One byte and no more: whatever a man in the middle adds before the handshake stays in the socket, where TLS
    // takes it for a broken record and refuses (PG-97, CVE-2021-23222).
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(lost)?;
    match (answer, mode) {
        ([b'S'], _) => {}
        ([b'N'], TlsMode::Prefer) => return Ok(Dialed { stream: Stream::Tcp(stream), binding: None }),
        ([b'N'], _) => {
            return Err(Error::operator("tls_not_offered", format!("`{name}` does not offer encryption")).with_remedy(
                "set `ssl = on` on the server, or `sslmode=disable` in `url` where the network is trusted",
            ));
        }
        _ => return Err(protocol(format!("`{name}` answers the request for encryption with neither yes nor no"))),
    }
    let connector = TlsConnector::from(client_config(&settings.tls)?);
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|cause| Error::configuration("host_name", format!("`{name}` is no host name")).with_cause(cause))?;
    let stream = connector.connect(server_name, stream).await.map_err(|cause| handshake_refused(name, cause))?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(|certificate| server_end_point(certificate));
    Ok(Dialed { stream: Stream::Tls(Box::new(stream)), binding })
}

fn handshake_refused(name: &str, cause: std::io::Error) -> Error {
    let act = format!("agree on encryption with `{name}`");
    if cause.kind() != std::io::ErrorKind::InvalidData {
        return Error::retry("connection_lost", act).with_cause(cause);
    }
    Error::operator("tls_refused", act)
        .with_remedy(
            "give the CA's certificate as `sslrootcert` and the name in the server's certificate as host in `url`; \
             `sslmode=require` encrypts without proof of who answers",
        )
        .with_cause(cause)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, space),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, space),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, space),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
