//! The database: the only user of sqlx. One public method is one domain transition and one transaction;
//! nobody outside sees a connection, a row or a statement. SQLite and PostgreSQL run the same text.

mod action;
mod approval;
mod approve;
mod audit;
mod check;
mod chunk;
mod claim;
mod drift;
mod duel;
mod effect;
mod finish;
mod fleet;
mod history;
mod ids;
mod ingest;
mod ledger;
mod list;
mod local;
mod migrate;
mod node;
mod numbers;
mod pace;
mod pause;
mod plan;
mod policy;
mod preview;
#[cfg(test)]
mod promises;
mod pull;
mod query;
mod read;
mod record;
mod rehearse;
mod report;
mod retention;
mod revision;
mod rows;
mod samples;
mod setting;
mod silence;
mod slot;
pub(crate) mod sql;
mod stale;
mod status;
mod sweep;
mod token;
mod why;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, Postgres, SqlitePool, Transaction};

use crate::domain::guardrails::Everywhere;
pub use action::{Cancelled, Created, Keyed, Making, NewAction};
pub use approval::{ApprovalRow, Refused as ApprovalRefused, VoteRow};
pub use approve::{PastAnswer, PastOf, Pending, Yes};
pub use audit::{AuditFilter, AuditRow};
pub use claim::{Claimed, Dispatch, Lease, Planned, Task, TaskApproval};
pub use drift::{DriftRow, Drifted};
pub use effect::Effect;
pub use finish::{Ending, Finished};
pub(crate) use fleet::Located;
pub use fleet::OpenIncident;
pub use ids::Block;
pub use ingest::{NewSample, NewSeries, PartitionSeq, SeriesRow, StandingRow, TailSample, Writing};
pub use ledger::Entry;
pub use list::{ActionFilter, IncidentFilter, Part, Place};
use local::{Lite, Local};
pub use numbers::{LastRun, QueueNumbers};
pub(crate) use pace::Unproven;
pub use pause::Pause;
pub use plan::{ActionDraft, Asked, IncidentChange, IncidentDraft, Plan, Verdict, Which};
pub use policy::{Change, Edition};
pub use pull::{Ask, Lent, Offer};
pub use query::{Found, Wanted as WantedSamples};
pub use read::{ActionRow, IncidentRow};
pub use rehearse::{Accepted, DeedRow, EpisodeRow, LogRow, PastEnd, PastPause, PastSpent};
pub use report::{Report, Reported};
pub use retention::Limits;
pub use revision::{KEPT as KEPT_REVISIONS, Revision};
pub use rows::{AttemptRow, CallRow, Moved};
pub use setting::Overrides;
pub use silence::{PastSilence, Silenced};
use sql::{Dialect, Sql};
pub use status::{StatusSet, Wanted};
pub use token::{NewToken, Revoked};
pub use why::{AuditFact, Chain, DecisionFact, EventFact};

/// What can go wrong, by what a caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be reached or gave up; the same call may work later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// There is no room left for the data.
    #[error("the database has no room left: {0}")]
    Full(String),
    /// Another row has that name or key.
    #[error("already exists")]
    Conflict,
    /// What the caller sent can't be stored. Splitting the batch finds out which part.
    #[error("the database refuses the data: {0}")]
    Data(String),
    /// The transaction may or may not have been committed.
    #[error("the connection was lost while committing: {0}")]
    CommitUnknown(String),
    /// The database holds what we never wrote, or can't be used as configured.
    #[error("{0}")]
    Broken(String),
}

impl From<sqlx::Error> for Error {
    fn from(wrong: sqlx::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "an enum of sqlx's, which may grow")]
        match &wrong {
            sqlx::Error::Database(db) => {
                let code = db.code().unwrap_or_default();
                match code.as_ref() {
                    // SQLite: unique and primary key constraint. PostgreSQL: unique_violation.
                    "2067" | "1555" | "23505" => Self::Conflict,
                    // SQLITE_FULL; disk_full.
                    "13" | "53100" => Self::Full(db.message().to_owned()),
                    // SQLITE_BUSY, LOCKED, IOERR and kin; PostgreSQL's connection, resource, shutdown, rollback classes.
                    code if transient(code) => Self::Unavailable(db.message().to_owned()),
                    _ => Self::Data(db.message().to_owned()),
                }
            }
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                Self::Broken(wrong.to_string())
            }
            _ => Self::Unavailable(wrong.to_string()),
        }
    }
}

/// Codes of errors that pass by themselves: SQLite's primary codes 5 (busy), 6 (locked), 10 (I/O), 14 (can't
/// open) with their extensions, and PostgreSQL's classes 08, 40, 53, 57, 58.
fn transient(code: &str) -> bool {
    if code.len() == 5 && ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) {
        return true;
    }
    code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 5 | 6 | 10 | 14))
}

/// Result of every method of the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Which database to open.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file of ours.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(String),
}

/// How sure a commit is before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Survives a loss of power.
    #[default]
    Sync,
    /// Survives a crash of the process.
    Process,
    /// Survives nothing: for a database that nobody needs afterwards.
    Scratch,
}

#[derive(Clone, Debug)]
enum Pool {
    /// One connection writes, the others read: SQLite has one writer whatever we do.
    Sqlite {
        write: Local,
        read: SqlitePool,
    },
    Postgres(PgPool),
}

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    everywhere: Everywhere,
    silences: silence::Memory,
}

/// A transaction on either database.
#[derive(Debug)]
pub(crate) enum Tx {
    Sqlite(Lite),
    Postgres(Transaction<'static, Postgres>),
}

/// Runs one sqlx expression on whichever connection a transaction holds.
macro_rules! on {
    ($tx:expr, $connection:ident => $body:expr) => {
        match $tx {
            crate::store::Tx::Sqlite(tx) => {
                let $connection = &mut **tx;
                $body
            }
            crate::store::Tx::Postgres(tx) => {
                let $connection = &mut **tx;
                $body
            }
        }
    };
}
pub(crate) use on;

impl Tx {
    fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    fn text(&self, sql: &'static Sql) -> &'static str {
        sql.get(self.dialect())
    }

    async fn commit(self) -> Result<()> {
        let done = match self {
            Self::Sqlite(Lite::Writing(held)) => held.commit().await,
            Self::Sqlite(Lite::Reading(tx)) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        };
        done.map_err(uncertain)
    }
}

/// An error of a commit: where the connection failed, nobody knows whether it came about.
fn uncertain(wrong: sqlx::Error) -> Error {
    match Error::from(wrong) {
        Error::Unavailable(why) => Error::CommitUnknown(why),
        other @ (Error::Full(_)
        | Error::Conflict
        | Error::Data(_)
        | Error::CommitUnknown(_)
        | Error::Broken(_)) => other,
    }
}

impl Store {
    /// Opens the database; it is migrated by [`Store::migrate`].
    pub async fn open(location: Location, durability: Durability, connections: u32) -> Result<Self> {
        let pool = match &location {
            Location::Sqlite(file) => open_sqlite(file, durability, connections).await?,
            Location::Postgres(url) => {
                let options = PgConnectOptions::from_str(url)
                    .map_err(|wrong| Error::Broken(format!("the database URL can't be read: {wrong}")))?
                    .application_name("vigil")
                    .options([(
                        "synchronous_commit",
                        if durability == Durability::Sync { "on" } else { "off" },
                    )]);
                Pool::Postgres(
                    PgPoolOptions::new()
                        .max_connections(connections.max(4))
                        .acquire_timeout(Duration::from_secs(5))
                        .connect_with(options)
                        .await?,
                )
            }
        };
        // Until somebody says what is allowed, nothing is.
        let everywhere = Everywhere {
            max_actions: 0,
            window: Duration::from_hours(1),
            max_retries: 0,
            opposites: Arc::default(),
            plugins: Arc::default(),
        };
        Ok(Self { pool, everywhere, silences: silence::Memory::default() })
    }

    /// The same, with what limits all actions together.
    #[must_use]
    pub fn within(self, everywhere: Everywhere) -> Self {
        Self { everywhere, ..self }
    }

    /// What limits all actions together.
    #[must_use]
    pub fn everywhere(&self) -> &Everywhere {
        &self.everywhere
    }

    fn dialect(&self) -> Dialect {
        match self.pool {
            Pool::Sqlite { .. } => Dialect::Sqlite,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// `sqlite` or `postgres`, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
        }
    }

    /// A transaction that will write.
    async fn begin(&self) -> Result<Tx> {
        Ok(match &self.pool {
            Pool::Sqlite { write, .. } => {
                let mut held = write.hold().await?;
                held.begin().await?;
                Tx::Sqlite(Lite::Writing(held))
            }
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// The same, where on SQLite nothing is begun yet.
    async fn beginning(&self) -> Result<Tx> {
        let Pool::Sqlite { write, .. } = &self.pool else { return self.begin().await };
        Ok(Tx::Sqlite(Lite::Writing(write.hold().await?)))
    }

    /// A transaction that only reads, beside the writer.
    async fn reading(&self) -> Result<Tx> {
        Ok(match &self.pool {
            Pool::Sqlite { read, .. } => Tx::Sqlite(Lite::Reading(read.begin().await?)),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        let mut tx = self.reading().await?;
        on!(&mut tx, c => sqlx::query("SELECT 1").execute(c).await?.rows_affected());
        Ok(())
    }

    /// Closes the pools; what is running is waited for.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(file: &PathBuf, durability: Durability, connections: u32) -> Result<Pool> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match durability {
            Durability::Sync => SqliteSynchronous::Full,
            Durability::Process => SqliteSynchronous::Normal,
            Durability::Scratch => SqliteSynchronous::Off,
        })
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        // A statement of many rows keeps a journal of its own; on disk it would be a file opened for each.
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "-8192")
        .statement_cache_capacity(200);
    let write = Local::open(options.clone()).await?;
    let read = SqlitePoolOptions::new()
        .max_connections(connections.clamp(1, 4))
        // A connection to a file of ours does not go away between two questions.
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options.read_only(true).create_if_missing(false))
        .await?;
    Ok(Pool::Sqlite { write, read })
}
