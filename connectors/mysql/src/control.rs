//! Control queries of `check` and `setup`: mysql_async where it keeps what the configuration promises, and our own
//! connection where it does not. It cannot prefer encryption, accepts no certificate by its chain alone (`VERIFY_CA`), and
//! asks a server in plain text for the key to encrypt the password with, unasked.

use crate::config::{Host, Settings};
use crate::connection::{Connection, ServerVersion, session_statements, supported};
use crate::error::{ServerError, connection_lost, protocol};
use crate::model::Flavour;
use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, OptsBuilder, SslOpts, Value};
use rustls::RootCertStore;
use tidewire_core::{Error, ErrorKind, Result};
use tidewire_tls::TlsMode;

/// Longest answer that is taken, in bytes of a packet.
const PACKET_MAX: usize = 64 << 20;

/// A session for control queries. Lives for one command; what runs on asks over a connection of its own.
pub(crate) struct Control {
    session: Session,
    version: ServerVersion,
    private: bool,
    host: Host,
}

enum Session {
    Library(Box<Conn>),
    Own(Box<Connection>),
}

/// Rows by the names of their columns, which differ between versions where their order does too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    names: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerRow<'a> {
    names: &'a [String],
    values: &'a [Option<String>],
}

impl Answer {
    /// The rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = AnswerRow<'_>> {
        self.rows.iter().map(|values| AnswerRow { names: &self.names, values })
    }

    /// The first value of the first row.
    pub(crate) fn single(&self) -> Option<&str> {
        self.rows().next()?.at(0)
    }
}

impl<'a> AnswerRow<'a> {
    /// The value at a place; `None` for null too.
    pub(crate) fn at(&self, index: usize) -> Option<&'a str> {
        self.values.get(index)?.as_deref()
    }

    /// The value under the first of some names that there is, without regard to case; `None` for null too.
    pub(crate) fn named(&self, names: &[&str]) -> Option<&'a str> {
        let index = names.iter().find_map(|name| self.names.iter().position(|own| own.eq_ignore_ascii_case(name)))?;
        self.at(index)
    }
}

impl Control {
    /// Connects to the first server that lets us in; one that cannot be reached is passed over.
    pub(crate) async fn open_any(settings: &Settings) -> Result<Control> {
        let mut first_error = None;
        for host in &settings.hosts {
            match Control::open(settings, host).await {
                Ok(control) => return Ok(control),
                Err(error) if error.kind() == ErrorKind::Retry => first_error = first_error.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::bug("hosts_empty", "no server is configured")))
    }

    /// Connects to one server.
    pub(crate) async fn open(settings: &Settings, host: &Host) -> Result<Control> {
        let Some(options) = options(settings, host)? else {
            let connection = Connection::open(settings, host).await?;
            let (version, private) = (connection.version().clone(), connection.is_private());
            let session = Session::Own(Box::new(connection));
            return Ok(Control { session, version, private, host: host.clone() });
        };
        let limit = settings.connect_timeout;
        let connected = tokio::time::timeout(limit, Conn::new(options)).await.unwrap_or_else(|_| {
            let cause = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(mysql_async::Error::Io(cause.into()))
        });
        let mut conn = connected.map_err(|cause| failed("log in", cause))?;
        let text: Option<String> =
            conn.query_first("SELECT VERSION()").await.map_err(|cause| failed("ask for the version", cause))?;
        let text = text.ok_or_else(|| protocol("the server does not tell its version"))?;
        let flavour = if text.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
        let version = supported(flavour, &text)?;
        for sql in session_statements(&version, settings.lock_timeout) {
            conn.query_drop(sql).await.map_err(|cause| failed("set up the session", cause))?;
        }
        Ok(Control { session: Session::Library(Box::new(conn)), version, private: true, host: host.clone() })
    }

    /// Who answered.
    pub(crate) fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// Whether others on the way cannot read along, or there is no way to speak of.
    pub(crate) fn is_private(&self) -> bool {
        self.private || self.host.is_local()
    }

    /// Runs a statement.
    pub(crate) async fn query(&mut self, act: &'static str, sql: &str) -> Result<Answer> {
        match &mut self.session {
            Session::Library(conn) => library_query(conn, act, sql).await,
            Session::Own(connection) => {
                let (names, rows) = connection.query_named(act, sql).await?;
                let row = |row: Vec<Option<Vec<u8>>>| row.into_iter().map(|value| text(act, value)).collect();
                Ok(Answer { names, rows: rows.into_iter().map(row).collect::<Result<_>>()? })
            }
        }
    }

    /// Runs a statement that the login may have no right to, or that the version may not know; `None` then.
    pub(crate) async fn query_if_allowed(&mut self, act: &'static str, sql: &str) -> Result<Option<Answer>> {
        match self.query(act, sql).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match error.code() {
                "permission_denied" | "request_not_understood" | "log_off" | "xa_refused" => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        match self.session {
            // The session is over either way.
            Session::Library(conn) => drop(conn.disconnect().await),
            Session::Own(connection) => connection.close().await,
        }
    }
}

async fn library_query(conn: &mut Conn, act: &'static str, sql: &str) -> Result<Answer> {
    let mut result = conn.query_iter(sql).await.map_err(|cause| failed(act, cause))?;
    let columns = result.columns();
    let names =
        columns.iter().flat_map(|columns| columns.iter()).map(|column| column.name_str().into_owned()).collect();
    let rows: Vec<mysql_async::Row> = result.collect().await.map_err(|cause| failed(act, cause))?;
    result.drop_result().await.map_err(|cause| failed(act, cause))?;
    let value = |value| match value {
        None | Some(Value::NULL) => Ok(None),
        Some(Value::Bytes(bytes)) => text(act, Some(bytes)),
        Some(_) => Err(protocol(format!("{act}: a value that is no text"))),
    };
    let row = |row: mysql_async::Row| row.unwrap_raw().into_iter().map(value).collect();
    Ok(Answer { names, rows: rows.into_iter().map(row).collect::<Result<_>>()? })
}

fn text(act: &str, value: Option<Vec<u8>>) -> Result<Option<String>> {
    let text = value.map(String::from_utf8).transpose();
    text.map_err(|_| protocol(format!("{act}: a value that is not UTF-8")))
}

/// mysql_async's options; `None` where it will not do.
fn options(settings: &Settings, host: &Host) -> Result<Option<OptsBuilder>> {
    let password = || settings.password.as_ref().map(|reference| settings.secrets.resolve(reference)).transpose();
    let builder = OptsBuilder::default()
        .user(Some(&settings.user))
        .prefer_socket(false)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(PACKET_MAX));
    let builder = match (host, settings.tls.mode) {
        (Host::Unix(path), _) => match path.to_str() {
            Some(path) => builder.socket(Some(path)),
            None => return Ok(None),
        },
        (Host::Tcp(name, port), TlsMode::VerifyFull) => {
            builder.ip_or_hostname(name.clone()).tcp_port(*port).ssl_opts(verified(settings)?)
        }
        (Host::Tcp(..), _) => return Ok(None),
    };
    Ok(Some(builder.pass(password()?.map(|password| password.reveal().to_owned()))))
}

/// Trusts the given roots, or the system's, and no others.
fn verified(settings: &Settings) -> Result<SslOpts> {
    let roots: Vec<_> = match &settings.tls.root_certificate {
        Some(file) => vec![file.clone().into()],
        None => {
            let mut store = RootCertStore::empty();
            let certificates = rustls_native_certs::load_native_certs().certs;
            // A broken one among them must not take the good ones away.
            let sound = certificates.into_iter().filter(|certificate| store.add(certificate.clone()).is_ok());
            sound.map(|certificate| certificate.to_vec().into()).collect()
        }
    };
    if roots.is_empty() {
        return Err(Error::operator("tls_roots_missing", "no root certificate is trusted")
            .with_remedy("give the CA's certificate as `ssl-ca` in `url`, or install the system's CA certificates"));
    }
    let client = settings.tls.client.as_ref();
    let client = client.map(|(certificate, key)| ClientIdentity::new(certificate.clone().into(), key.clone().into()));
    Ok(SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots).with_client_identity(client))
}

fn failed(act: &str, cause: mysql_async::Error) -> Error {
    let untrusted = || {
        Error::operator("tls_refused", format!("{act}: agree on encryption")).with_remedy(
            "give the CA's certificate as `ssl-ca` and the name in the server's certificate as host in `url`",
        )
    };
    match cause {
        mysql_async::Error::Server(error) => ServerError { number: error.code, message: error.message }.into_error(act),
        // A certificate that is not trusted comes as bytes that make no sense.
        mysql_async::Error::Io(mysql_async::IoError::Io(cause)) => match cause.kind() {
            std::io::ErrorKind::InvalidData => untrusted().with_cause(cause),
            _ => connection_lost(act, cause),
        },
        mysql_async::Error::Io(mysql_async::IoError::Tls(cause)) => untrusted().with_cause(cause),
        mysql_async::Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer) => Error::operator(
            "tls_not_offered",
            format!("{act}: the server does not offer encryption"),
        )
        .with_remedy(
            "set `ssl_cert` and `ssl_key` on the server, or `ssl-mode=DISABLED` in `url` where the network is trusted",
        ),
        other => Error::retry("connection_lost", act.to_owned()).with_cause(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::testing::settings;

    #[test]
    fn my_55_56_mysql_async_is_used_where_it_keeps_the_promise() {
        let used = |url: &str| {
            let settings = settings(url);
            options(&settings, &settings.hosts[0]).unwrap().is_some()
        };
        assert!(used("mysql://u@/?socket=/run/mysqld/mysqld.sock"));
        assert!(used("mysql://u@db?ssl-ca=/etc/ca.pem"));
        assert!(!used("mysql://u@db?ssl-mode=VERIFY_CA&ssl-ca=/etc/ca.pem"), "it ignores this");
        assert!(!used("mysql://u@db?ssl-mode=DISABLED"), "it asks for the key");
        assert!(!used("mysql://u@127.0.0.1"), "it does not prefer");
    }

    #[test]
    fn columns_by_any_of_their_names() {
        let answer = Answer {
            names: vec!["Server_id".to_owned(), "Host".to_owned()],
            rows: vec![vec![Some("7".to_owned()), None]],
        };
        let row = answer.rows().next().unwrap();
        assert_eq!(row.named(&["Server_Id"]), Some("7"));
        assert_eq!(row.named(&["Replica_UUID", "Host"]), None);
        assert_eq!(answer.single(), Some("7"));
    }
}
