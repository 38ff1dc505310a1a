//! What a database still needs before it can be read, as statements; and how everything is given back. The
//! statements follow from what the preflight found, so that both always speak of the same things.

mod scratch;
mod statements;

use crate::catalog::quoted;
use crate::config::Settings;
use crate::control::Control;
use crate::error;
use crate::preflight::{self, Names};
use scratch::Refusal;
use tidewire_core::source::SetupStep;
use tidewire_core::{Error, Result};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The statements that are still needed, in the order to run them. With `apply` each is run, except those
/// that a person must weigh first; one that fails does not keep the others from being tried. For a login that the server
/// does not let in, all that it will need: that is for somebody else to run.
pub(crate) async fn run(settings: &Settings, apply: bool) -> Result<Vec<SetupStep>> {
    let control = match Control::connect(settings).await {
        Ok(control) => control,
        Err(error) => {
            let Some(refusal) = Refusal::of(&error) else { return Err(error) };
            let mut steps = scratch::from_scratch(settings, refusal, &error);
            for step in steps.iter_mut().filter(|step| apply && step.left.is_none()) {
                step.applied = Some(Err("the login is not let in".to_owned()));
            }
            return Ok(steps);
        }
    };
    let client = control.client();
    let facts = preflight::read(client, names(settings)).await?;
    let mut steps = statements::needed(&facts, settings);
    for step in steps.iter_mut().filter(|step| apply && step.left.is_none()) {
        step.applied = Some(client.batch_execute(&step.sql).await.map_err(|cause| answer(&cause)));
    }
    Ok(steps)
}

/// Creates the publication when it is missing, with every captured table that has a replica identity. A table
/// without one is left out: the server would refuse the updates of those who write to it (PG-29).
pub(crate) async fn ensure_publication(client: &Client, settings: &Settings) -> Result<()> {
    let facts = preflight::read(client, names(settings)).await?;
    if facts.publication.is_some() {
        return Ok(());
    }
    let create = statements::create_publication(&facts, settings).ok_or_else(|| {
        Error::operator("no_table_captured", "no captured table can be published")
            .with_remedy("run `tidewire setup` for what the tables lack")
    })?;
    client
        .batch_execute(&create.sql)
        .await
        .map_err(|cause| error::control("create the publication", cause).with_remedy(create.sql))
}

/// Gives back the slot and, when it is ours, the publication; says what was done. Refuses while the slot is in
/// use. Names are compared as a whole: another slot with a like name is not touched (PG-08).
pub(crate) async fn remove(client: &Client, settings: &Settings) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let act = "drop the replication slot";
    let rows = client
        .query("SELECT s.active_pid FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1", &[&settings.slot])
        .await
        .map_err(|cause| error::control(act, cause))?;
    if let Some(row) = rows.first() {
        if let Some(pid) = crate::catalog::get::<Option<i32>>(row, 0, act)? {
            let message = format!("slot `{}` is in use by process {pid}", settings.slot);
            return Err(Error::operator("slot_active", message).with_remedy("stop the source first"));
        }
        client
            .execute("SELECT pg_catalog.pg_drop_replication_slot($1)", &[&settings.slot])
            .await
            .map_err(|cause| error::control(act, cause))?;
        done.push(format!("dropped replication slot `{}`", settings.slot));
    }
    const OURS: &str = "
        SELECT pg_catalog.obj_description(p.oid, 'pg_publication') = $2
          FROM pg_catalog.pg_publication p WHERE p.pubname = $1";
    let act = "drop the publication";
    let mark = statements::mark(&settings.name);
    let rows = client.query(OURS, &[&settings.publication, &mark]).await.map_err(|cause| error::control(act, cause))?;
    if let Some(row) = rows.first() {
        if crate::catalog::get::<Option<bool>>(row, 0, act)? == Some(true) {
            let sql = format!("DROP PUBLICATION {}", quoted(&settings.publication));
            done.push(match client.batch_execute(&sql).await {
                Ok(()) => format!("dropped publication `{}`", settings.publication),
                // An administrator made it for the login.
                Err(cause) if cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    format!("kept publication `{}`: its owner must run `{sql}`", settings.publication)
                }
                Err(cause) => return Err(error::control(act, cause)),
            });
        } else {
            done.push(format!("kept publication `{}`: it was not made by this source", settings.publication));
        }
    }
    Ok(done)
}

fn names(settings: &Settings) -> Names<'_> {
    Names { slot: &settings.slot, publication: &settings.publication }
}

/// The server's sentence and code; its detail may hold values and is left out.
fn answer(cause: &tokio_postgres::Error) -> String {
    match cause.as_db_error() {
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => "the connection broke".to_owned(),
    }
}
