//! The connection URL, with several hosts. No message repeats the URL: it may hold a password.

use super::Faults;
use std::path::PathBuf;
use std::time::Duration;
use tidewire_core::secret::{Secret, SecretRef};
use tidewire_tls::{Host, TlsMode, TlsSettings, name_and_port, percent_decode, shown_key};

const KEY: &str = "url";
const PORT: u16 = 3306;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How the protocol is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// By zlib.
    Zlib,
    /// By zstd; MySQL from 8.0.18 on.
    Zstd,
}

/// What a URL says.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<SecretRef>,
    pub(super) tls: TlsSettings,
    pub(super) compression: Compression,
    pub(super) connect_timeout: Duration,
}

#[derive(Default)]
struct Parameters {
    mode: Option<TlsMode>,
    root_certificate: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    compression: Option<Compression>,
    connect_timeout: Option<Duration>,
    sockets: Vec<PathBuf>,
}

/// Reads a URL; `None` when the faults hold the reason.
pub(super) fn parse(text: &str, faults: &mut Faults) -> Option<Url> {
    let before = faults.list.len();
    let Some(rest) = text.strip_prefix("mysql://") else {
        faults.add(KEY, "must begin with `mysql://`".to_owned());
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
    let password = password.map(|text| decode("password", text));
    if user.is_empty() {
        faults.add(KEY, "names no user: write `mysql://user@host`".to_owned());
    }
    if !path.is_empty() {
        let message =
            "names a database, but a server has one log for all: write it without, and name tables in `tables`";
        faults.add(KEY, message.to_owned());
    }
    let mut parameters = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parameters.read(pair, query, faults);
    }
    let hosts = hosts(host_list, &parameters, faults);
    let mode = parameters.mode.unwrap_or_else(|| default_mode(&hosts, &parameters));
    if parameters.certificate.is_some() != parameters.key.is_some() {
        faults.add(KEY, "`ssl-cert` and `ssl-key` belong together".to_owned());
    }
    if faults.list.len() > before {
        return None;
    }
    Some(Url {
        hosts,
        user,
        password: password.map(|text| SecretRef::Inline(Secret::new(text))),
        tls: TlsSettings {
            mode,
            root_certificate: parameters.root_certificate,
            client: parameters.certificate.zip(parameters.key),
        },
        compression: parameters.compression.unwrap_or(Compression::None),
        connect_timeout: parameters.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
    })
}

/// As for the mysql client, a CA that is given is a CA that counts.
fn default_mode(hosts: &[Host], parameters: &Parameters) -> TlsMode {
    match (hosts.iter().all(Host::is_local), &parameters.root_certificate) {
        (false, _) => TlsMode::VerifyFull,
        (true, Some(_)) => TlsMode::VerifyCa,
        (true, None) => TlsMode::Prefer,
    }
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
            "ssl-mode" => match tls_mode(&value) {
                Some(mode) => self.mode = Some(mode),
                None => faults.add(
                    KEY,
                    "`ssl-mode` is one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY".to_owned(),
                ),
            },
            "sslmode" => match TlsMode::from_name(&value) {
                Some(mode) => self.mode = Some(mode),
                None => {
                    faults.add(KEY, "`sslmode` is one of disable, prefer, require, verify-ca, verify-full".to_owned())
                }
            },
            "ssl-ca" => self.root_certificate = Some(PathBuf::from(value)),
            "ssl-cert" => self.certificate = Some(PathBuf::from(value)),
            "ssl-key" => self.key = Some(PathBuf::from(value)),
            "compression" => match value.as_str() {
                "none" => self.compression = Some(Compression::None),
                "zlib" => self.compression = Some(Compression::Zlib),
                "zstd" => self.compression = Some(Compression::Zstd),
                _ => faults.add(KEY, "`compression` is one of none, zlib, zstd".to_owned()),
            },
            "connect_timeout" => match value.parse() {
                Ok(seconds @ 1..=600) => self.connect_timeout = Some(Duration::from_secs(seconds)),
                _ => faults.add(KEY, "`connect_timeout` is a number of seconds from 1 to 600".to_owned()),
            },
            "socket" if value.starts_with('/') => self.sockets.push(PathBuf::from(value)),
            "socket" => faults.add(KEY, "`socket` is the absolute path of a socket".to_owned()),
            _ => faults.add(
                KEY,
                format!(
                    "{shown} is not known: ssl-mode, ssl-ca, ssl-cert, ssl-key, connect_timeout, compression and \
                     socket are"
                ),
            ),
        }
    }
}

/// The mysql client's words, in any case.
fn tls_mode(name: &str) -> Option<TlsMode> {
    Some(match name.to_ascii_uppercase().as_str() {
        "DISABLED" => TlsMode::Disable,
        "PREFERRED" => TlsMode::Prefer,
        "REQUIRED" => TlsMode::Require,
        "VERIFY_CA" => TlsMode::VerifyCa,
        "VERIFY_IDENTITY" => TlsMode::VerifyFull,
        _ => return None,
    })
}

fn hosts(list: &str, parameters: &Parameters, faults: &mut Faults) -> Vec<Host> {
    let mut hosts = Vec::new();
    for item in list.split(',').filter(|_| !list.is_empty()) {
        match name_and_port(item, PORT) {
            Some((name, port)) => hosts.push(Host::Tcp(name, port)),
            None => faults.add(KEY, "has a host that cannot be read: write `name:port` or `[address]:port`".to_owned()),
        }
    }
    hosts.extend(parameters.sockets.iter().cloned().map(Host::Unix));
    if hosts.is_empty() && list.is_empty() {
        faults.add(KEY, "names no host: write `mysql://user@host`".to_owned());
    }
    hosts
}
