//! An open stream: plain, local or encrypted.

use crate::settings::{TlsNames, TlsSettings, client_config};
use rustix::net::sockopt;
use rustls_pki_types::{CertificateDer, ServerName};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tidewire_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A silent peer is given up after `KEEPALIVE_IDLE + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL`, 30 s (PG-71, MY-58).
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;
/// Sent bytes that are not taken for so long end the connection.
const USER_TIMEOUT_MILLIS: u32 = 30_000;

/// An open stream.
#[derive(Debug)]
pub enum Stream {
    /// Plain.
    Tcp(TcpStream),
    /// A local socket.
    Unix(UnixStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether somebody on the way could read what is sent.
    pub fn can_be_overheard(&self) -> bool {
        matches!(self, Stream::Tcp(_))
    }

    /// The server's own certificate, of an encrypted stream.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Stream::Tls(stream) => stream.get_ref().1.peer_certificates().and_then(<[_]>::first),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }
}

/// Sets a new connection's options: no delay, and an end to a peer that has fallen silent.
pub fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    sockopt::set_tcp_user_timeout(stream, USER_TIMEOUT_MILLIS)?;
    Ok(())
}

/// Agrees on encryption with `host` over a connection on which the server now waits for that.
pub async fn encrypt(settings: &TlsSettings, names: &TlsNames, host: &str, stream: TcpStream) -> Result<Stream> {
    let connector = TlsConnector::from(client_config(settings, names)?);
    let server_name = ServerName::try_from(host.to_owned())
        .map_err(|cause| Error::configuration("host_name", format!("`{host}` is no host name")).with_cause(cause))?;
    let stream = connector.connect(server_name, stream).await.map_err(|cause| refused(names, host, cause))?;
    Ok(Stream::Tls(Box::new(stream)))
}

fn refused(names: &TlsNames, host: &str, cause: std::io::Error) -> Error {
    let act = format!("agree on encryption with `{host}`");
    if cause.kind() != std::io::ErrorKind::InvalidData {
        return Error::retry("connection_lost", act).with_cause(cause);
    }
    Error::operator("tls_refused", act)
        .with_remedy(format!(
            "give the CA's certificate as `{}` and the name in the server's certificate as host in `url`; \
             `{}` encrypts without proof of who answers",
            names.root_certificate, names.unproven
        ))
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
