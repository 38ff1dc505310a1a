//! A man in the middle: terminates TLS with a certificate of his own, opens TLS to the real server, and passes on what
//! he reads; or strikes the channel-bound login out of the server's offer first.

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tidewire_testkit::certificate::Certificates;

/// What he does with what he reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    None,
    StrikeBinding,
}

pub(super) struct Interceptor {
    port: u16,
}

/// Asks a server for TLS, see "SSLRequest" in the protocol chapter.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The server's offer of logins, and what is left of it.
const OFFER: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const STRUCK: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

impl Interceptor {
    /// Listens until the test's process ends.
    pub(super) fn start(target: u16, files: &Certificates, mischief: Mischief) -> Result<Interceptor> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = CertificateDer::pem_file_iter(&files.certificate)?.collect::<Result<Vec<_>, _>>()?;
        let theirs = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.key)?)?;
        let ours = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        let (theirs, ours) = (Arc::new(theirs), Arc::new(ours));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for victim in listener.incoming().flatten() {
                let (theirs, ours) = (Arc::clone(&theirs), Arc::clone(&ours));
                // Either side's end is the end of both.
                std::thread::spawn(move || between(victim, target, theirs, ours, mischief));
            }
        });
        Ok(Interceptor { port })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

fn between(
    mut victim: TcpStream,
    target: u16,
    theirs: Arc<ServerConfig>,
    ours: Arc<ClientConfig>,
    mischief: Mischief,
) -> Result<()> {
    let mut request = [0; 8];
    victim.read_exact(&mut request)?;
    if request != SSL_REQUEST {
        bail!("no request for TLS");
    }
    victim.write_all(b"S")?;
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    server.write_all(&SSL_REQUEST)?;
    let mut answer = [0];
    server.read_exact(&mut answer)?;
    let mut shown = ServerConnection::new(theirs)?;
    shown.complete_io(&mut victim)?;
    let mut asked = ClientConnection::new(ours, ServerName::try_from("localhost")?)?;
    asked.complete_io(&mut server)?;
    // From here on each side is asked in turn for what it has to say.
    for stream in [&victim, &server] {
        stream.set_read_timeout(Some(Duration::from_millis(5)))?;
        stream.set_nodelay(true)?;
    }
    let (mut victim, mut server) = (StreamOwned::new(shown, victim), StreamOwned::new(asked, server));
    loop {
        let Some(said) = heard(&mut victim)? else { return Ok(()) };
        server.write_all(&said)?;
        server.flush()?;
        let Some(mut said) = heard(&mut server)? else { return Ok(()) };
        if mischief == Mischief::StrikeBinding && said == OFFER {
            said = STRUCK.to_vec();
        }
        victim.write_all(&said)?;
        victim.flush()?;
    }
}

/// What a side has said by now; `None` at its end.
fn heard(stream: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 1 << 16];
    match stream.read(&mut bytes) {
        Ok(0) => Ok(None),
        Ok(count) => {
            bytes.truncate(count);
            Ok(Some(bytes))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(Some(Vec::new())),
        Err(error) => Err(error.into()),
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
