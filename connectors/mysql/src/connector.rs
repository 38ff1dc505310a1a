//! The connector as the daemon sees it: check, setup, remove, open. Only connects the parts.

mod ahead;
mod definitions;
mod open;
mod reader;

use crate::catalog;
use crate::config::{Config, Settings};
use crate::connection::open_any;
use crate::history::History;
use crate::joined::Joined;
use crate::rivals::Rivals;
use crate::{plan, preflight, server_log, setup, shape};
use std::sync::Arc;
use tidewire_core::definitions::DefinitionStore;
use tidewire_core::options::{ConfigFault, SourceOptions};
use tidewire_core::source::{BoxFuture, OpenSource, Resume, SetupStep};
use tidewire_core::{Finding, Result, SourceConnector, TableSchema};

/// A checked MySQL or MariaDB source.
struct MySqlConnector {
    settings: Arc<Settings>,
    definitions: Option<Arc<dyn DefinitionStore>>,
    joined: Joined,
    rivals: Rivals,
}

/// Checks the configuration, all of it at once. Connects nowhere. `definitions` is where the tables' definitions are kept
/// between runs; a source that is only looked at needs none.
pub fn connector(
    options: SourceOptions,
    config: Config,
    definitions: Option<Arc<dyn DefinitionStore>>,
) -> Result<Box<dyn SourceConnector>, Vec<ConfigFault>> {
    let settings = Arc::new(Settings::check(options, config)?);
    Ok(Box::new(MySqlConnector { settings, definitions, joined: Joined::default(), rivals: Rivals::default() }))
}

impl SourceConnector for MySqlConnector {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(async {
            let (host, session) = open_any(&self.settings).await?;
            session.close().await;
            Ok(preflight::run(&self.settings, &host).await?.findings)
        })
    }

    fn can_resume(&self, resume: Resume) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let (_, mut session) = open_any(&self.settings).await?;
            let log = server_log::read(&mut session).await;
            session.close().await;
            plan::plan(&resume, &log?).map(drop)
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let (_, mut session) = open_any(&self.settings).await?;
            let ready = preflight::server_id_free(&self.settings, &mut session).await;
            session.close().await;
            ready
        })
    }

    fn tables(&self) -> BoxFuture<'_, Result<Vec<Arc<TableSchema>>>> {
        Box::pin(async {
            let (_, mut session) = open_any(&self.settings).await?;
            let (flavour, version) = (session.version().flavour, session.version().number);
            let mut schemas = catalog::schemas(&mut session).await?;
            let mut tables = Vec::new();
            for table in catalog::list(&mut session, &self.settings.tables).await?.captured {
                let Some(definition) = catalog::define(&mut session, &mut schemas, &table.name).await? else {
                    continue;
                };
                tables.push(Arc::new(shape::table_schema(&definition, flavour, version, self.settings.zero_dates)?));
            }
            session.close().await;
            Ok(tables)
        })
    }

    fn setup(&self, apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(setup::run(&self.settings, apply))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(setup::remove(&self.settings))
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        let history = History::new(self.definitions.clone());
        let (joined, rivals) = (self.joined.clone(), self.rivals.clone());
        Box::pin(open::open(Arc::clone(&self.settings), resume, history, joined, rivals))
    }
}
