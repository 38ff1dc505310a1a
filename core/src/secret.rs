//! Secrets as the configuration writes them, and a value that never prints itself. Reading a file
//! or a variable is I/O and belongs to whoever implements [`SecretResolver`].

use crate::error::Result;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::path::PathBuf;

/// Where a secret comes from: `"text"`, `{ file = "path" }` or `{ env = "NAME" }`.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// Written in the configuration itself.
    Inline(Secret),
    /// The content of a file, without a final line end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// Text that prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Reads secrets. Asked again at every connection, so that a rotated secret is found.
pub trait SecretResolver: Send + Sync {
    /// The secret's text.
    fn resolve(&self, secret: &SecretRef) -> Result<Secret>;
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Inline(_) => f.write_str("***"),
            SecretRef::File(path) => write!(f, "file {}", path.display()),
            SecretRef::Env(name) => write!(f, "env {name}"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<SecretRef, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret: \"text\", { file = \"path\" } or { env = \"NAME\" }")
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<SecretRef, E> {
        Ok(SecretRef::Inline(Secret::new(text)))
    }

    // Settings of object stores are secrets and numbers alike.
    fn visit_u64<E>(self, number: u64) -> std::result::Result<SecretRef, E> {
        Ok(SecretRef::Inline(Secret::new(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<SecretRef, E> {
        Ok(SecretRef::Inline(Secret::new(number.to_string())))
    }

    // `1.50` would become `1.5`, and the usual error prints it.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> std::result::Result<SecretRef, E> {
        Err(E::custom("a secret is text: write it in quotes"))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<SecretRef, E> {
        Ok(SecretRef::Inline(Secret::new(value.to_string())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<SecretRef, A::Error> {
        use serde::de::Error as _;
        let Some(key) = map.next_key::<String>()? else {
            return Err(A::Error::custom("an empty table is no secret: give `file` or `env`"));
        };
        let secret = match key.as_str() {
            "file" => SecretRef::File(map.next_value()?),
            "env" => SecretRef::Env(map.next_value()?),
            _ => return Err(A::Error::unknown_field(&key, &["file", "env"])),
        };
        if map.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("a secret has one origin: `file` or `env`"));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = SecretRef::Inline(Secret::new("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
