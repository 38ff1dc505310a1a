//! The proof that we know the password, by the methods of both servers. What would show the password to somebody on the
//! way is refused (MY-55).
//!
//! The methods: "Authentication Method" in MySQL's protocol documentation; "Authentication Plugin - ed25519" and
//! "- PARSEC" in MariaDB's.

use super::misread;
use crate::config::{ServerKey, Settings};
use crate::error::protocol;
use crate::wire::answer::AnswerError;
use crate::wire::login::Greeting;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use mysql_common::scramble::{
    create_response_for_ed25519, create_response_for_parsec, scramble_native, scramble_sha256,
};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use tidewire_core::secret::Secret;
use tidewire_core::{Error, Result};

const ACT: &str = "log in";
const NATIVE: &str = "mysql_native_password";
const CACHING_SHA2: &str = "caching_sha2_password";
const SHA256: &str = "sha256_password";
const ED25519: &str = "client_ed25519";
const PARSEC: &str = "parsec";
const CLEAR: &str = "mysql_clear_password";

/// Length of what proofs by passwords are mixed with.
const NONCE: usize = 20;
/// The same, of the methods with signatures.
const LONG_NONCE: usize = 32;

/// A login's proof under way.
pub(super) struct Prover<'a> {
    settings: &'a Settings,
    password: Secret,
    plugin: String,
    nonce: Vec<u8>,
    overheard: bool,
    /// Whether the server's key was asked for, so that what comes next is it.
    key_asked: bool,
}

impl<'a> Prover<'a> {
    /// Of a connection that somebody could listen to, or not.
    pub(super) fn new(settings: &'a Settings, greeting: &Greeting, overheard: bool) -> Result<Prover<'a>> {
        let password = match &settings.password {
            Some(reference) => settings.secrets.resolve(reference)?,
            None => Secret::new(""),
        };
        // By any other method the first proof is left for when it is asked for.
        let plugin = if greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE }.to_owned();
        Ok(Prover { settings, password, plugin, nonce: greeting.nonce.clone(), overheard, key_asked: false })
    }

    /// The method that is used.
    pub(super) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What goes with our answer to the greeting.
    pub(super) fn first_proof(&self) -> Vec<u8> {
        match self.plugin.as_str() {
            CACHING_SHA2 => self.sha2_proof(),
            _ => self.native_proof(),
        }
    }

    /// The server wants another method; returns its first proof.
    pub(super) fn switch(&mut self, plugin: &str, data: &[u8]) -> Result<Vec<u8>> {
        self.plugin = plugin.to_owned();
        self.nonce = data.to_vec();
        self.key_asked = false;
        match plugin {
            NATIVE => {
                self.cut_nonce(NONCE)?;
                Ok(self.native_proof())
            }
            CACHING_SHA2 => {
                self.cut_nonce(NONCE)?;
                Ok(self.sha2_proof())
            }
            SHA256 => {
                self.cut_nonce(NONCE)?;
                // An empty password has no proof, only the zero at its end.
                if self.password.reveal().is_empty() { Ok(vec![0]) } else { self.whole_password(1) }
            }
            ED25519 => {
                self.cut_nonce(LONG_NONCE)?;
                Ok(create_response_for_ed25519(self.password.reveal().as_bytes(), &self.nonce).to_vec())
            }
            PARSEC => {
                self.cut_nonce(LONG_NONCE)?;
                // Asks for the login's salt.
                Ok(Vec::new())
            }
            CLEAR if self.overheard => Err(overheard()),
            CLEAR => Ok(self.ended_password()),
            _ => Err(unsupported(plugin)),
        }
    }

    /// The method's next step; `None` when there is nothing to say.
    pub(super) fn more(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>> {
        match (self.plugin.as_str(), data) {
            (CACHING_SHA2 | SHA256, key) if self.key_asked => {
                self.key_asked = false;
                self.encrypted_password(key).map(Some)
            }
            // The server had the password's hash at hand, and the proof is right.
            (CACHING_SHA2, [3]) => Ok(None),
            // It had not, and wants the password itself.
            (CACHING_SHA2, [4]) => self.whole_password(2).map(Some),
            (PARSEC, salt) => self.parsec_proof(salt).map(Some),
            _ => Err(misread(ACT, AnswerError::Nonsense("a step of the login"))),
        }
    }

    /// The password itself where nobody listens, or encrypted with the server's key; `request` asks for that.
    fn whole_password(&mut self, request: u8) -> Result<Vec<u8>> {
        if !self.overheard {
            return Ok(self.ended_password());
        }
        match &self.settings.server_key {
            ServerKey::File(path) => {
                let key = std::fs::read(path).map_err(|cause| {
                    Error::operator("server_public_key", format!("read `{}`", path.display()))
                        .with_remedy("make `server_public_key` a file that the daemon's user may read")
                        .with_cause(cause)
                })?;
                self.encrypted_password(&key)
            }
            ServerKey::Ask => {
                self.key_asked = true;
                Ok(vec![request])
            }
            ServerKey::Never => Err(overheard()),
        }
    }

    /// The password mixed with the nonce and encrypted by RSA with OAEP padding.
    fn encrypted_password(&self, key: &[u8]) -> Result<Vec<u8>> {
        let bad_key = || {
            Error::operator("server_public_key", "the server's public key cannot be used").with_remedy(
                "use encryption, `ssl-mode=VERIFY_IDENTITY` in `url`, or give the right `server_public_key`",
            )
        };
        let key = SubjectPublicKeyInfoDer::from_pem_slice(key).map_err(|cause| bad_key().with_cause(cause))?;
        let key = PublicEncryptingKey::from_der(&key).map_err(|cause| bad_key().with_cause(cause))?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| bad_key())?;
        let mut mixed = self.ended_password();
        for (byte, nonce) in mixed.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= nonce;
        }
        let mut out = vec![0; key.ciphertext_size()];
        let encrypted = key.encrypt(&OAEP_SHA1_MGF1SHA1, &mixed, &mut out, None);
        encrypted.map(|bytes| bytes.to_vec()).map_err(|_| {
            Error::operator("password_too_long", "the password is too long for the server's public key")
                .with_remedy("use encryption, `ssl-mode=VERIFY_IDENTITY` in `url`")
        })
    }

    fn ended_password(&self) -> Vec<u8> {
        let mut bytes = self.password.reveal().as_bytes().to_vec();
        bytes.push(0);
        bytes
    }

    fn native_proof(&self) -> Vec<u8> {
        scramble_native(&self.nonce, self.password.reveal().as_bytes()).map(|proof| proof.to_vec()).unwrap_or_default()
    }

    fn sha2_proof(&self) -> Vec<u8> {
        scramble_sha256(&self.nonce, self.password.reveal().as_bytes()).map(|proof| proof.to_vec()).unwrap_or_default()
    }

    /// The salt is `P`, the exponent of the number of rounds, and the salt's bytes.
    fn parsec_proof(&self, salt: &[u8]) -> Result<Vec<u8>> {
        /// MariaDB allows 0 to 3; more would let a server keep us busy.
        const EXPONENT_MAX: u8 = 3;
        let nonce: Option<&[u8; LONG_NONCE]> = self.nonce.first_chunk();
        match (salt, nonce) {
            ([b'P', exponent @ 0..=EXPONENT_MAX, salt @ ..], Some(nonce)) => {
                let rounds = 1024u32 << exponent;
                Ok(create_response_for_parsec(self.password.reveal().as_bytes(), nonce, rounds, salt).to_vec())
            }
            _ => Err(protocol("the server's salt cannot be read")),
        }
    }

    fn cut_nonce(&mut self, length: usize) -> Result<()> {
        if self.nonce.len() < length {
            return Err(misread(ACT, AnswerError::Short("a step of the login")));
        }
        self.nonce.truncate(length);
        Ok(())
    }
}

/// A server that wants the password as it is where others could hear it.
fn overheard() -> Error {
    Error::operator(
        "cleartext_password",
        "the server asks for the password itself over a connection that is not encrypted",
    )
    .with_remedy(
        "set `ssl-mode=VERIFY_IDENTITY` in `url`; or, for `caching_sha2_password`, give the server's key as \
             `server_public_key`",
    )
}

fn unsupported(plugin: &str) -> Error {
    let shown: String = plugin.chars().filter(|c| !c.is_control()).take(64).collect();
    Error::operator("authentication_unsupported", format!("the server asks for login method `{shown}`"))
        .with_remedy("create the login with `caching_sha2_password` (MySQL) or `ed25519` (MariaDB)")
}

#[cfg(test)]
mod tests;
