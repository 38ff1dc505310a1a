//! The login: who we are, the proof that we know the password, and then the compression that was agreed upon.

use super::dial::{Dialed, dial};
use super::prove::Prover;
use super::{Connection, ServerVersion, misread};
use crate::config::{Compression, Host, Settings};
use crate::error::protocol;
use crate::model::Flavour;
use crate::wire::answer::{is_error, server_error};
use crate::wire::inflate::Codec;
use crate::wire::login::{Greeting, LoginStep, capability, login as answer_greeting, step};
use tidewire_core::{Error, Result};

const ACT: &str = "log in";

/// Most messages of a login: MariaDB may ask for several methods one after another.
const STEPS_MAX: usize = 16;

/// Connects and logs in. The caller limits the time.
pub(super) async fn login(settings: &Settings, host: &Host) -> Result<Connection> {
    let Dialed { stream, reader, greeting, capabilities } = dial(settings, host).await?;
    let version = version(&greeting)?;
    let overheard = stream.can_be_overheard();
    let mut connection = Connection { stream, reader, out: Vec::new(), version, unfinished: false };
    let mut prover = Prover::new(settings, &greeting, overheard)?;
    let name = settings.client_name();
    let attributes = [("_client_name", "tidewire"), ("program_name", name.as_str())];
    let proof = prover.first_proof();
    let answer = answer_greeting(capabilities, &settings.user, prover.plugin(), &proof, &attributes);
    say(&mut connection, &answer).await?;
    for _ in 0..STEPS_MAX {
        let place = connection.receive(ACT).await?;
        let message = connection.reader.message(place);
        if is_error(message) {
            return Err(server_error(message).into_error(ACT));
        }
        let reply = match step(message).map_err(|cause| misread(ACT, cause))? {
            LoginStep::Done => {
                finish(&mut connection, settings.compression)?;
                return Ok(connection);
            }
            LoginStep::Switch { plugin, data } => Some(prover.switch(plugin, data)?),
            LoginStep::More(data) => prover.more(data)?,
        };
        if let Some(reply) = reply {
            say(&mut connection, &reply).await?;
        }
    }
    Err(protocol("the login does not come to an end"))
}

async fn say(connection: &mut Connection, message: &[u8]) -> Result<()> {
    let sequence = connection.reader.sequence();
    let next = connection.frame(message, sequence);
    connection.reader.expect(next);
    connection.send(ACT).await
}

fn finish(connection: &mut Connection, compression: Compression) -> Result<()> {
    if !connection.reader.is_empty() {
        return Err(protocol("the server speaks before it is asked"));
    }
    let codec = match compression {
        Compression::None => None,
        Compression::Zlib => Some(Codec::zlib()),
        Compression::Zstd => {
            let codec = Codec::zstd();
            Some(codec.map_err(|cause| Error::retry("out_of_memory", "make a zstd decoder").with_cause(cause))?)
        }
    };
    connection.reader.logged_in(codec);
    Ok(())
}

/// Who answered, and whether that is supported.
fn version(greeting: &Greeting) -> Result<ServerVersion> {
    let text = &greeting.version;
    // MySQL alone sets the capability; what derives from it keeps that.
    let flavour = match text.contains("MariaDB") || !greeting.can(capability::LONG_PASSWORD) {
        true => Flavour::MariaDb,
        false => Flavour::MySql,
    };
    supported(flavour, text)
}

/// A server by its flavour and the text of its version, unless it is too old.
pub(crate) fn supported(flavour: Flavour, text: &str) -> Result<ServerVersion> {
    let number = version_number(text);
    let (name, oldest, oldest_text) = match flavour {
        Flavour::MySql => ("MySQL", 50_700, "5.7"),
        Flavour::MariaDb => ("MariaDB", 100_500, "10.5"),
    };
    if number < oldest {
        return Err(Error::operator(
            "server_too_old",
            format!("the server is {name} {text}, older than {oldest_text}"),
        )
        .with_remedy("upgrade the server"));
    }
    Ok(ServerVersion { flavour, number, text: text.to_owned() })
}

/// `8.0.31-debug`, `10.11.6-MariaDB-log`: 80031, 101106; 0 when it cannot be read.
fn version_number(text: &str) -> u32 {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
    let mut next = || parts.next().flatten().filter(|part| *part < 100);
    match (next(), next(), next()) {
        (Some(major), Some(minor), patch) => major * 10_000 + minor * 100 + patch.unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_kinds() {
        for (text, number) in [
            ("8.0.31", 80_031),
            ("9.7.4-commercial", 90_704),
            ("5.7.44-log", 50_744),
            ("10.11.19-MariaDB-deb12", 101_119),
            ("11.8.9-MariaDB", 110_809),
            ("8.4", 80_400),
            ("8", 0),
            ("x", 0),
            ("", 0),
            ("4294967295.1.1", 0),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }

    #[test]
    fn old_servers_are_refused() {
        let greeting = |version: &str, capabilities| Greeting {
            version: version.to_owned(),
            nonce: Vec::new(),
            capabilities,
            plugin: String::new(),
        };
        let flavour = |text, capabilities| version(&greeting(text, capabilities)).map(|version| version.flavour);
        assert_eq!(flavour("8.0.31", 1).unwrap(), Flavour::MySql);
        assert_eq!(flavour("10.11.6-MariaDB", 0).unwrap(), Flavour::MariaDb);
        assert_eq!(flavour("5.6.51", 1).unwrap_err().code(), "server_too_old");
        assert_eq!(flavour("10.4.2-MariaDB", 0).unwrap_err().code(), "server_too_old");
    }
}
