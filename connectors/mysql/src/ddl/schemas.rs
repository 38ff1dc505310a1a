//! The definitions in force at a place of the log, and what a statement does to them. Knows no log.

use super::define::Rules;
use super::{AlterAction, AlterTable, CharsetSpec, Context, CreateBody, CreateTable, Statement, change, define};
use crate::model::{Charset, TableDef};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::TableName;

/// What a server presumes when nothing is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// `character_set_server` and `collation_server`: of a new database. Of each statement the log says its own.
    pub(crate) charset: Charset,
    /// `explicit_defaults_for_timestamp`: when off, a `TIMESTAMP` is not null unless it is said to be.
    pub(crate) explicit_timestamps: bool,
}

/// Definitions of tables and the default character sets of databases.
///
/// A table whose database is not in here is not defined by a `CREATE TABLE` that leaves its character set to the database:
/// so the databases must be told, by [`Self::set_database`], as well as the tables. A table whose statement could not be
/// applied is forgotten, so that what follows about it is [`Effect::Unknown`] rather than wrong.
#[derive(Clone, Debug)]
pub(crate) struct Schemas {
    defaults: Defaults,
    databases: BTreeMap<Arc<str>, Charset>,
    tables: BTreeMap<(Arc<str>, Arc<str>), Arc<TableDef>>,
}

/// What became of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is new, and empty (or its rows follow as rows). What had its name before is gone.
    Created {
        /// Its name.
        name: TableName,
        /// What it is; `None` when the statement does not tell: columns of a query, like a table that is not known, in a
        /// database that is not known.
        def: Option<Arc<TableDef>>,
    },
    /// It has another shape.
    Altered {
        /// Its name, before any renaming, which is an effect of its own.
        name: TableName,
        /// What it was.
        before: Arc<TableDef>,
        /// What it is.
        after: Arc<TableDef>,
    },
    /// It is gone.
    Dropped {
        /// Its name.
        name: TableName,
    },
    /// It has another name.
    Renamed {
        /// The old.
        from: TableName,
        /// The new.
        to: TableName,
    },
    /// It has no more rows.
    Truncated {
        /// Its name.
        name: TableName,
    },
    /// Rows appeared or vanished of which the log tells nothing.
    RowsChangedUnseen {
        /// Its name.
        name: TableName,
        /// By what, in SQL's words.
        what: &'static str,
    },
    /// Nothing that matters to its shape changed: storage, indexes that are not unique, partitioning.
    Unchanged {
        /// Its name.
        name: TableName,
    },
    /// It was changed and is not known.
    Unknown {
        /// Its name.
        name: TableName,
    },
}

/// A statement that does not fit the definitions: they are not those that the server had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    /// A column that should be there.
    #[error("table `{table}` has no column `{column}` in the definition that is known here")]
    ColumnMissing {
        /// Table.
        table: TableName,
        /// Column.
        column: Arc<str>,
    },
    /// A column that should not be there.
    #[error("table `{table}` has a column `{column}` already in the definition that is known here")]
    ColumnExists {
        /// Table.
        table: TableName,
        /// Column.
        column: Arc<str>,
    },
    /// A character set whose characters' width is needed.
    #[error("table `{table}` uses the character set `{charset}`, which is not known")]
    CharsetUnknown {
        /// Table.
        table: TableName,
        /// Character set.
        charset: Arc<str>,
    },
    /// A database whose default character set is needed.
    #[error("table `{table}` takes the default character set of its database, which is not known")]
    DatabaseUnknown {
        /// Table.
        table: TableName,
    },
}

fn key(name: &TableName) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&name.schema), Arc::clone(&name.table))
}

impl Schemas {
    /// Without tables and databases.
    pub(crate) fn new(defaults: Defaults) -> Schemas {
        Schemas { defaults, databases: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Tells or corrects a database's default character set.
    pub(crate) fn set_database(&mut self, name: impl Into<Arc<str>>, charset: Charset) {
        self.databases.insert(name.into(), charset);
    }

    /// A database's default character set.
    #[cfg(test)]
    pub(crate) fn database(&self, name: &str) -> Option<&Charset> {
        self.databases.get(name)
    }

    /// `collation_server` as the session of the next statement has it: of a database that is created without one.
    pub(crate) fn set_server_charset(&mut self, charset: Charset) {
        self.defaults.charset = charset;
    }

    /// Tells or replaces a table.
    pub(crate) fn insert(&mut self, table: TableDef) {
        self.tables.insert(key(&table.name), Arc::new(table));
    }

    /// A table, if it is known.
    pub(crate) fn get(&self, name: &TableName) -> Option<Arc<TableDef>> {
        self.tables.get(&key(name)).cloned()
    }

    /// Forgets a table.
    pub(crate) fn remove(&mut self, name: &TableName) -> Option<Arc<TableDef>> {
        self.tables.remove(&key(name))
    }

    /// Tables by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TableDef> {
        self.tables.values().map(|table| &**table)
    }

    /// Whether both say the same of the same tables, however columns are counted ([`TableDef::says_the_same`]).
    pub(crate) fn say_the_same(&self, other: &Schemas) -> bool {
        self.tables.len() == other.tables.len()
            && self.iter().zip(other.iter()).all(|(table, other)| table.says_the_same(other))
    }

    /// Applies a statement, and tells what became of which table, in order.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] if the statement does not fit the definition; the table is then forgotten.
    pub(crate) fn apply(&mut self, statement: &Statement, context: &Context<'_>) -> Result<Vec<Effect>, ApplyError> {
        Ok(match statement {
            Statement::CreateTable(create) => return self.create(create, context),
            Statement::AlterTable(alter) => return self.alter(alter, context),
            Statement::CreateIndex { table, key } => {
                return self.alter(&alone(table, AlterAction::AddKey(key.clone())), context);
            }
            Statement::DropIndex { table, name } => {
                return self.alter(&alone(table, AlterAction::DropKey(Arc::clone(name))), context);
            }
            Statement::DropTables { temporary: true, .. }
            | Statement::Dml { .. }
            | Statement::Transaction(_)
            | Statement::Other => Vec::new(),
            Statement::DropTables { names, .. } => names.iter().map(|name| self.drop_table(name)).collect(),
            Statement::RenameTables(pairs) => pairs.iter().flat_map(|(from, to)| self.rename(from, to)).collect(),
            Statement::Truncate(name) => vec![self.known(name, |name| Effect::Truncated { name })],
            Statement::PartitionData { table, other, what } => {
                self.partition_data(table, other.as_ref(), what, context)
            }
            Statement::DropDatabase(name) => self.drop_database(name),
            Statement::CreateDatabase { name, charset, if_not_exists } => {
                self.database_charset(name, charset, *if_not_exists, true, context);
                Vec::new()
            }
            Statement::AlterDatabase { name, charset } => {
                self.database_charset(name, charset, false, false, context);
                Vec::new()
            }
        })
    }

    fn rules<'a>(&self, context: &'a Context<'a>) -> Rules<'a> {
        Rules { context, explicit_timestamps: self.defaults.explicit_timestamps }
    }

    fn known(&self, name: &TableName, effect: impl FnOnce(TableName) -> Effect) -> Effect {
        let name = name.clone();
        if self.tables.contains_key(&key(&name)) { effect(name) } else { Effect::Unknown { name } }
    }

    fn create(&mut self, create: &CreateTable, context: &Context<'_>) -> Result<Vec<Effect>, ApplyError> {
        let name = create.name.clone();
        if create.temporary {
            return Ok(Vec::new());
        }
        if create.if_not_exists && !create.or_replace && self.tables.contains_key(&key(&name)) {
            return Ok(vec![Effect::Unchanged { name }]);
        }
        self.tables.remove(&key(&name));
        let table = match &create.body {
            CreateBody::Like(source) => self.get(source).map(|source| {
                let mut table = source.under_name(name.clone());
                define::finish(&mut table, std::iter::empty(), self.rules(context));
                table
            }),
            CreateBody::Columns { .. } if create.as_select => None,
            CreateBody::Columns { columns, keys, options } => {
                let says = options.charset.name.is_some()
                    || options
                        .charset
                        .collation
                        .as_deref()
                        .and_then(super::charset::charset_of_collation_name)
                        .is_some();
                let above = match self.databases.get(&name.schema) {
                    Some(above) => Some(above),
                    None if says || options.sequence => Some(&self.defaults.charset),
                    None => None,
                };
                let rules = self.rules(context);
                above.map(|above| define::table(&name, columns, keys, options, above, rules)).transpose()?
            }
        };
        let def = table.map(|mut table| {
            table.number_columns(context.origin);
            Arc::new(table)
        });
        if let Some(def) = &def {
            self.tables.insert(key(&name), Arc::clone(def));
        }
        Ok(vec![Effect::Created { name, def }])
    }

    fn alter(&mut self, alter: &AlterTable, context: &Context<'_>) -> Result<Vec<Effect>, ApplyError> {
        let renamed = alter.actions.iter().rev().find_map(|action| match action {
            AlterAction::Rename(to) => Some(to),
            _ => None,
        });
        let Some(before) = self.remove(&alter.name) else {
            let names = std::iter::once(&alter.name).chain(renamed).cloned();
            return Ok(names.map(|name| Effect::Unknown { name }).collect());
        };
        let above = self.databases.get(&alter.name.schema);
        let after = Arc::new(change::alter(&before, alter, above, self.rules(context))?);
        self.tables.insert(key(&alter.name), Arc::clone(&after));
        let name = alter.name.clone();
        let mut effects = Vec::with_capacity(2);
        if change::may_delete_rows(alter) {
            effects.push(Effect::RowsChangedUnseen { name: name.clone(), what: "ALTER IGNORE" });
        }
        effects.push(if before == after {
            Effect::Unchanged { name }
        } else {
            Effect::Altered { name, before, after }
        });
        if let Some(to) = renamed.filter(|to| **to != alter.name) {
            effects.retain(|effect| !matches!(effect, Effect::Unchanged { .. }));
            effects.extend(self.rename(&alter.name, to));
        }
        Ok(effects)
    }

    fn rename(&mut self, from: &TableName, to: &TableName) -> Vec<Effect> {
        let Some(table) = self.remove(from) else {
            // What comes by the new name is not known either, and is not what had it before.
            self.remove(to);
            return [from, to].map(|name| Effect::Unknown { name: name.clone() }).into();
        };
        self.insert(table.under_name(to.clone()));
        vec![Effect::Renamed { from: from.clone(), to: to.clone() }]
    }

    fn drop_table(&mut self, name: &TableName) -> Effect {
        let name = name.clone();
        if self.remove(&name).is_some() { Effect::Dropped { name } } else { Effect::Unknown { name } }
    }

    fn partition_data(
        &mut self,
        table: &TableName,
        other: Option<&TableName>,
        what: &'static str,
        context: &Context<'_>,
    ) -> Vec<Effect> {
        let changed = |name| Effect::RowsChangedUnseen { name, what };
        let mut effects = vec![self.known(table, changed)];
        let Some(other) = other else { return effects };
        match what {
            "CONVERT PARTITION TO TABLE" => {
                let def = self.get(table).map(|table| {
                    let mut def = table.under_name(other.clone());
                    def.number_columns(context.origin);
                    Arc::new(def)
                });
                if let Some(def) = &def {
                    self.tables.insert(key(other), Arc::clone(def));
                }
                effects.push(Effect::Created { name: other.clone(), def });
                effects.push(changed(other.clone()));
            }
            "CONVERT TABLE TO PARTITION" => effects.push(self.drop_table(other)),
            _ => effects.push(self.known(other, changed)),
        }
        effects
    }

    fn drop_database(&mut self, name: &Arc<str>) -> Vec<Effect> {
        self.databases.remove(name);
        let gone: Vec<TableName> =
            self.tables.values().filter(|table| table.name.schema == *name).map(|table| table.name.clone()).collect();
        gone.iter().map(|name| self.drop_table(name)).collect()
    }

    /// A database's default character set as a statement says it.
    fn database_charset(&mut self, name: &Arc<str>, spec: &CharsetSpec, keep: bool, new: bool, context: &Context<'_>) {
        if keep && self.databases.contains_key(name) || !new && !spec.is_said() {
            return;
        }
        let above = match self.databases.get(name) {
            Some(known) if !new && !spec.reset => known,
            _ => &self.defaults.charset,
        };
        let charset = spec.resolve(above, context);
        self.databases.insert(Arc::clone(name), charset);
    }
}

/// A statement about indexes as the `ALTER TABLE` that it is.
fn alone(table: &TableName, action: AlterAction) -> AlterTable {
    AlterTable { name: table.clone(), if_exists: false, ignore: false, actions: vec![action] }
}
