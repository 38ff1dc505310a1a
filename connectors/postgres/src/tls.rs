//! Encryption: libpq's five modes on rustls, with the provider named and no process-wide default. Reads certificate
//! files; opens no connection.

mod binding;
mod verify;

pub(crate) use binding::server_end_point;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidewire_core::{Error, Result};

/// How a connection is protected, libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Plain.
    Disable,
    /// Encrypted when the server offers it. Unlike libpq, a handshake that fails is not tried again in plain.
    Prefer,
    /// Encrypted; the server's certificate is checked only when a root certificate is given.
    Require,
    /// Encrypted, with a certificate that a trusted root has signed.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyFull,
}

impl TlsMode {
    /// From the name in a URL.
    pub(crate) fn from_name(name: &str) -> Option<TlsMode> {
        Some(match name {
            "disable" => TlsMode::Disable,
            "prefer" => TlsMode::Prefer,
            "require" => TlsMode::Require,
            "verify-ca" => TlsMode::VerifyCa,
            "verify-full" => TlsMode::VerifyFull,
            _ => return None,
        })
    }
}

/// What a URL says about encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// Mode.
    pub(crate) mode: TlsMode,
    /// File of trusted roots; the system's when absent.
    pub(crate) root_certificate: Option<PathBuf>,
    /// Files of our own certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
}

/// Builds rustls' configuration. Files are read at every connection, so that a renewed certificate is found.
pub(crate) fn client_config(settings: &TlsSettings) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::bug("tls_versions", "choose TLS versions").with_cause(cause))?;
    let builder = match (settings.mode, &settings.root_certificate) {
        (TlsMode::VerifyFull, _) => builder.with_webpki_verifier(chain_verifier(settings, provider)?),
        (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => {
            let verifier = verify::ChainOnly::new(chain_verifier(settings, provider)?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::Unverified::new(provider)))
        }
    };
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "sslcert")?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|cause| unreadable(key, "sslkey", cause))?;
            builder.with_client_auth_cert(chain, key).map_err(|cause| {
                Error::operator("tls_certificate", "use the client certificate")
                    .with_remedy("make sure that `sslkey` is the key of `sslcert`")
                    .with_cause(cause)
            })?
        }
    };
    Ok(Arc::new(config))
}

fn chain_verifier(settings: &TlsSettings, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match &settings.root_certificate {
        Some(file) => {
            for certificate in certificates(file, "sslrootcert")? {
                roots.add(certificate).map_err(|cause| {
                    Error::operator("tls_certificate", format!("use a root certificate of `{}`", file.display()))
                        .with_remedy("give a PEM file of CA certificates as `sslrootcert`")
                        .with_cause(cause)
                })?;
            }
        }
        // A broken file among the system's must not take the good ones away.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|cause| {
        Error::operator("tls_roots_missing", "no root certificate is trusted")
            .with_remedy("give the CA's certificate as `sslrootcert` in `url`, or install the system's CA certificates")
            .with_cause(cause)
    })
}

fn certificates(file: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|cause| unreadable(file, key, cause))?;
    if certificates.is_empty() {
        let message = format!("`{}` holds no certificate", file.display());
        return Err(Error::operator("tls_certificate", message).with_remedy(format!("give a PEM file as `{key}`")));
    }
    Ok(certificates)
}

fn unreadable(file: &Path, key: &'static str, cause: rustls_pki_types::pem::Error) -> Error {
    Error::operator("tls_certificate", format!("read `{}`", file.display()))
        .with_remedy(format!("make `{key}` a PEM file that the daemon's user may read"))
        .with_cause(cause)
}
