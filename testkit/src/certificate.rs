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
}

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
    let request = ["req", "-subj", "/CN=localhost"];
    openssl(&[&request[..], &new_key[..], &["-keyout", "server.key", "-out", "server.csr"]].concat())?;
    std::fs::write(path("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .context("write the certificate's names")?;
    let sign = ["x509", "-req", "-days", "30", "-sha256", "-in", "server.csr", "-CA", "authority.pem"];
    let to = ["-CAkey", "authority.key", "-CAcreateserial", "-extfile", "server.ext", "-out", "server.pem"];
    openssl(&[&sign[..], &to[..]].concat())?;
    Ok(Certificates { authority: path("authority.pem"), certificate: path("server.pem"), key: path("server.key") })
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
