//! Where a server is, as connection URLs of databases write it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Name or address, and port.
    Tcp(String, u16),
    /// The socket itself.
    Unix(PathBuf),
}

impl Host {
    /// Whether it is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Host::Unix(_) => true,
            Host::Tcp(name, _) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp(name, port) => write!(f, "{name}:{port}"),
            Host::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Name and port of one host of a URL: `name`, `name:port`, `[address]` or `[address]:port`. `None` when it is none of these; what
/// stands for a name may be anything else that has neither a colon nor a NUL, such as a folder.
#[must_use]
pub fn name_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            (address.to_owned(), if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            (percent_decode(name)?, port)
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => default_port,
    };
    (!name.is_empty() && !name.contains('\0')).then_some((name, port))
}

/// A part of a URL without its escapes. `None` for one that is cut off or no hexadecimal, for bytes that are no UTF-8, and for a
/// NUL, which no protocol has room for.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok().filter(|text| !text.contains('\0'))
}

/// A key of a URL's query as a message may name it. A `?` that a password holds as it is ends the login there, and what
/// follows, up to the `@` before the host, would be taken for keys.
#[must_use]
pub fn shown_key(query: &str, key: &str) -> String {
    let is_word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    match is_word && !query.contains('@') {
        true => format!("`{key}`"),
        false => "a key that may be part of a password, in which `?` is written as `%3F`,".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_a_key() {
        for (query, key, shown) in [
            ("what=1&x=y", "what", true),
            ("ssl-mod=no", "ssl-mod", true),
            ("ecret@host/db", "ecret@host/db", false),
            ("secret&x@host/db", "secret", false),
            ("secret=x@host/db?sslmode=disable", "secret", false),
            ("s3cret", "s3cret", false),
            ("=1", "", false),
        ] {
            let named = shown_key(query, key);
            assert_eq!(named == format!("`{key}`"), shown, "{query}: {named}");
            assert!(shown || key.is_empty() || !named.contains(key), "{query}: {named}");
        }
    }

    #[test]
    fn hosts_as_urls_write_them() {
        for (text, expect) in [
            ("db", Some(("db", 7))),
            ("db:1", Some(("db", 1))),
            ("127.0.0.1:65535", Some(("127.0.0.1", 65535))),
            ("[::1]", Some(("::1", 7))),
            ("[2001:db8::1]:3307", Some(("2001:db8::1", 3307))),
            ("%2Frun%2Fdb", Some(("/run/db", 7))),
            ("", None),
            (":1", None),
            ("[]", None),
            ("[::1", None),
            ("[::1]x", None),
            ("::1", None),
            ("db:0", None),
            ("db:65536", None),
            ("db:", None),
            ("db%0", None),
            ("db%00", None),
        ] {
            let expect = expect.map(|(name, port)| (name.to_owned(), port));
            assert_eq!(name_and_port(text, 7), expect, "{text}");
        }
    }

    #[test]
    fn escapes_are_read_once() {
        for (text, expect) in [
            ("a%20b%2525", Some("a b%25")),
            ("%e6%97%A5+", Some("日+")),
            ("%", None),
            ("%2", None),
            ("%2g", None),
            ("%ff", None),
            ("%00", None),
        ] {
            assert_eq!(percent_decode(text).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        let tcp = |name: &str| Host::Tcp(name.to_owned(), 1);
        for (host, is_local, shown) in [
            (tcp("localhost"), true, "localhost:1"),
            (tcp("127.8.0.1"), true, "127.8.0.1:1"),
            (tcp("::1"), true, "[::1]:1"),
            (tcp("db.localhost"), false, "db.localhost:1"),
            (tcp("10.0.0.1"), false, "10.0.0.1:1"),
            (Host::Unix("/run/db".into()), true, "/run/db"),
        ] {
            assert_eq!((host.is_local(), host.to_string().as_str()), (is_local, shown));
        }
    }
}
