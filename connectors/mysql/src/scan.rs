//! Follows the log from a place to another for the sake of its DDL alone: to bring kept definitions up to date when the
//! sinks are ahead of them, and to prove that definitions of today were those of an earlier place.

use crate::assemble::{Assembler, AssemblerStart, Facts};
use crate::config::{Host, Settings};
use crate::ddl::Schemas;
use crate::history::History;
use crate::joined::Joined;
use crate::metrics::SourceMetrics;
use crate::plan;
use crate::position::{Place, Prepared, StoredPosition};
use crate::stream::{Feedback, LogStream, StreamStart};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::definitions::{DefinitionStore, StoredDefinition};
use tidewire_core::tables::TableFilter;
use tidewire_core::{BatchLimits, Mark, Position, Result, SourceDescriptor};

/// What a scan needs.
pub(crate) struct Scan<'a> {
    /// Settings of the source.
    pub(crate) settings: &'a Arc<Settings>,
    /// The server.
    pub(crate) host: &'a Host,
    /// What does not change.
    pub(crate) facts: &'a Facts,
    /// Descriptor of the run.
    pub(crate) descriptor: &'a Arc<SourceDescriptor>,
}

impl Scan<'_> {
    /// Applies the DDL between two places to definitions, and records it.
    pub(crate) async fn follow(
        &self,
        from: &StoredPosition,
        to: &Place,
        schemas: Schemas,
        history: &History,
    ) -> Result<Schemas> {
        let mut stream = self.stream(from.place.clone(), from.prepared.clone(), schemas, history.clone()).await?;
        stream.read_until(|place| plan::contains(place, to)).await?;
        Ok(stream.into_schemas())
    }

    /// The tables that DDL between two places is about, by name.
    pub(crate) async fn touched(
        &self,
        from: &StoredPosition,
        to: &Place,
        schemas: Schemas,
    ) -> Result<BTreeSet<String>> {
        let noted = Arc::new(Noted::default());
        let history = History::new(Some(Arc::clone(&noted) as Arc<dyn DefinitionStore>));
        let mut stream = self.stream(from.place.clone(), from.prepared.clone(), schemas, history).await?;
        stream.read_until(|place| plan::contains(place, to)).await?;
        Ok(std::mem::take(&mut *noted.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn stream(
        &self,
        place: Place,
        prepared: Vec<Prepared>,
        schemas: Schemas,
        history: History,
    ) -> Result<LogStream> {
        let facts = Facts { filter: nothing(), ..self.facts.clone() };
        let assembler = Assembler::new(AssemblerStart {
            facts,
            descriptor: Arc::clone(self.descriptor),
            limits: BatchLimits::default(),
            place,
            prepared,
            targets: VecDeque::new(),
            schemas,
            unproven: HashSet::new(),
            dropped: HashSet::new(),
            shipped: HashSet::new(),
            read_until: HashMap::new(),
            history,
            joined: Joined::default(),
        })?;
        LogStream::start(StreamStart {
            settings: Arc::clone(self.settings),
            host: self.host.clone(),
            at_once: false,
            assembler,
            feedback: Arc::new(Feedback::new(History::new(None))),
            metrics: SourceMetrics::new(&self.settings.name),
        })
        .await
    }
}

/// A filter that captures no table.
fn nothing() -> TableFilter {
    TableFilter::parse(&["!*.*"]).unwrap_or_else(|_| TableFilter::all())
}

/// Notes which tables a definition was recorded of.
#[derive(Default)]
struct Noted(Mutex<BTreeSet<String>>);

impl DefinitionStore for Noted {
    fn covered(&self) -> Result<Option<Position>> {
        Ok(None)
    }

    fn at(&self, _place: Mark) -> Result<Vec<StoredDefinition>> {
        Ok(Vec::new())
    }

    fn record(&self, definitions: &[StoredDefinition]) -> Result<()> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.extend(definitions.iter().map(|definition| definition.table.clone()));
        Ok(())
    }

    fn rewind(&self, _place: &Position, _ahead: &[(String, Mark)], _records: &[StoredDefinition]) -> Result<()> {
        Ok(())
    }

    fn cover(&self, _place: &Position, _needed: Mark) -> Result<()> {
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::TableName;

    #[test]
    fn a_scan_captures_nothing() {
        assert!(!nothing().captures_name(&TableName::new("a", "b")));
    }
}
