//! The connector as the daemon sees it: check, setup, remove, open. Only connects the parts.

mod open;
mod reader;

use crate::catalog::describe_table;
use crate::config::{Config, Settings};
use crate::control::Control;
use crate::joined::Joined;
use crate::partitions::Known;
use crate::publication::Kept;
use crate::slot::{Slot, held_by_another};
use crate::{preflight, setup};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewire_core::definitions::DefinitionStore;
use tidewire_core::source::{BoxFuture, OpenSource, Resume, SetupStep};
use tidewire_core::{ConfigFault, Finding, Result, SourceConnector, SourceOptions, TableSchema};

/// A checked PostgreSQL source.
struct PostgresConnector {
    settings: Arc<Settings>,
    joined: Joined,
    partitions: Known,
    publication: Kept,
    /// The session that [`SourceConnector::ready`] asked over, for the opening that follows it.
    asked: Mutex<Option<(Control, Instant)>>,
}

/// After so long another server may have the wanted role, and a session is opened anew.
const ASKED_MAX: Duration = Duration::from_secs(5);

/// Checks the configuration, all of it at once. Connects nowhere. `definitions` is where it is kept between runs which
/// partitions the tables had and what the publication showed; without it that is forgotten.
pub fn connector(
    options: SourceOptions,
    config: Config,
    definitions: Option<Arc<dyn DefinitionStore>>,
) -> Result<Box<dyn SourceConnector>, Vec<ConfigFault>> {
    let settings = Arc::new(Settings::check(options, config)?);
    let (partitions, publication) = (Known::new(definitions.clone()), Kept::new(definitions));
    let (joined, asked) = (Joined::default(), Mutex::default());
    Ok(Box::new(PostgresConnector { settings, joined, partitions, publication, asked }))
}

impl SourceConnector for PostgresConnector {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(async {
            let control = Control::connect(&self.settings).await?;
            let preflight = preflight::run(control.client(), &self.settings, &self.settings.tables).await?;
            Ok(preflight.findings)
        })
    }

    fn can_resume(&self, resume: Resume) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let control = Control::connect(&self.settings).await?;
            open::can_resume(&self.settings, &control, &resume).await
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let control = Control::connect(&self.settings).await?;
            match Slot::read(&control, &self.settings.slot).await?.and_then(|slot| slot.active_pid) {
                Some(pid) => Err(held_by_another(&control, &self.settings.slot, pid).await),
                None => {
                    *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some((control, Instant::now()));
                    Ok(())
                }
            }
        })
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<Arc<TableSchema>>>> {
        Box::pin(async {
            let control = Control::connect(&self.settings).await?;
            let preflight = preflight::run(control.client(), &self.settings, &self.settings.tables).await?;
            // While the publication is missing, those that it will have: what a sink would refuse is to be known before.
            let (publication, oids) = match preflight.publication {
                Some(_) => {
                    (Some(&*self.settings.publication), preflight.tables.iter().map(|table| table.oid).collect())
                }
                None => (None, preflight.publishable),
            };
            let mut tables = Vec::with_capacity(oids.len());
            for oid in oids {
                tables.push(describe_table(control.client(), publication, oid).await?.schema);
            }
            Ok(tables)
        })
    }

    fn setup(&self, apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(setup::run(&self.settings, apply))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async {
            let control = Control::connect(&self.settings).await?;
            setup::remove(control.client(), &self.settings).await
        })
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        Box::pin(async move {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
            let fresh = asked.filter(|(control, since)| !control.client().is_closed() && since.elapsed() < ASKED_MAX);
            let control = match fresh {
                Some((control, _)) => control,
                None => Control::connect(&self.settings).await?,
            };
            let (joined, known) = (self.joined.clone(), self.partitions.clone());
            let settings = Arc::clone(&self.settings);
            let opened = open::open(settings, control, &resume, joined, known, &self.publication).await;
            // The next start is to know it, whatever the publication shows by then.
            opened.inspect_err(|error| self.publication.refuse(&resume, error))
        })
    }
}
