//! From a host to an open stream: socket options, and TLS before anything else is said. One way for all sessions,
//! so that none is weaker than another.

use crate::binding::server_end_point;
use crate::config::{Host, Settings};
use crate::error::{connection_lost, protocol};
use tidewire_core::{Error, Result};
use tidewire_tls::{Stream, TlsMode, TlsNames, tune};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// libpq's names.
const TLS_NAMES: TlsNames =
    TlsNames { root_certificate: "sslrootcert", certificate: "sslcert", key: "sslkey", unproven: "sslmode=require" };

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
        self.stream.can_be_overheard()
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
    let stream = tidewire_tls::encrypt(&settings.tls, &TLS_NAMES, name, stream).await?;
    let binding = stream.peer_certificate().and_then(|certificate| server_end_point(certificate));
    Ok(Dialed { stream, binding })
}
