//! What the server says that matters before a start. Only the login's own rights are needed to read it; what they do not
//! reach is `None`.

use super::grants::{Account, Grants};
use super::tables::is_table;
use crate::catalog::quoted_name;
use crate::config::Settings;
use crate::connection::{Row, ServerVersion};
use crate::control::{Answer, Control};
use crate::model::Flavour;
use std::collections::HashMap;
use tidewire_core::{Result, TableName};

/// Databases that are the server's own.
const OWN: &str = "('mysql', 'information_schema', 'performance_schema', 'sys')";

/// Everything.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The server.
    pub(crate) server: ServerFacts,
    /// The login.
    pub(crate) account: Account,
    /// Its rights.
    pub(crate) grants: Grants,
    /// Every table and view that the login can see and `tables` captures.
    pub(crate) tables: Vec<TableFacts>,
    /// Foreign keys of captured tables that change rows by themselves.
    pub(crate) cascades: Vec<CascadeFacts>,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct ServerFacts {
    /// Which, and how old.
    pub(crate) version: ServerVersion,
    /// Global variables, by their names in lower case.
    pub(crate) variables: HashMap<String, String>,
    /// Whether the connection is private.
    pub(crate) private: bool,
    /// Files of the log and their sizes in bytes.
    pub(crate) logs: Option<Vec<(String, u64)>>,
    /// Databases that alone are logged, and that are not logged.
    pub(crate) log_filter: Option<(Vec<String>, Vec<String>)>,
    /// Replicas of the server.
    pub(crate) replicas: Option<Vec<ReplicaFacts>>,
    /// Whether it is a replica itself.
    pub(crate) is_replica: Option<bool>,
    /// Transactions that are prepared and neither committed nor rolled back.
    pub(crate) prepared: Option<usize>,
    /// Seconds since the server's start.
    pub(crate) uptime_s: Option<u64>,
    /// Bytes written to the log since then; MariaDB only.
    pub(crate) log_bytes_written: Option<u64>,
}

impl ServerFacts {
    /// A variable under the first of some names that the server knows.
    pub(crate) fn variable(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.variables.get(*name)).map(String::as_str)
    }

    /// Whether a variable is there and on.
    pub(crate) fn is_on(&self, names: &[&str]) -> bool {
        self.variable(names).is_some_and(|value| value.eq_ignore_ascii_case("on") || value == "1")
    }

    /// A variable that is a number.
    pub(crate) fn number(&self, names: &[&str]) -> Option<u64> {
        // MariaDB has fractions of days.
        let value = self.variable(names)?;
        value.split('.').next()?.parse().ok()
    }
}

/// A row of `SHOW REPLICAS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplicaFacts {
    /// Its number.
    pub(crate) server_id: u32,
    /// How it calls itself.
    pub(crate) host: String,
}

/// A table or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableFacts {
    /// Name.
    pub(crate) name: TableName,
    /// `TABLE_TYPE`: `BASE TABLE`, `VIEW`, `SYSTEM VERSIONED`, `SEQUENCE`.
    pub(crate) kind: String,
    /// Storage engine.
    pub(crate) engine: Option<String>,
    /// Whether rows are told apart by a primary key, or by a unique index without nulls.
    pub(crate) has_key: bool,
    /// `DATA_TYPE`s of its columns.
    pub(crate) types: Vec<String>,
    /// Character sets of its columns.
    pub(crate) charsets: Vec<String>,
}

/// A foreign key that changes rows of its own table when others change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CascadeFacts {
    /// Its table.
    pub(crate) table: TableName,
    /// Its name.
    pub(crate) name: String,
    /// The table that it follows.
    pub(crate) parent: String,
}

/// Reads everything.
pub(crate) async fn read(control: &mut Control, settings: &Settings) -> Result<Facts> {
    let server = server(control).await?;
    let act = "read the login's rights";
    let account = control.query(act, "SELECT CURRENT_USER()").await?.single().map(Account::parse).unwrap_or_default();
    let grants = grants(control, server.is_on(&["partial_revokes"])).await?;
    let tables = tables(control, settings).await?;
    let cascades = match server.version.flavour {
        Flavour::MySql => cascades(control, settings).await?,
        Flavour::MariaDb => cascades_of_tables(control, &tables).await?,
    };
    Ok(Facts { server, account, grants, tables, cascades })
}

async fn server(control: &mut Control) -> Result<ServerFacts> {
    let act = "read the server's settings";
    let version = control.version().clone();
    let pairs = |answer: &Answer| -> HashMap<String, String> {
        let pair = |row: crate::control::AnswerRow<'_>| Some((row.at(0)?.to_lowercase(), row.at(1)?.to_owned()));
        answer.rows().filter_map(pair).collect()
    };
    let variables = pairs(&control.query(act, "SHOW GLOBAL VARIABLES").await?);
    let sql = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Binlog_bytes_written')";
    let status = control.query_if_allowed(act, sql).await?.map(|answer| pairs(&answer)).unwrap_or_default();
    let counter = |name: &str| status.get(name).and_then(|value| value.parse().ok());
    let logs = control.query_if_allowed(act, "SHOW BINARY LOGS").await?;
    let log_status = control.query_if_allowed(act, log_status_query(&version)).await?;
    let replicas = control.query_if_allowed(act, replicas_query(&version)).await?;
    let is_replica = control.query_if_allowed(act, replica_status_query(&version)).await?;
    let prepared = control.query_if_allowed(act, "XA RECOVER").await?;
    Ok(ServerFacts {
        private: control.is_private(),
        logs: logs.map(|answer| {
            let file = |row: crate::control::AnswerRow<'_>| Some((row.at(0)?.to_owned(), row.at(1)?.parse().ok()?));
            answer.rows().filter_map(file).collect()
        }),
        log_filter: log_status.map(|answer| {
            let list = |text: Option<&str>| -> Vec<String> {
                let text = text.unwrap_or_default();
                text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
            };
            let row = answer.rows().next();
            let column = |name: &str| list(row.and_then(|row| row.named(&[name])));
            (column("Binlog_Do_DB"), column("Binlog_Ignore_DB"))
        }),
        replicas: replicas.map(|answer| answer.rows().filter_map(|row| replica(&row)).collect()),
        is_replica: is_replica.map(|answer| answer.rows().next().is_some()),
        prepared: prepared.map(|answer| answer.rows().count()),
        uptime_s: counter("uptime"),
        log_bytes_written: counter("binlog_bytes_written"),
        version,
        variables,
    })
}

/// The words changed with MySQL 8.2.
fn log_status_query(version: &ServerVersion) -> &'static str {
    match version.flavour {
        Flavour::MySql if version.number >= 80_200 => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    }
}

/// The words changed with MySQL 8.0.22.
pub(super) fn replicas_query(version: &ServerVersion) -> &'static str {
    match version.flavour {
        Flavour::MySql if version.number >= 80_022 => "SHOW REPLICAS",
        _ => "SHOW SLAVE HOSTS",
    }
}

fn replica_status_query(version: &ServerVersion) -> &'static str {
    match version.flavour {
        Flavour::MySql if version.number >= 80_022 => "SHOW REPLICA STATUS",
        Flavour::MySql => "SHOW SLAVE STATUS",
        Flavour::MariaDb => "SHOW ALL SLAVES STATUS",
    }
}

fn replica(row: &crate::control::AnswerRow<'_>) -> Option<ReplicaFacts> {
    let server_id = row.named(&["Server_id"])?.parse().ok()?;
    Some(ReplicaFacts { server_id, host: row.named(&["Host"]).unwrap_or_default().to_owned() })
}

/// The same out of rows of our own connection.
pub(super) fn replicas(names: &[String], rows: &[Row]) -> Vec<ReplicaFacts> {
    let column = |name: &str| names.iter().position(|own| own.eq_ignore_ascii_case(name));
    let (Some(id), host) = (column("Server_id"), column("Host")) else { return Vec::new() };
    let value = |row: &Row, index: usize| {
        let bytes = row.get(index).and_then(Option::as_deref)?;
        String::from_utf8(bytes.to_vec()).ok()
    };
    let replica = |row: &Row| {
        let server_id = value(row, id)?.parse().ok()?;
        Some(ReplicaFacts { server_id, host: host.and_then(|host| value(row, host)).unwrap_or_default() })
    };
    rows.iter().filter_map(replica).collect()
}

/// The login's own rights, and those of the roles that are active in its sessions.
async fn grants(control: &mut Control, literal_names: bool) -> Result<Grants> {
    let act = "read the login's rights";
    let roles = control.query_if_allowed(act, "SELECT CURRENT_ROLE()").await?;
    let roles = roles.as_ref().and_then(Answer::single).filter(|roles| *roles != "NONE" && !roles.is_empty());
    let flavour = control.version().flavour;
    let mut answers = Vec::new();
    match (flavour, roles) {
        // The answer lists roles quoted as they are wanted here.
        (Flavour::MySql, Some(roles)) => {
            answers.push(control.query(act, &format!("SHOW GRANTS FOR CURRENT_USER() USING {roles}")).await?);
        }
        (Flavour::MySql, None) => answers.push(control.query(act, "SHOW GRANTS FOR CURRENT_USER()").await?),
        (Flavour::MariaDb, roles) => {
            answers.push(control.query(act, "SHOW GRANTS FOR CURRENT_USER()").await?);
            if roles.is_some() {
                answers.extend(control.query_if_allowed(act, "SHOW GRANTS FOR CURRENT_ROLE()").await?);
            }
            if control.version().number >= 101_100 {
                answers.extend(control.query_if_allowed(act, "SHOW GRANTS FOR PUBLIC").await?);
            }
        }
    }
    let lines = answers.iter().flat_map(Answer::rows).filter_map(|row| row.at(0));
    Ok(Grants::parse(lines, literal_names))
}

async fn tables(control: &mut Control, settings: &Settings) -> Result<Vec<TableFacts>> {
    let act = "read the tables";
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES
          WHERE TABLE_SCHEMA NOT IN {OWN} ORDER BY 1, 2"
    );
    let mut tables = Vec::new();
    let mut places = HashMap::new();
    for row in control.query(act, &sql).await?.rows() {
        let (Some(schema), Some(table)) = (row.at(0), row.at(1)) else { continue };
        if !settings.tables.captures(schema, table) {
            continue;
        }
        let name = TableName::new(schema, table);
        places.insert(name.clone(), tables.len());
        tables.push(TableFacts {
            name,
            kind: row.at(2).unwrap_or_default().to_owned(),
            engine: row.at(3).map(str::to_owned),
            has_key: false,
            types: Vec::new(),
            charsets: Vec::new(),
        });
    }
    if tables.is_empty() {
        return Ok(tables);
    }
    let place = |row: &crate::control::AnswerRow<'_>| places.get(&TableName::new(row.at(0)?, row.at(1)?)).copied();
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS
          WHERE TABLE_SCHEMA NOT IN {OWN} AND NON_UNIQUE = 0
          GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME
         HAVING SUM(COALESCE(NULLABLE, '') = 'YES') = 0
            AND (INDEX_NAME = 'PRIMARY' OR SUM(SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL) = 0)"
    );
    for row in control.query(act, &sql).await?.rows() {
        if let Some(table) = place(&row).and_then(|place| tables.get_mut(place)) {
            table.has_key = true;
        }
    }
    let sql = format!(
        "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, DATA_TYPE, CHARACTER_SET_NAME FROM information_schema.COLUMNS
          WHERE TABLE_SCHEMA NOT IN {OWN}"
    );
    for row in control.query(act, &sql).await?.rows() {
        if let Some(table) = place(&row).and_then(|place| tables.get_mut(place)) {
            table.types.extend(row.at(2).map(str::to_lowercase));
            table.charsets.extend(row.at(3).map(str::to_lowercase));
        }
    }
    Ok(tables)
}

async fn cascades(control: &mut Control, settings: &Settings) -> Result<Vec<CascadeFacts>> {
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME
           FROM information_schema.REFERENTIAL_CONSTRAINTS
          WHERE CONSTRAINT_SCHEMA NOT IN {OWN}
            AND (UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
                 OR DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
          ORDER BY 1, 2, 3"
    );
    let answer = control.query("read the foreign keys", &sql).await?;
    let cascade = |row: crate::control::AnswerRow<'_>| {
        Some(CascadeFacts {
            table: TableName::new(row.at(0)?, row.at(1)?),
            name: row.at(2)?.to_owned(),
            parent: row.at(3)?.to_owned(),
        })
    };
    let captured = |cascade: &CascadeFacts| settings.tables.captures_name(&cascade.table);
    Ok(answer.rows().filter_map(cascade).filter(captured).collect())
}

/// MariaDB hides foreign keys in its catalog from a login that may only read, and shows them in the tables' definitions.
async fn cascades_of_tables(control: &mut Control, tables: &[TableFacts]) -> Result<Vec<CascadeFacts>> {
    let mut found = Vec::new();
    for table in tables.iter().filter(|table| is_table(table) && table.engine.as_deref() == Some("InnoDB")) {
        let sql = format!("SHOW CREATE TABLE {}", quoted_name(&table.name));
        let answer = match control.query_if_allowed("read a table's definition", &sql).await {
            Ok(answer) => answer,
            Err(error) if error.code() == "table_missing" => continue,
            Err(error) => return Err(error),
        };
        let row = answer.as_ref().and_then(|answer| answer.rows().next());
        let definition = row.and_then(|row| row.at(1)).unwrap_or_default();
        found.extend(definition.lines().filter_map(cascade_in).map(|(name, parent)| CascadeFacts {
            table: table.name.clone(),
            name,
            parent,
        }));
    }
    Ok(found)
}

/// Name and parent of a foreign key that changes rows by itself, in its line of a definition: ``CONSTRAINT `name` FOREIGN
/// KEY (`column`) REFERENCES `parent` (`id`) ON DELETE CASCADE,``.
fn cascade_in(line: &str) -> Option<(String, String)> {
    let rest = line.trim_start().strip_prefix("CONSTRAINT `")?;
    let (name, rest) = rest.split_once("` FOREIGN KEY (")?;
    let (_, rest) = rest.split_once(") REFERENCES `")?;
    let (parent, rest) = rest.split_once("` (")?;
    let (_, actions) = rest.rsplit_once(')')?;
    let acts = ["CASCADE", "SET NULL", "SET DEFAULT"].iter().any(|action| actions.contains(action));
    acts.then(|| (name.replace("``", "`"), parent.replace("``", "`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn my_35_cascades_in_a_definition() {
        let found = |line: &str| cascade_in(line).map(|(name, parent)| format!("{name} {parent}"));
        let line = "  CONSTRAINT `fk` FOREIGN KEY (`p`) REFERENCES `par` (`id`) ON DELETE ";
        assert_eq!(found(&format!("{line}CASCADE ON UPDATE NO ACTION,")).as_deref(), Some("fk par"));
        assert_eq!(found(&format!("{line}SET NULL")).as_deref(), Some("fk par"));
        assert_eq!(found(&format!("{line}RESTRICT")), None);
        assert_eq!(found("  CONSTRAINT `fk` FOREIGN KEY (`p`) REFERENCES `par` (`id`),"), None);
        assert_eq!(found("  CONSTRAINT `c` CHECK (`a` <> 'ON DELETE CASCADE')"), None);
        assert_eq!(found("  `a` int COMMENT 'CASCADE',"), None);
    }
}
