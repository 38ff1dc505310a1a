//! The messages of the login: the server's greeting, our answer, and what is asked after that. See "Connection Phase" in
//! the protocol's documentation. Parses the greeting itself because mysql_common's reader may overflow on one.

use super::answer::{AnswerError, Fields};
use super::command::push_length;

/// What both sides can do. See "Capabilities Flags" in the protocol's documentation.
pub(crate) mod capability {
    /// Set by MySQL and not by MariaDB.
    pub(crate) const LONG_PASSWORD: u32 = 1;
    /// All flags of columns.
    pub(crate) const LONG_FLAG: u32 = 1 << 2;
    /// Compression by zlib.
    pub(crate) const COMPRESS: u32 = 1 << 5;
    /// The protocol since 4.1.
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    /// Encryption.
    pub(crate) const SSL: u32 = 1 << 11;
    /// A status in answers.
    pub(crate) const TRANSACTIONS: u32 = 1 << 13;
    /// Scrambled passwords since 4.1.
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    /// Login methods by name.
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    /// Facts about the client.
    pub(crate) const CONNECT_ATTRIBUTES: u32 = 1 << 20;
    /// Long proofs.
    pub(crate) const PLUGIN_AUTH_LENGTH_ENCODED: u32 = 1 << 21;
    /// Compression by zstd.
    pub(crate) const ZSTD: u32 = 1 << 26;
}

/// `utf8mb4_general_ci`, which all versions have.
const COLLATION: u8 = 45;
/// zstd's level for what the server sends.
const ZSTD_LEVEL: u8 = 3;

/// The server's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Version as the server words it, without MariaDB's `5.5.5-` in front.
    pub(crate) version: String,
    /// What the proof of the password is mixed with, 20 bytes.
    pub(crate) nonce: Vec<u8>,
    /// What the server can do.
    pub(crate) capabilities: u32,
    /// Its preferred login method.
    pub(crate) plugin: String,
}

impl Greeting {
    /// Whether the server can do all of it.
    pub(crate) fn can(&self, capabilities: u32) -> bool {
        self.capabilities & capabilities == capabilities
    }
}

/// Reads a greeting of protocol 10, which is no error.
pub(crate) fn greeting(message: &[u8]) -> Result<Greeting, AnswerError> {
    let what = "the server's greeting";
    let mut fields = Fields::new(what, message);
    if fields.u8()? != 10 {
        return Err(AnswerError::Nonsense(what));
    }
    let version = String::from_utf8_lossy(fields.zero_ended()).into_owned();
    let version = version.strip_prefix("5.5.5-").map(str::to_owned).unwrap_or(version);
    // The session's number.
    fields.bytes(4)?;
    let mut nonce = fields.bytes(8)?.to_vec();
    fields.u8()?;
    let low = fields.u16()?;
    // Collation and status.
    fields.bytes(3)?;
    let high = fields.u16()?;
    let capabilities = u32::from(low) | u32::from(high) << 16;
    let nonce_length = usize::from(fields.u8()?);
    // Filler, and MariaDB's own capabilities.
    fields.bytes(10)?;
    if capabilities & capability::SECURE_CONNECTION != 0 {
        let second = fields.bytes(nonce_length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(second);
        nonce.truncate(20);
    }
    let plugin = match capabilities & capability::PLUGIN_AUTH {
        0 => String::new(),
        _ => String::from_utf8_lossy(fields.zero_ended()).into_owned(),
    };
    Ok(Greeting { version, nonce, capabilities, plugin })
}

/// Asks for encryption; the head of [`login`].
pub(crate) fn ssl_request(capabilities: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend_from_slice(&capabilities.to_le_bytes());
    // The longest message that we send or take.
    out.extend_from_slice(&(1u32 << 30).to_le_bytes());
    out.push(COLLATION);
    out.extend_from_slice(&[0; 23]);
    out
}

/// Our answer to the greeting: who we are, and a first proof by a method.
pub(crate) fn login(capabilities: u32, user: &str, plugin: &str, proof: &[u8], attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut out = ssl_request(capabilities);
    out.extend_from_slice(user.as_bytes());
    out.push(0);
    push_string(proof, &mut out);
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    let mut all = Vec::new();
    for (name, value) in attributes {
        push_string(name.as_bytes(), &mut all);
        push_string(value.as_bytes(), &mut all);
    }
    push_string(&all, &mut out);
    if capabilities & capability::ZSTD != 0 {
        out.push(ZSTD_LEVEL);
    }
    out
}

fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    push_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// What the server wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoginStep<'a> {
    /// Nothing: we are in.
    Done,
    /// Proof by another method, with new data to mix it with.
    Switch {
        /// Its name.
        plugin: &'a str,
        /// Its data; some methods have a zero at the end of it, some need not.
        data: &'a [u8],
    },
    /// The next step of the method.
    More(&'a [u8]),
}

/// Reads what the server says after our answer, which is no error.
pub(crate) fn step(message: &[u8]) -> Result<LoginStep<'_>, AnswerError> {
    let what = "a step of the login";
    let mut fields = Fields::new(what, message);
    match fields.u8()? {
        0 => Ok(LoginStep::Done),
        1 => Ok(LoginStep::More(fields.rest())),
        // Without a name: the method of before 4.1.
        0xFE if message.len() == 1 => Ok(LoginStep::Switch { plugin: "mysql_old_password", data: &[] }),
        0xFE => {
            let plugin = std::str::from_utf8(fields.zero_ended()).map_err(|_| AnswerError::Nonsense(what))?;
            Ok(LoginStep::Switch { plugin, data: fields.rest() })
        }
        // MariaDB's parsec in its first versions sends its data without the mark.
        b'P' => Ok(LoginStep::More(message)),
        _ => Err(AnswerError::Nonsense(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(version: &[u8], capabilities: u32, plugin: &[u8]) -> Vec<u8> {
        let [a, b, c, d] = capabilities.to_le_bytes();
        let mut out = vec![10];
        out.extend_from_slice(version);
        out.extend_from_slice(b"\0\x07\0\0\0abcdefgh\0");
        out.extend_from_slice(&[a, b, 45, 2, 0, c, d, 21]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(b"ijklmnopqrst\0");
        out.extend_from_slice(plugin);
        out.push(0);
        out
    }

    #[test]
    fn greetings_of_both_servers() {
        let capabilities = capability::SECURE_CONNECTION | capability::PLUGIN_AUTH | capability::SSL;
        for (version, shown) in [(&b"8.0.31"[..], "8.0.31"), (b"5.5.5-10.11.6-MariaDB-log", "10.11.6-MariaDB-log")] {
            let greeting = greeting(&message(version, capabilities, b"caching_sha2_password")).unwrap();
            assert_eq!(greeting.version, shown);
            assert_eq!(greeting.nonce, b"abcdefghijklmnopqrst");
            assert_eq!(greeting.plugin, "caching_sha2_password");
            assert!(greeting.can(capability::SSL) && !greeting.can(capability::COMPRESS));
        }
        // A length of the nonce that makes mysql_common overflow.
        let mut odd = message(b"8.0.31", capabilities, b"x");
        let place = 1 + 7 + 4 + 8 + 1 + 7;
        odd[place] = 0x80;
        assert!(greeting(&odd).is_err());
        assert!(greeting(b"\x09").is_err());
    }

    #[test]
    fn our_answer_as_bytes() {
        let bytes = login(capability::ZSTD, "me", "m", b"proof", &[("k", "v")]);
        assert_eq!(&bytes[..9], b"\0\0\0\x04\0\0\0\x40\x2D");
        assert_eq!(&bytes[32..], b"me\0\x05proofm\0\x04\x01k\x01v\x03");
    }

    #[test]
    fn steps() {
        assert_eq!(step(b"\0\0\0\x02\0\0\0"), Ok(LoginStep::Done));
        assert_eq!(step(b"\x01\x04"), Ok(LoginStep::More(b"\x04")));
        let switch = LoginStep::Switch { plugin: "mysql_native_password", data: b"nonce\0" };
        assert_eq!(step(b"\xFEmysql_native_password\0nonce\0"), Ok(switch));
        let old = LoginStep::Switch { plugin: "mysql_old_password", data: b"" };
        assert_eq!(step(b"\xFE"), Ok(old));
        assert!(step(b"").is_err() && step(b"\x55").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = (greeting(&bytes), step(&bytes));
        }
    }
}
