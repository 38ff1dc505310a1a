//! A certificate authority and a server certificate of its own for each run, made with the `openssl` program: tests
//! need real TLS, never a private key in the repository.

use crate::process;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of one run's authority and server, in PEM.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// What clients trust.
    pub authority: PathBuf,
    /// What the server shows; valid for `localhost` and `127.0.0.1`.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// What the client named [`CLIENT`] shows.
    pub client_certificate: PathBuf,
    /// That client's private key.
    pub client_key: PathBuf,
}

/// The client that has a certificate.
pub const CLIENT: &str = "cdc";

/// Makes them in `folder`.
pub fn generate(folder: &Path) -> Result<Certificates> {
    if !process::exists("openssl") {
        bail!("`openssl` is missing: install OpenSSL's command line tool");
    }
    let path = |name: &str| folder.join(name);
    let openssl = |arguments: &[&str]| process::output(Command::new("openssl").args(arguments).current_dir(folder));
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-sha256"];
    let authority = ["req", "-x509", "-days", "30", "-subj", "/CN=tidewire test authority"];
    openssl(&[&authority[..], &new_key[..], &["-keyout", "authority.key", "-out", "authority.pem"]].concat())?;
    let sign = |who: &str, subject: &str, extensions: &str| {
        let file = |ending: &str| format!("{who}.{ending}");
        let (key, request, extension, certificate) = (file("key"), file("csr"), file("ext"), file("pem"));
        let ask = ["req", "-subj", subject, "-keyout", &key, "-out", &request];
        openssl(&[&ask[..], &new_key[..]].concat())?;
        std::fs::write(path(&extension), extensions).context("write the certificate's names")?;
        let sign = ["x509", "-req", "-days", "30", "-sha256", "-in", &request, "-CA", "authority.pem"];
        let to = ["-CAkey", "authority.key", "-CAcreateserial", "-extfile", &extension, "-out", &certificate];
        openssl(&[&sign[..], &to[..]].concat())
    };
    sign("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")?;
    sign("client", &format!("/CN={CLIENT}"), "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")?;
    Ok(Certificates {
        authority: path("authority.pem"),
        certificate: path("server.pem"),
        key: path("server.key"),
        client_certificate: path("client.pem"),
        client_key: path("client.key"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_vouches_for_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let made = generate(folder.path()).unwrap();
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-verify_ip", "127.0.0.1", "-CAfile"]).arg(&made.authority).arg(&made.certificate);
        process::output(&mut verify).unwrap();
    }
}
