//! What a configuration says about encryption, and rustls' configuration made of it. Reads certificate files; opens no
//! connection.

use crate::verify;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidewire_core::{Error, Result};

/// How a connection is protected: libpq's `sslmode`, which MySQL's `ssl-mode` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain.
    Disable,
    /// Encrypted when the server offers it. A handshake that fails is not tried again in plain.
    Prefer,
    /// Encrypted; the server's certificate is checked only when a root certificate is given.
    Require,
    /// Encrypted, with a certificate that a trusted root has signed.
    VerifyCa,
    /// As `VerifyCa`, and the certificate names the host.
    VerifyFull,
}

impl TlsMode {
    /// From PostgreSQL's name in a URL.
    pub fn from_name(name: &str) -> Option<TlsMode> {
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
pub struct TlsSettings {
    /// Mode.
    pub mode: TlsMode,
    /// File of trusted roots; the system's when absent.
    pub root_certificate: Option<PathBuf>,
    /// Files of our own certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How a connector's URL names these settings, for what is told to operators.
#[derive(Clone, Copy, Debug)]
pub struct TlsNames {
    /// Key of the file of trusted roots.
    pub root_certificate: &'static str,
    /// Key of the file of our own certificate.
    pub certificate: &'static str,
    /// Key of the file of its private key.
    pub key: &'static str,
    /// The pair that encrypts without proof of who answers.
    pub unproven: &'static str,
}

/// Builds rustls' configuration. Files are read at every connection, so that a renewed certificate is found.
pub fn client_config(settings: &TlsSettings, names: &TlsNames) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::bug("tls_versions", "choose TLS versions").with_cause(cause))?;
    let builder = match (settings.mode, &settings.root_certificate) {
        (TlsMode::VerifyFull, _) => builder.with_webpki_verifier(chain_verifier(settings, names, provider)?),
        (TlsMode::VerifyCa, _) | (TlsMode::Require, Some(_)) => {
            let verifier = verify::ChainOnly::new(chain_verifier(settings, names, provider)?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        (TlsMode::Disable | TlsMode::Prefer | TlsMode::Require, _) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verify::Unverified::new(provider)))
        }
    };
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, names.certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|cause| unreadable(key, names.key, cause))?;
            builder.with_client_auth_cert(chain, key).map_err(|cause| {
                Error::operator("tls_certificate", "use the client certificate")
                    .with_remedy(format!("make sure that `{}` is the key of `{}`", names.key, names.certificate))
                    .with_cause(cause)
            })?
        }
    };
    Ok(Arc::new(config))
}

fn chain_verifier(
    settings: &TlsSettings,
    names: &TlsNames,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>> {
    let key = names.root_certificate;
    let mut roots = RootCertStore::empty();
    match &settings.root_certificate {
        Some(file) => {
            for certificate in certificates(file, key)? {
                roots.add(certificate).map_err(|cause| {
                    Error::operator("tls_certificate", format!("use a root certificate of `{}`", file.display()))
                        .with_remedy(format!("give a PEM file of CA certificates as `{key}`"))
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
            .with_remedy(format!(
                "give the CA's certificate as `{key}` in `url`, or install the system's CA certificates"
            ))
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
