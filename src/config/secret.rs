//! Reads secrets from files, the environment and systemd's credentials. Asked anew at every
//! connection, so that a rotated secret is found without a restart.

use std::path::{Path, PathBuf};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::{Error, Result};

/// Longest secret file that is read, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Resolves secrets for this process. Relative paths lie under `$CREDENTIALS_DIRECTORY` when systemd
/// set it, else under the working directory.
#[derive(Debug, Default)]
pub(crate) struct FileSecrets {
    credentials: Option<PathBuf>,
}

impl FileSecrets {
    /// Takes the credentials directory from the environment.
    pub(crate) fn from_environment() -> FileSecrets {
        FileSecrets { credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) }
    }

    fn place(&self, path: &Path) -> PathBuf {
        match &self.credentials {
            Some(directory) if path.is_relative() => directory.join(path),
            _ => path.to_owned(),
        }
    }
}

impl SecretResolver for FileSecrets {
    fn resolve(&self, secret: &SecretRef) -> Result<Secret> {
        match secret {
            SecretRef::Inline(text) => Ok(text.clone()),
            SecretRef::Env(name) => std::env::var(name).map(Secret::new).map_err(|_| {
                Error::operator("secret_missing", format!("the environment variable `{name}` is not set or not UTF-8"))
                    .with_remedy(format!("set `{name}` for the service"))
            }),
            SecretRef::File(path) => {
                let path = self.place(path);
                let read = || -> std::io::Result<String> {
                    if std::fs::metadata(&path)?.len() > SECRET_BYTES_MAX {
                        return Err(std::io::Error::other("the file is larger than a secret can be"));
                    }
                    std::fs::read_to_string(&path)
                };
                let text = read().map_err(|error| {
                    Error::operator("secret_missing", format!("read the secret file `{}`", path.display()))
                        .with_remedy("create the file, readable by the service's user")
                        .with_cause(error)
                })?;
                Ok(Secret::new(text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t))))
            }
        }
    }
}
