//! Statements of the log: boundaries of transactions, DDL at its exact place, and whatever must not be passed over.

use super::group::AlterPhase;
use super::{Applied, Assembler, rename};
use crate::binlog::QueryEvent;
use crate::binlog::kind::QUERY_COMPRESSED;
use crate::charset::Converter;
use crate::ddl::{self, Context, DdlError, Effect, Now, Statement, Transaction, Wording};
use crate::model::{Charset, OriginKind, TableDef};
use crate::table_changes;
use std::borrow::Cow;
use std::sync::Arc;
use tidewire_core::batch::{ChangeHead, Ddl};
use tidewire_core::{Error, Op, Result, TableName};

/// Definitions to record: of a table that has none any more, none.
type Recorded = Vec<(TableName, Option<Arc<TableDef>>)>;

impl Assembler {
    /// Opens a compressed statement and goes on with it.
    pub(super) fn opened<T>(
        &mut self,
        query: &QueryEvent<'_>,
        then: impl FnOnce(&mut Assembler, &QueryEvent<'_>) -> Result<T>,
    ) -> Result<T> {
        // Taken out while its buffer is read.
        let mut inflater = self.inflater.take().unwrap_or_else(super::inflater);
        let done = match inflater.inflate(QUERY_COMPRESSED, query.statement) {
            Ok(statement) => then(self, &QueryEvent { statement, ..query.clone() }),
            Err(cause) => Err(self.undecodable(cause)),
        };
        self.inflater = Some(inflater);
        done
    }

    pub(super) fn query(&mut self, query: &QueryEvent<'_>) -> Result<Applied> {
        let Some(group) = &mut self.open else { return Err(self.out_of_order("a statement without a transaction")) };
        match query.statement {
            b"BEGIN" => {
                group.begun = true;
                group.thread = Some(query.thread_id);
                return Ok(Applied::Nothing);
            }
            b"COMMIT" => return self.commit(),
            _ => {}
        }
        group.thread.get_or_insert(query.thread_id);
        if group.skipped {
            return self.passed_statement(query);
        }
        if group.alter == AlterPhase::Idle {
            return self.commit();
        }
        let text = self.text_of(query);
        let context = self.context_of(query)?;
        match ddl::parse(&text, &context) {
            Ok(Statement::Transaction(boundary)) => self.boundary(boundary),
            Ok(statement) => {
                self.change(&statement, query, Wording { text: &text, context: &context })?;
                self.after_statement()
            }
            Err(cause) => {
                self.not_understood(cause, Wording { text: &text, context: &context })?;
                self.after_statement()
            }
        }
    }

    /// A statement within a prepared transaction that is read again: all but savepoints was judged when it was prepared.
    pub(super) fn replayed_statement(&mut self, query: &QueryEvent<'_>) -> Result<()> {
        let context = self.context_of(query)?;
        match ddl::parse(&self.text_of(query), &context) {
            Ok(Statement::Transaction(Transaction::Savepoint(name))) => self.savepoint(name).map(drop),
            Ok(Statement::Transaction(Transaction::RollbackTo(name))) => self.rollback_to(&name).map(drop),
            _ => Ok(()),
        }
    }

    fn context_of<'a>(&self, query: &QueryEvent<'a>) -> Result<Context<'a>> {
        let Ok(database) = std::str::from_utf8(query.database) else {
            return Err(self.out_of_order("the name of a statement's database is not UTF-8"));
        };
        Ok(Context {
            flavour: self.facts.flavour,
            server_version: self.facts.version,
            sql_mode: query.status.sql_mode.unwrap_or(0),
            database: (!database.is_empty()).then_some(database),
            fold_names: self.facts.fold_names,
            origin: self.first_known(OriginKind::Statement),
            now: Some(Now::of(self.statement_seconds, query.status.microseconds, query.status.time_zone)),
        })
    }

    /// Of a transaction that is passed over only the end matters. An XA transaction ends with an event of its own.
    fn passed_statement(&mut self, query: &QueryEvent<'_>) -> Result<Applied> {
        let group = self.group()?;
        group.begun |= query.statement.starts_with(b"XA START");
        if !group.begun || query.statement.eq_ignore_ascii_case(b"ROLLBACK") {
            self.commit()
        } else {
            Ok(Applied::Nothing)
        }
    }

    /// A statement of its own ends its transaction; one after a BEGIN does not.
    fn after_statement(&mut self) -> Result<Applied> {
        if self.open.as_ref().is_some_and(|group| group.begun) { Ok(Applied::Changed) } else { self.commit() }
    }

    /// The log has a statement in the character set of the client that sent it (MY-44).
    fn text_of<'a>(&self, query: &QueryEvent<'a>) -> Cow<'a, str> {
        if let Ok(text) = std::str::from_utf8(query.statement) {
            return Cow::Borrowed(text);
        }
        let client = query.status.charset.and_then(|[client, ..]| self.charset_of(u32::from(client)));
        let converted = client.and_then(Converter::for_charset).and_then(|converter| {
            let mut out = Vec::new();
            converter.convert(query.statement, &mut out).ok()?;
            String::from_utf8(out).ok()
        });
        // What is left cannot be a name that we capture: those are compared whole.
        converted.map_or_else(|| String::from_utf8_lossy(query.statement), Cow::Owned)
    }

    fn boundary(&mut self, boundary: Transaction) -> Result<Applied> {
        match boundary {
            Transaction::Begin => {
                self.group()?.begun = true;
                Ok(Applied::Nothing)
            }
            Transaction::Commit => self.commit(),
            Transaction::Rollback => self.rollback(),
            Transaction::Savepoint(name) => self.savepoint(name),
            Transaction::RollbackTo(name) => self.rollback_to(&name),
            Transaction::XaStart(_) => self.xa_start(),
            Transaction::XaEnd(_) | Transaction::XaPrepare(_) => Ok(Applied::Nothing),
            Transaction::XaCommit { xid, .. } => self.xa_commit(&xid),
            Transaction::XaRollback { xid } => self.xa_rollback(&xid),
        }
    }

    /// A statement about tables, or about nothing of ours.
    fn change(&mut self, statement: &Statement, query: &QueryEvent<'_>, wording: Wording<'_>) -> Result<()> {
        if let Statement::Dml { tables, verb } = statement {
            return self.statement_format(tables, verb, wording);
        }
        if matches!(statement, Statement::Other) {
            return Ok(());
        }
        let tables = ddl::tables_of(statement);
        // Counted whatever is captured: numbers depend on the log alone.
        let first = self.group()?.ordinal + 1;
        self.group()?.ordinal += 1 + tables.len() as u64;
        let ours = |this: &Assembler, name: &TableName| this.captures(name) && !this.is_read(name);
        let captured = tables.iter().copied().find(|name| ours(self, name));
        if let (1.., Some(table)) = (query.error_code, captured) {
            let message = format!(
                "a statement failed on the server with error {} and may have taken effect in part, at `{}`: {wording}",
                query.error_code,
                self.here()
            );
            return Err(Error::operator("statement_failed", message)
                .with_remedy("read the tables anew, by new names of the sinks (and a new location of a Delta sink)")
                .with_table(table.clone()));
        }
        if let (Statement::CreateDatabase { .. }, Some([.., server])) = (statement, query.status.charset)
            && let Some(name) = self.charset_of(u32::from(server))
        {
            self.schemas.set_server_charset(Charset { name: name.into(), collation: "".into() });
        }
        let mut recorded = Vec::new();
        let mut effects = self.apply_statement(statement, &tables, wording, &mut recorded)?;
        self.doubt(statement, &mut effects);
        let mut shown = Vec::with_capacity(effects.len());
        for effect in &effects {
            self.remember(effect, &mut recorded);
            shown.push(effect_names(effect).iter().any(|name| ours(self, name)));
        }
        if !recorded.is_empty() {
            self.history.record(self.mark(), &recorded)?;
        }
        if shown.contains(&true) {
            let shown_effects: Vec<&Effect> =
                effects.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(effect, _)| effect).collect();
            self.show(&shown_effects, first, wording)?;
        }
        for (effect, shown) in effects.iter().zip(shown) {
            if shown {
                self.take_effect(effect, first + 1, wording)?;
            }
            self.follow_name(effect);
        }
        Ok(())
    }

    /// Tells consumers of a statement, and empties what it makes anew. `first` is the statement's number.
    fn show(&mut self, effects: &[&Effect], first: u64, wording: Wording<'_>) -> Result<()> {
        // A table begins empty. One of the same name that is shipped already has gone before: its rows go now.
        let anew = effects.iter().find_map(|effect| match effect {
            Effect::Created { name, .. } if self.shipped.contains(name) => Some(name.clone()),
            _ => None,
        });
        for effect in effects {
            self.admit_effect(effect)?;
        }
        // Rows that go are a change of their own, and no shape changes.
        if !effects.iter().all(|effect| matches!(effect, Effect::Truncated { .. })) {
            self.push_ddl(first, wording, effects)?;
        }
        match anew {
            // A statement makes one table, so that the number after the statement's own is free.
            Some(name) => self.emptied(&name, first + 1, wording),
            None => Ok(()),
        }
    }

    /// Applies a statement to the definitions, but for those of tables that were read beyond this place. Definitions that
    /// are lost with it are recorded as such.
    fn apply_statement(
        &mut self,
        statement: &Statement,
        tables: &[&TableName],
        wording: Wording<'_>,
        recorded: &mut Recorded,
    ) -> Result<Vec<Effect>> {
        let ahead: Vec<_> = self.read_until.keys().filter(|name| self.is_read(name)).cloned().collect();
        let kept: Vec<_> = ahead.iter().map(|name| (name.clone(), self.schemas.get(name))).collect();
        let mut known: Vec<&TableName> =
            tables.iter().copied().filter(|name| self.schemas.get(name).is_some()).collect();
        let effects = match self.schemas.apply(statement, wording.context) {
            // The rows of a table go with TRUNCATE, whatever shape it has.
            Ok(effects) => match (statement, effects.as_slice()) {
                (Statement::Truncate(name), [Effect::Unknown { .. }]) => vec![Effect::Truncated { name: name.clone() }],
                _ => rename::of_unknown(effects, statement),
            },
            Err(cause) => {
                let sure =
                    |name: &&&TableName| self.captures(name) && !self.is_read(name) && !self.unproven.contains(**name);
                if let Some(name) = tables.iter().find(sure) {
                    return Err(self.unclear(name, wording, &cause.to_string()));
                }
                known.retain(|name| self.schemas.get(name).is_none() && !self.is_read(name));
                recorded.extend(known.iter().map(|name| (TableName::clone(name), None)));
                tables.iter().map(|name| Effect::Unknown { name: TableName::clone(name) }).collect()
            }
        };
        for (name, definition) in kept {
            match definition {
                Some(definition) => self.schemas.insert(TableDef::clone(&definition)),
                None => drop(self.schemas.remove(&name)),
            }
        }
        Ok(effects)
    }

    /// `CREATE TABLE IF NOT EXISTS` is logged whether or not there was such a table. Of one that is shipped, and that was not
    /// seen to go, it changes nothing, even if its definition is not known.
    fn doubt(&mut self, statement: &Statement, effects: &mut [Effect]) {
        let conditional =
            matches!(statement, Statement::CreateTable(create) if create.if_not_exists && !create.or_replace);
        for effect in effects {
            match effect {
                Effect::Created { name, .. }
                    if conditional && self.shipped.contains(name) && !self.dropped.contains(name) =>
                {
                    self.schemas.remove(name);
                    *effect = Effect::Unknown { name: name.clone() };
                }
                Effect::Created { name, .. } => drop(self.dropped.remove(name)),
                Effect::Dropped { name } => self.note_gone(name),
                Effect::Unknown { name } if matches!(statement, Statement::DropTables { .. }) => self.note_gone(name),
                Effect::Renamed { from, to } => {
                    self.note_gone(from);
                    self.dropped.remove(to);
                }
                _ => {}
            }
        }
    }

    /// Of tables that are not shipped nobody asks, and there may be any number of them (MY-50).
    fn note_gone(&mut self, name: &TableName) {
        if self.shipped.contains(name) {
            self.dropped.insert(name.clone());
        }
    }

    /// What becomes of the definitions that are kept.
    fn remember(&mut self, effect: &Effect, recorded: &mut Recorded) {
        let forget = |this: &mut Assembler, name: &TableName| {
            this.bindings.retain(|_, binding| !binding.is_of(name));
        };
        match effect {
            Effect::Created { name, .. } | Effect::Altered { name, .. } | Effect::Dropped { name } => {
                forget(self, name);
                if !self.is_read(name) {
                    recorded.push((name.clone(), self.schemas.get(name)));
                }
            }
            Effect::Renamed { from, to } => {
                for name in [from, to] {
                    forget(self, name);
                    if !self.is_read(name) {
                        recorded.push((name.clone(), self.schemas.get(name)));
                    }
                }
            }
            Effect::Unknown { name } => forget(self, name),
            Effect::Truncated { .. } | Effect::RowsChangedUnseen { .. } | Effect::Unchanged { .. } => {}
        }
    }

    /// A statement's record for consumers, with what it made of each captured table.
    fn push_ddl(&mut self, ordinal: u64, wording: Wording<'_>, effects: &[&Effect]) -> Result<()> {
        let changes = table_changes::json(effects, self.facts.flavour);
        let first = effects.iter().find_map(|effect| effect_names(effect).first().map(|name| name.schema.to_string()));
        let database = first.unwrap_or_else(|| wording.context.database.unwrap_or_default().to_owned());
        let mut tables: Vec<&str> = Vec::new();
        for name in effects.iter().flat_map(|effect| effect_names(effect)) {
            if !tables.contains(&&*name.table) {
                tables.push(&name.table);
            }
        }
        let tables = tables.join(",");
        let offset = self.event_start;
        self.open_transaction()?;
        let head = ChangeHead { op: Op::Ddl, ordinal, offset, row: 0 };
        let ddl = Ddl {
            database: database.as_bytes(),
            tables: tables.as_bytes(),
            statement: wording.text.as_bytes(),
            table_changes: changes.as_bytes(),
        };
        self.builder.push_ddl(head, &ddl);
        Ok(())
    }

    /// A change of rows that the log has as a statement cannot be followed (MY-36).
    fn statement_format(&mut self, tables: &[TableName], verb: &str, wording: Wording<'_>) -> Result<()> {
        if tables.is_empty() {
            return Err(self.statement_halt(None, verb, Some(wording)));
        }
        match tables.iter().find(|name| self.captures(name) && !self.is_read(name)) {
            Some(table) => Err(self.statement_halt(Some(table), verb, Some(wording))),
            None => Ok(()),
        }
    }

    #[cold]
    pub(super) fn statement_halt(&self, table: Option<&TableName>, verb: &str, wording: Option<Wording<'_>>) -> Error {
        let what = table.map_or_else(|| "tables that it does not name".to_owned(), |name| format!("table `{name}`"));
        let wording = wording.map(|wording| format!(": {wording}")).unwrap_or_default();
        let message =
            format!("{verb} on {what} is in the log as a statement and not as rows, at `{}`{wording}", self.here());
        let error = Error::operator("statement_dml", message).with_remedy(
            "run `SET GLOBAL binlog_format = ROW` and see that no session sets another; then read the table anew, by new \
             names of the sinks (and a new location of a Delta sink)",
        );
        match table {
            Some(table) => error.with_table(table.clone()),
            None => error,
        }
    }

    /// A statement that cannot be read matters if it may be about a captured table (MY-52).
    fn not_understood(&mut self, cause: DdlError, wording: Wording<'_>) -> Result<()> {
        self.group()?.ordinal += 1;
        match &cause.table {
            Some(table) if !self.captures(table) || self.is_read(table) => {
                tracing::debug!(%table, "a statement about a table that is not captured was not understood");
                let table = table.clone();
                if self.is_read(&table) {
                    return Ok(());
                }
                self.touch(&table);
                match self.schemas.remove(&table) {
                    Some(_) => self.history.record(self.mark(), &[(table, None)]),
                    None => Ok(()),
                }
            }
            table => {
                let name = table.clone();
                let message = format!("a statement was not understood, at `{}`: {wording}", self.here());
                let error = Error::operator("ddl_not_understood", message)
                    .with_remedy(
                        "report the statement; to go on, take the table out with \"!\" in `tables`, or read it anew by new \
                         names of the sinks (and a new location of a Delta sink)",
                    )
                    .with_cause(cause);
                Err(match name {
                    Some(name) => error.with_table(name),
                    None => error,
                })
            }
        }
    }

    #[cold]
    pub(super) fn unclear(&self, name: &TableName, wording: Wording<'_>, what: &str) -> Error {
        let message = format!("what became of table `{name}` at `{}` cannot be told ({what}): {wording}", self.here());
        Error::operator("ddl_not_applied", message)
            .with_remedy("read the table anew, by new names of its sinks (and a new location of a Delta sink)")
            .with_table(name.clone())
    }
}

/// The tables that an effect is about.
fn effect_names(effect: &Effect) -> Vec<&TableName> {
    match effect {
        Effect::Renamed { from, to } => vec![from, to],
        Effect::Created { name, .. }
        | Effect::Altered { name, .. }
        | Effect::Dropped { name }
        | Effect::Truncated { name }
        | Effect::RowsChangedUnseen { name, .. }
        | Effect::Unchanged { name }
        | Effect::Unknown { name } => vec![name],
    }
}
