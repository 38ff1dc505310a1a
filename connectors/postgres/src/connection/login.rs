//! The start-up of a session: its parameters, its pinned settings, and who we are. Refuses to show a password to
//! whoever listens on the way.

use super::{Connection, Dialed, read};
use crate::config::Settings;
use crate::error::protocol;
use crate::wire::frame::{BODY_MAX, FrameBuffer, LOGIN_BODY_MAX};
use crate::wire::message::{self, Authentication, server_error};
use bytes::BytesMut;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use tidewire_core::{Error, Result};

const ACT: &str = "log in";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionKind {
    /// Reads the log.
    Replication,
    /// Reads tables.
    Query,
}

/// Settings that shape values as text or end sessions. They are ours in every session, whatever the login's, the
/// database's or the server's defaults are: the start-up packet ranks above `ALTER ROLE` and `ALTER DATABASE`
/// (R7, PG-90). `client_min_messages` is among them because PostgreSQL 18 says only in a warning that it skips a
/// publication (PG-10).
const PINNED: &[(&str, &str)] = &[
    ("DateStyle", "ISO,YMD"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("search_path", ""),
    ("row_security", "off"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("client_min_messages", "warning"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_isolation", "read\\ committed"),
    ("default_transaction_deferrable", "off"),
];

/// Turns off the limits on sessions that older servers do not know, and would refuse a start-up packet for:
/// `idle_session_timeout` came with 14, `transaction_timeout` with 17.
pub(crate) const UNLIMITED: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
                                    WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

/// Whether a pinned setting that shapes values does not hold after all, by its name. A pooler may drop what the start-up
/// packet asks for (PgBouncer's `ignore_startup_parameters`), and then values would come as the login's defaults print
/// them (PG-86, PG-90).
pub(crate) const UNPINNED: &str = "\
    SELECT s.name FROM pg_catalog.pg_settings s, \
           (VALUES ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'), \
                   ('extra_float_digits', '3'), ('search_path', ''), ('row_security', 'off'), ('bytea_output', 'hex'), \
                   ('lc_monetary', 'C'), ('xmlbinary', 'base64'), ('client_encoding', 'UTF8')) AS w(name, value) \
     WHERE s.name OPERATOR(pg_catalog.=) w.name AND s.setting OPERATOR(pg_catalog.<>) w.value";

/// The error for such a setting.
pub(crate) fn unpinned(name: &str) -> Error {
    Error::operator("session_settings_refused", format!("the session's `{name}` is not what the log-in asked for"))
        .with_remedy(
            "let `url` lead to the PostgreSQL server itself and not to a pooler, which keeps settings to itself",
        )
}

/// The pinned settings as the start-up packet's `options`.
pub(crate) fn session_options(settings: &Settings) -> String {
    let mut options = String::new();
    for (name, value) in PINNED {
        options.push_str("-c ");
        options.push_str(name);
        options.push('=');
        options.push_str(value);
        options.push(' ');
    }
    options.push_str("-c lock_timeout=");
    options.push_str(&settings.lock_timeout.as_millis().to_string());
    options
}

/// Logs in over an open stream.
pub(super) async fn login(dialed: Dialed, settings: &Settings, kind: SessionKind) -> Result<Connection> {
    let overheard = dialed.can_be_overheard();
    let mut connection = Connection {
        stream: dialed.stream,
        frames: FrameBuffer::new(LOGIN_BODY_MAX),
        out: BytesMut::new(),
        server_version: 0,
        unchecked_text: false,
    };
    let options = session_options(settings);
    let mut parameters = vec![
        ("user", settings.user.as_str()),
        ("database", &settings.database),
        ("application_name", &settings.application_name),
        ("client_encoding", "UTF8"),
        ("options", &options),
    ];
    if kind == SessionKind::Replication {
        parameters.push(("replication", "database"));
    }
    frontend::startup_message(parameters, &mut connection.out)
        .map_err(|cause| Error::configuration("login_parameters", ACT).with_cause(cause))?;
    connection.send(ACT).await?;
    let mut exchange = Exchange { settings, binding: dialed.binding, overheard, scram: None, proven: true };
    loop {
        let Connection { stream, frames, out, .. } = &mut connection;
        let Some(frame) = frames.next_frame().map_err(|cause| protocol(cause.to_string()))? else {
            read(stream, frames, ACT).await?;
            continue;
        };
        match frame.tag {
            b'R' => {
                let request = message::authentication(frame.body).map_err(|cause| protocol(cause.to_string()))?;
                exchange.answer(request, out)?;
                if !out.is_empty() {
                    connection.send(ACT).await?;
                }
            }
            b'S' => {
                let (name, value) =
                    message::parameter_status(frame.body).map_err(|cause| protocol(cause.to_string()))?;
                match name {
                    "server_version" => connection.server_version = version_number(value),
                    "server_encoding" => connection.unchecked_text = value == "SQL_ASCII",
                    _ => {}
                }
            }
            b'E' => return Err(server_error(frame.body).into_error(ACT)),
            b'Z' => break,
            // Cancellation key, notices, negotiation of minor protocol versions.
            b'K' | b'N' | b'v' => {}
            other => return Err(protocol(format!("message kind {other:#04x} was not expected at login"))),
        }
    }
    if !exchange.proven {
        return Err(protocol("the server let us in without proving that it knows the password"));
    }
    if connection.server_version < 130_000 {
        return Err(Error::operator("server_too_old", "the server is older than PostgreSQL 13")
            .with_remedy("upgrade the server"));
    }
    connection.frames.set_limit(BODY_MAX);
    Ok(connection)
}

/// `15.4 (Debian ...)`, `17beta1`: the number as `server_version_num` has it, 0 when it cannot be read.
fn version_number(text: &str) -> u32 {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let major = parts.next().and_then(|digits| digits.parse::<u32>().ok());
    let minor = parts.next().and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    major.and_then(|major| major.checked_mul(10_000)?.checked_add(minor)).unwrap_or(0)
}

/// An authentication exchange.
struct Exchange<'a> {
    settings: &'a Settings,
    binding: Option<Vec<u8>>,
    overheard: bool,
    scram: Option<sasl::ScramSha256>,
    /// Whether the server has proved itself as far as the mechanism lets it.
    proven: bool,
}

impl Exchange<'_> {
    fn answer(&mut self, request: Authentication<'_>, out: &mut BytesMut) -> Result<()> {
        match request {
            Authentication::Ok => Ok(()),
            Authentication::Cleartext if self.overheard => Err(overheard()),
            Authentication::Cleartext => {
                let password = self.password()?;
                encode(frontend::password_message(password.reveal().as_bytes(), out))
            }
            Authentication::Md5(salt) => {
                let password = self.password()?;
                let hash = md5_hash(self.settings.user.as_bytes(), password.reveal().as_bytes(), salt);
                encode(frontend::password_message(hash.as_bytes(), out))
            }
            Authentication::Sasl(mechanisms) => self.begin(&mechanisms, out),
            Authentication::SaslContinue(data) => {
                let scram = self.scram.as_mut().ok_or_else(|| protocol("the server skips a step of the login"))?;
                scram.update(data).map_err(refused)?;
                encode(frontend::sasl_response(scram.message(), out))
            }
            Authentication::SaslFinal(data) => {
                let mut scram = self.scram.take().ok_or_else(|| protocol("the server skips a step of the login"))?;
                scram.finish(data).map_err(refused)?;
                self.proven = true;
                Ok(())
            }
            Authentication::Other(code) => {
                Err(Error::operator("authentication_unsupported", format!("the server asks for login method {code}"))
                    .with_remedy("use `scram-sha-256` or `cert` in pg_hba.conf for the login"))
            }
        }
    }

    fn begin(&mut self, mechanisms: &[&str], out: &mut BytesMut) -> Result<()> {
        let plus = mechanisms.contains(&"SCRAM-SHA-256-PLUS");
        let (mechanism, binding) = match (plus, self.binding.take()) {
            (true, Some(data)) => ("SCRAM-SHA-256-PLUS", sasl::ChannelBinding::tls_server_end_point(data)),
            // We could bind, the server did not offer to: say so, and it refuses if someone struck the offer out.
            (false, Some(_)) => ("SCRAM-SHA-256", sasl::ChannelBinding::unrequested()),
            (_, None) => ("SCRAM-SHA-256", sasl::ChannelBinding::unsupported()),
        };
        if !mechanisms.contains(&mechanism) {
            return Err(Error::operator(
                "authentication_unsupported",
                "the server offers no login method that we know",
            )
            .with_remedy("use `scram-sha-256` in pg_hba.conf for the login"));
        }
        let password = self.password()?;
        let scram = sasl::ScramSha256::new(password.reveal().as_bytes(), binding);
        encode(frontend::sasl_initial_response(mechanism, scram.message(), out))?;
        self.scram = Some(scram);
        self.proven = false;
        Ok(())
    }

    fn password(&self) -> Result<tidewire_core::secret::Secret> {
        let Some(reference) = &self.settings.password else {
            return Err(Error::operator("password_missing", "the server asks for a password and none is given")
                .with_remedy("set `password` in the source's `postgres` table"));
        };
        self.settings.secrets.resolve(reference)
    }
}

fn encode(done: std::io::Result<()>) -> Result<()> {
    done.map_err(|cause| Error::configuration("login_parameters", ACT).with_cause(cause))
}

/// A server that asks for the password as it is where others could hear it.
pub(crate) fn overheard() -> Error {
    Error::operator("cleartext_password", "the server asks for the password in clear text over a plain connection")
        .with_remedy("use `scram-sha-256` in pg_hba.conf, or `sslmode=verify-full` in `url`")
}

fn refused(cause: std::io::Error) -> Error {
    Error::operator("server_unproven", "check the server's proof that it knows the password")
        .with_remedy("make sure that `url` leads to the right server")
        .with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_kinds() {
        for (text, number) in
            [("15.18 (Debian 15.18-0)", 150_018), ("17beta1", 170_000), ("18", 180_000), ("x", 0), ("", 0)]
        {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
