//! A blocking session with PostgreSQL in which every value is text, for tests and for the oracle. It works from
//! plain threads and from within a runtime.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use std::future::Future;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// No statement of a test takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(900);

/// One session.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<tokio_postgres::Client>,
}

/// A row as text; `None` is null.
pub type Row = Vec<Option<String>>;

impl Client {
    /// Connects, without TLS.
    pub fn connect(url: &str) -> Result<Client> {
        let url = url.to_owned();
        let (inner, connection) =
            block(async move { tokio_postgres::connect(&url, NoTls).await })?.context("connect to PostgreSQL")?;
        runtime()?.spawn(async move {
            // The session's own calls report a broken connection.
            let _ = connection.await;
        });
        Ok(Client { inner: Arc::new(inner) })
    }

    /// Runs one or more statements; the rows touched by the last one. Several are one transaction unless they say
    /// otherwise themselves.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        let mut touched = 0;
        for message in self.run(sql)? {
            if let SimpleQueryMessage::CommandComplete(count) = message {
                touched = count;
            }
        }
        Ok(touched)
    }

    /// The rows of a query.
    pub fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for message in self.run(sql)? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }

    /// The one value of a query of one row and one column, not null.
    pub fn value(&self, sql: &str) -> Result<String> {
        match self.rows(sql)?.as_slice() {
            [row] => match row.as_slice() {
                [Some(value)] => Ok(value.clone()),
                other => bail!("`{sql}` gave {other:?} instead of one value"),
            },
            rows => bail!("`{sql}` gave {} rows instead of one", rows.len()),
        }
    }

    /// What `COPY ... TO STDOUT` writes.
    pub fn copy_out(&self, sql: &str) -> Result<Vec<u8>> {
        let (client, text) = (Arc::clone(&self.inner), sql.to_owned());
        block(async move {
            let mut stream = std::pin::pin!(client.copy_out(&text).await?);
            let mut all = Vec::new();
            while let Some(piece) = stream.next().await {
                all.extend_from_slice(&piece?);
            }
            Ok::<_, tokio_postgres::Error>(all)
        })?
        .with_context(|| format!("run `{}`", shorten(sql)))
    }

    /// Feeds `COPY ... FROM STDIN`; the rows written.
    pub fn copy_in(&self, sql: &str, data: Vec<u8>) -> Result<u64> {
        let (client, text) = (Arc::clone(&self.inner), sql.to_owned());
        block(async move {
            let mut sink = std::pin::pin!(client.copy_in(&text).await?);
            sink.send(std::io::Cursor::new(data)).await?;
            sink.finish().await
        })?
        .with_context(|| format!("run `{}`", shorten(sql)))
    }

    fn run(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>> {
        let (client, text) = (Arc::clone(&self.inner), sql.to_owned());
        block(async move { client.simple_query(&text).await })?.with_context(|| format!("run `{}`", shorten(sql)))
    }
}

fn shorten(sql: &str) -> String {
    sql.chars().take(300).collect()
}

/// The runtime behind all sessions. It is never dropped: dropping one inside another is not allowed.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("testkit").enable_all().build()
    });
    made.as_ref().map_err(|error| anyhow::anyhow!("start a runtime: {error}"))
}

fn block<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let (answer, inbox) = sync_channel(1);
    runtime()?.spawn(async move {
        // Nobody else holds the other end, which waits below.
        let _ = answer.send(future.await);
    });
    inbox.recv_timeout(ANSWER_LIMIT).context("PostgreSQL does not answer")
}
