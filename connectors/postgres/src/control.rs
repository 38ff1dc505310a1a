//! Control queries: tokio-postgres over a stream that `connection` has opened, so that the choice of the server, the
//! encryption and the session's settings are the same for all sessions.

use crate::config::{Host, Settings, Target};
use crate::connection::{Dialed, UNLIMITED, UNPINNED, dial, overheard, session_options, unpinned};
use crate::error::control;
use crate::wire::login_watch::{CleartextAsked, LoginWatch};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tidewire_core::{Error, Result};
use tidewire_tls::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{ChannelBinding as Binding, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, SimpleQueryMessage};

/// A session for catalog queries.
#[derive(Debug)]
pub(crate) struct Control {
    client: Client,
    host: Host,
}

impl Control {
    /// Connects to the first server that will do.
    pub(crate) async fn connect(settings: &Settings) -> Result<Control> {
        let mut first_error = None;
        let mut second_best = None;
        for host in &settings.hosts {
            match Control::connect_to(settings, host).await {
                Ok(control) => match control.suits(settings.target).await {
                    Ok(Suits::Yes) => return Ok(control),
                    Ok(Suits::IfNoOther) => second_best = second_best.or(Some(control)),
                    Ok(Suits::No) => {}
                    Err(error) => first_error = first_error.or(Some(error)),
                },
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if let Some(control) = second_best {
            return Ok(control);
        }
        Err(first_error.unwrap_or_else(|| {
            Error::retry("no_suitable_server", "no server of `url` has the wanted role")
                .with_remedy("change `target_session_attrs` in `url`, or promote a server")
        }))
    }

    /// Connects to one server.
    pub(crate) async fn connect_to(settings: &Settings, host: &Host) -> Result<Control> {
        let limit = settings.connect_timeout;
        tokio::time::timeout(limit, Control::attempt(settings, host)).await.unwrap_or_else(|_| {
            Err(Error::retry("connect_timeout", format!("`{host}` does not answer within {} s", limit.as_secs())))
        })
    }

    async fn attempt(settings: &Settings, host: &Host) -> Result<Control> {
        let dialed = dial(settings, host).await?;
        // tokio-postgres would show a password to whoever asks for it; our own login does not.
        let watch = dialed.can_be_overheard().then(LoginWatch::default);
        let mut config = Config::new();
        config
            .user(&settings.user)
            .dbname(&settings.database)
            .application_name(&settings.application_name)
            .options(session_options(settings))
            .channel_binding(Binding::Prefer);
        if let Some(reference) = &settings.password {
            config.password(settings.secrets.resolve(reference)?.reveal());
        }
        // The stream is encrypted already: "direct" makes tokio-postgres ask the wrapper instead of the server.
        let encrypted = matches!(dialed.stream, Stream::Tls(_));
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        config.ssl_negotiation(SslNegotiation::Direct);
        let Dialed { stream, binding } = dialed;
        let asked = Arc::new(AtomicBool::new(false));
        let stream = Watched { stream, watch, asked: Arc::clone(&asked), binding };
        let connected = config.connect_raw(stream, AsItIs).await;
        let (client, connection) = connected.map_err(|cause| match asked.load(Ordering::Relaxed) {
            true => overheard(),
            false => control("log in", cause),
        })?;
        // Moves the session's bytes; says goodbye and ends when the client is dropped, or breaks off with the
        // connection, which the client's next query tells.
        tokio::spawn(async move { connection.await.ok() });
        client.batch_execute(UNLIMITED).await.map_err(|cause| control("set up the session", cause))?;
        let answer =
            client.simple_query(UNPINNED).await.map_err(|cause| control("check the session's settings", cause))?;
        let differing = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if let Some(name) = differing {
            return Err(unpinned(name));
        }
        Ok(Control { client, host: host.clone() })
    }

    /// The session.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The server that was chosen.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    async fn suits(&self, target: Target) -> Result<Suits> {
        if target == Target::Any {
            return Ok(Suits::Yes);
        }
        let sql = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'";
        let row = self.client.query_one(sql, &[]).await.map_err(|cause| control("ask for the server's role", cause))?;
        let read = |cause| control("ask for the server's role", cause);
        let (standby, read_only): (bool, bool) = (row.try_get(0).map_err(read)?, row.try_get(1).map_err(read)?);
        let wanted = match target {
            Target::Any => true,
            Target::ReadWrite => !read_only,
            Target::ReadOnly => read_only,
            Target::Primary => !standby,
            Target::Standby => standby,
            Target::PreferStandby if !standby => return Ok(Suits::IfNoOther),
            Target::PreferStandby => true,
        };
        Ok(if wanted { Suits::Yes } else { Suits::No })
    }
}

enum Suits {
    Yes,
    IfNoOther,
    No,
}

/// A stream that breaks off before a request for the password in clear text is seen by anybody else.
struct Watched {
    stream: Stream,
    watch: Option<LoginWatch>,
    asked: Arc<AtomicBool>,
    /// What binds a login to this connection, where it is encrypted.
    binding: Option<Vec<u8>>,
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Watched { stream, watch, asked, .. } = self.get_mut();
        let before = space.filled().len();
        let read = Pin::new(stream).poll_read(context, space);
        if let (Some(watch), Poll::Ready(Ok(()))) = (watch, &read)
            && watch.see(space.filled().get(before..).unwrap_or_default()) == Err(CleartextAsked)
        {
            space.set_filled(before);
            asked.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Hands tokio-postgres a stream that is encrypted already, or is not to be.
struct AsItIs;

impl TlsConnect<Watched> for AsItIs {
    type Stream = Watched;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Watched>>;

    fn connect(self, stream: Watched) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

impl TlsStream for Watched {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.binding {
            Some(data) => ChannelBinding::tls_server_end_point(data.clone()),
            None => ChannelBinding::none(),
        }
    }
}
