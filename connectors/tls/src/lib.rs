//! The way from a server's address, as a URL writes it, to an open and, where wanted, encrypted stream, for the connectors that speak to
//! databases: five modes of encryption on rustls, with the provider named and no process-wide default. Knows no
//! database's protocol: when encryption starts is the connector's affair.

mod host;
mod settings;
mod stream;
mod verify;

pub use host::{Host, name_and_port, percent_decode, shown_key};
pub use settings::{TlsMode, TlsNames, TlsSettings, client_config};
pub use stream::{Stream, encrypt, tune};
