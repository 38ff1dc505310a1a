//! From a host to an open stream and the server's greeting, and to encryption before anything of ours is said.

use super::{misread, read, unreadable};
use crate::config::{Compression, Host, Settings};
use crate::error::{connection_lost, protocol};
use crate::wire::answer::{is_error, server_error};
use crate::wire::login::{Greeting, capability, greeting, ssl_request};
use crate::wire::packet::{LOGIN_PACKET_MAX, frame};
use crate::wire::reader::Reader;
use tidewire_core::{Error, Result};
use tidewire_tls::{Stream, TlsMode, TlsNames, encrypt, tune};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

const ACT: &str = "log in";

/// The mysql client's names.
const TLS_NAMES: TlsNames =
    TlsNames { root_certificate: "ssl-ca", certificate: "ssl-cert", key: "ssl-key", unproven: "ssl-mode=REQUIRED" };

/// A stream on which the server waits for our login.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) stream: Stream,
    pub(super) reader: Reader,
    pub(super) greeting: Greeting,
    /// What both sides can do and we want.
    pub(super) capabilities: u32,
}

/// Connects. The caller limits the time.
pub(super) async fn dial(settings: &Settings, host: &Host) -> Result<Dialed> {
    let refused = |cause| {
        Error::retry("connect", format!("connect to `{host}`"))
            .with_remedy("make sure that the server runs and that `url` names it")
            .with_cause(cause)
    };
    let mut stream = match host {
        Host::Unix(path) => Stream::Unix(UnixStream::connect(path).await.map_err(refused)?),
        Host::Tcp(name, port) => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(refused)?;
            tune(&stream).map_err(refused)?;
            Stream::Tcp(stream)
        }
    };
    let mut reader = Reader::new(LOGIN_PACKET_MAX);
    let greeting = receive_greeting(&mut stream, &mut reader).await?;
    let wanted = wanted(settings.compression, &greeting)?;
    match (host, stream) {
        (Host::Tcp(name, _), Stream::Tcp(stream)) => protect(settings, name, stream, reader, greeting, wanted).await,
        // What is local needs no encryption.
        (_, stream) => Ok(Dialed { stream, reader, greeting, capabilities: wanted }),
    }
}

async fn receive_greeting(stream: &mut Stream, reader: &mut Reader) -> Result<Greeting> {
    let place = loop {
        match reader.advance().map_err(|cause| unreadable(ACT, cause))? {
            Some(place) => break place,
            None => read(stream, reader, ACT).await?,
        }
    };
    let message = reader.message(place);
    if is_error(message) {
        return Err(server_error(message).into_error(ACT));
    }
    greeting(message).map_err(|cause| misread(ACT, cause))
}

/// What we need and what we would like, of what the server can do.
fn wanted(compression: Compression, greeting: &Greeting) -> Result<u32> {
    const NEEDED: u32 = capability::PROTOCOL_41
        | capability::TRANSACTIONS
        | capability::SECURE_CONNECTION
        | capability::PLUGIN_AUTH
        | capability::CONNECT_ATTRIBUTES
        | capability::PLUGIN_AUTH_LENGTH_ENCODED;
    if !greeting.can(NEEDED) {
        return Err(protocol(format!("the server `{}` cannot speak the protocol of MySQL 5.7", greeting.version)));
    }
    let compressed = match compression {
        Compression::None => 0,
        Compression::Zlib => capability::COMPRESS,
        Compression::Zstd => capability::ZSTD,
    };
    if !greeting.can(compressed) {
        return Err(Error::operator("compression_not_offered", "the server does not offer this compression")
            .with_remedy(
                "take another `compression` in `url`: `zstd` needs MySQL 8.0.18, and MariaDB has `zlib` only",
            ));
    }
    Ok(NEEDED | compressed | capability::LONG_PASSWORD | capability::LONG_FLAG)
}

/// Encrypts where the settings want it. Whoever strikes the offer out of the greeting on the way is refused, unless the
/// settings do without (MY-56).
async fn protect(
    settings: &Settings,
    name: &str,
    mut stream: TcpStream,
    mut reader: Reader,
    greeting: Greeting,
    capabilities: u32,
) -> Result<Dialed> {
    let mode = settings.tls.mode;
    let offered = greeting.can(capability::SSL);
    if mode == TlsMode::Disable || mode == TlsMode::Prefer && !offered {
        return Ok(Dialed { stream: Stream::Tcp(stream), reader, greeting, capabilities });
    }
    if !offered {
        return Err(Error::operator("tls_not_offered", format!("`{name}` does not offer encryption")).with_remedy(
            "set `ssl_cert` and `ssl_key` on the server, or `ssl-mode=DISABLED` in `url` where the network is trusted",
        ));
    }
    // What somebody adds behind the greeting must not count as said by the server that proves itself now.
    if !reader.is_empty() {
        return Err(protocol(format!("`{name}` speaks before it is asked")));
    }
    let capabilities = capabilities | capability::SSL;
    let mut out = Vec::new();
    let next = frame(&ssl_request(capabilities), reader.sequence(), &mut out);
    reader.expect(next);
    stream.write_all(&out).await.map_err(|cause| connection_lost("ask for encryption", cause))?;
    let stream = encrypt(&settings.tls, &TLS_NAMES, name, stream).await?;
    Ok(Dialed { stream, reader, greeting, capabilities })
}
