//! The connection URL, in libpq's form with several hosts. No message repeats the URL: it may hold a password.

use super::Faults;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidewire_core::secret::{Secret, SecretRef};
use tidewire_tls::{Host, TlsMode, TlsSettings, name_and_port, percent_decode, shown_key};

const KEY: &str = "url";
const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which server will do, libpq's `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The first that answers.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// No standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, else any.
    PreferStandby,
}

/// What a URL says.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<SecretRef>,
    pub(super) database: String,
    pub(super) tls: TlsSettings,
    pub(super) target: Target,
    pub(super) connect_timeout: Duration,
    pub(super) application_name: Option<String>,
}

#[derive(Default)]
struct Parameters {
    mode: Option<TlsMode>,
    root_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    target: Option<Target>,
    connect_timeout: Option<Duration>,
    application_name: Option<String>,
    sockets: Vec<PathBuf>,
    port: Option<u16>,
}

/// Reads a URL; `None` when the faults hold the reason.
pub(super) fn parse(text: &str, faults: &mut Faults) -> Option<Url> {
    let before = faults.list.len();
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let Some(rest) = rest else {
        faults.add(KEY, "must begin with `postgres://`".to_owned());
        return None;
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host_list) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));

    let mut decode = |what: &str, text: &str| {
        let decoded = percent_decode(text);
        if decoded.is_none() {
            faults.add(KEY, format!("the {what} holds a `%` that is no valid escape: write `%25` for `%` itself"));
        }
        decoded.unwrap_or_default()
    };
    let user = decode("user", user);
    let database = decode("database", path);
    let password = password.map(|text| decode("password", text));

    if user.is_empty() {
        faults.add(KEY, "names no user: write `postgres://user@host/database`".to_owned());
    }
    let mut parameters = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameters.read(pair, query, faults);
    }
    let hosts = hosts(host_list, &parameters, faults);
    let local = hosts.iter().all(Host::is_local);
    let mode = parameters.mode.unwrap_or(if local { TlsMode::Prefer } else { TlsMode::VerifyFull });
    if parameters.certificate.is_some() != parameters.key.is_some() {
        faults.add(KEY, "`sslcert` and `sslkey` belong together".to_owned());
    }
    if faults.list.len() > before {
        return None;
    }
    Some(Url {
        hosts,
        database: if database.is_empty() { user.clone() } else { database },
        user,
        password: password.map(|text| SecretRef::Inline(Secret::new(text))),
        tls: TlsSettings {
            mode,
            root_certificate: parameters.root_certificate,
            client: parameters.certificate.zip(parameters.key),
        },
        target: parameters.target.unwrap_or(Target::Any),
        connect_timeout: parameters.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        application_name: parameters.application_name,
    })
}

impl Parameters {
    fn read(&mut self, pair: &str, query: &str, faults: &mut Faults) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let shown = shown_key(query, key);
        let Some(value) = percent_decode(value) else {
            let message =
                format!("the value of {shown} holds a `%` that is no valid escape: write `%25` for `%` itself");
            faults.add(KEY, message);
            return;
        };
        match key {
            "sslmode" => match TlsMode::from_name(&value) {
                Some(mode) => self.mode = Some(mode),
                None => faults.add(
                    KEY,
                    "`sslmode` is one of disable, prefer, require, verify-ca, verify-full".to_owned(),
                ),
            },
            "sslrootcert" => self.root_certificate = (value != "system").then(|| PathBuf::from(value)),
            "sslcert" => self.certificate = Some(PathBuf::from(value)),
            "sslkey" => self.key = Some(PathBuf::from(value)),
            "target_session_attrs" => match target(&value) {
                Some(target) => self.target = Some(target),
                None => faults.add(
                    KEY,
                    "`target_session_attrs` is one of any, read-write, read-only, primary, standby, prefer-standby"
                        .to_owned(),
                ),
            },
            "connect_timeout" => match value.parse() {
                Ok(seconds @ 1..=600) => self.connect_timeout = Some(Duration::from_secs(seconds)),
                _ => faults.add(KEY, "`connect_timeout` is a number of seconds from 1 to 600".to_owned()),
            },
            "application_name" if value.len() <= 63 => self.application_name = Some(value),
            "application_name" => faults.add(KEY, "`application_name` has at most 63 bytes".to_owned()),
            "host" if value.starts_with('/') => self.sockets.push(PathBuf::from(value)),
            "host" => faults.add(KEY, "`host` is the absolute folder of a socket".to_owned()),
            "port" => match value.parse() {
                Ok(port @ 1..) => self.port = Some(port),
                _ => faults.add(KEY, "`port` is a number from 1 to 65535".to_owned()),
            },
            _ => faults.add(
                KEY,
                format!(
                    "{shown} is not known: sslmode, sslrootcert, sslcert, sslkey, target_session_attrs, connect_timeout, \
                     application_name, host and port are"
                ),
            ),
        }
    }
}

fn target(value: &str) -> Option<Target> {
    Some(match value {
        "any" => Target::Any,
        "read-write" => Target::ReadWrite,
        "read-only" => Target::ReadOnly,
        "primary" => Target::Primary,
        "standby" => Target::Standby,
        "prefer-standby" => Target::PreferStandby,
        _ => return None,
    })
}

fn hosts(list: &str, parameters: &Parameters, faults: &mut Faults) -> Vec<Host> {
    let mut hosts = Vec::new();
    let default_port = parameters.port.unwrap_or(PORT);
    for item in list.split(',').filter(|_| !list.is_empty()) {
        match host(item, default_port) {
            Some(host) => hosts.push(host),
            None => faults.add(KEY, "has a host that cannot be read: write `name:port` or `[address]:port`".to_owned()),
        }
    }
    hosts.extend(parameters.sockets.iter().map(|folder| socket(folder, default_port)));
    if hosts.is_empty() && list.is_empty() {
        faults.add(KEY, "names no host: write `postgres://user@host/database`".to_owned());
    }
    hosts
}

fn host(item: &str, default_port: u16) -> Option<Host> {
    let (name, port) = name_and_port(item, default_port)?;
    Some(match name.starts_with('/') {
        true => socket(Path::new(&name), port),
        false => Host::Tcp(name, port),
    })
}

/// The server's socket in a folder.
fn socket(folder: &Path, port: u16) -> Host {
    Host::Unix(folder.join(format!(".s.PGSQL.{port}")))
}
