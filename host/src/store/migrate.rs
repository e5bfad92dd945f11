//! Bringing a database to this version's tables, under a lock.

use std::borrow::Cow;

use sqlx::AssertSqlSafe;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::sql::{Dialect, fill, statements};
use super::{Error, Lite, Pool, Result, Store, on};
use crate::domain::event::PARTITIONS;

/// Every migration, in order; a released one never changes.
const MIGRATIONS: [(i64, &str, &str); 16] = [
    (1, "start", include_str!("../../../migrations/0001_start.sql")),
    (2, "access", include_str!("../../../migrations/0002_access.sql")),
    (3, "actions", include_str!("../../../migrations/0003_actions.sql")),
    (4, "control", include_str!("../../../migrations/0004_control.sql")),
    (5, "simulated", include_str!("../../../migrations/0005_simulated.sql")),
    (10, "chunks", include_str!("../../../migrations/0010_chunks.sql")),
    (11, "pause", include_str!("../../../migrations/0011_pause.sql")),
    (12, "ladder", include_str!("../../../migrations/0012_ladder.sql")),
    (13, "fleet", include_str!("../../../migrations/0013_fleet.sql")),
    (14, "revisions", include_str!("../../../migrations/0014_revisions.sql")),
    (15, "silence", include_str!("../../../migrations/0015_silence.sql")),
    (16, "approvals", include_str!("../../../migrations/0016_approvals.sql")),
    (17, "rails", include_str!("../../../migrations/0017_rails.sql")),
    (18, "tick", include_str!("../../../migrations/0018_tick.sql")),
    (19, "plans", include_str!("../../../migrations/0019_plans.sql")),
    (20, "pace", include_str!("../../../migrations/0020_pace.sql")),
];

statements! { pub(super) STATEMENTS:
    INSTALL = "INSERT INTO installation (one, id, partitions) VALUES (1, $1, $2) ON CONFLICT (one) DO NOTHING";
    ADD_PARTITION = "INSERT INTO partition_state (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
    INSTALLED = "SELECT id, partitions FROM installation";
}

/// Settings of PostgreSQL's tables that see many updates: dead rows are what slows a queue down.
const TUNING: [&str; 3] = [
    "ALTER TABLE action SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01)",
    "ALTER TABLE slot SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01)",
    "ALTER TABLE node SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01)",
];

impl Store {
    /// Runs what has not run yet and answers the installation's id. Several nodes may call it at once:
    /// PostgreSQL's advisory lock, or SQLite's single writer, lets one through at a time.
    pub async fn migrate(&self, fresh_id: &str) -> Result<String> {
        let migrator = Migrator::with_migrations(
            MIGRATIONS.iter().map(|(version, name, raw)| one(*version, name, raw, self.dialect())).collect(),
        );
        let done = match &self.pool {
            Pool::Sqlite { write, .. } => migrator.run(&mut *Lite::Writing(write.hold().await?)).await,
            Pool::Postgres(pool) => migrator.run(pool).await,
        };
        done.map_err(|wrong| {
            if let sqlx::migrate::MigrateError::Execute(inner) = wrong {
                return Error::from(inner);
            }
            Error::Broken(format!("the database can't be migrated: {wrong}"))
        })?;
        self.install(fresh_id).await
    }

    async fn install(&self, fresh_id: &str) -> Result<String> {
        let mut tx = self.begin().await?;
        let (install, add) = (tx.text(&INSTALL), tx.text(&ADD_PARTITION));
        on!(&mut tx, c => sqlx::query(install).bind(fresh_id).bind(i64::from(PARTITIONS)).execute(c).await?.rows_affected());
        for id in 0..i64::from(PARTITIONS) {
            on!(&mut tx, c => sqlx::query(add).bind(id).execute(c).await?.rows_affected());
        }
        let installed = tx.text(&INSTALLED);
        let (id, partitions): (String, i64) =
            on!(&mut tx, c => sqlx::query_as(installed).fetch_one(c).await?);
        if partitions != i64::from(PARTITIONS) {
            return Err(Error::Broken(format!(
                "this database was made with {partitions} partitions, this version has {PARTITIONS}"
            )));
        }
        tx.commit().await?;
        self.tune().await?;
        Ok(id)
    }

    async fn tune(&self) -> Result<()> {
        if let Pool::Postgres(pool) = &self.pool {
            for statement in TUNING {
                match sqlx::query(statement).execute(pool).await.map_err(Error::from) {
                    // Two nodes tuning at once: one is enough.
                    Ok(_) | Err(Error::Unavailable(_) | Error::Data(_)) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }
}

fn one(version: i64, name: &'static str, raw: &str, dialect: Dialect) -> Migration {
    let sql = AssertSqlSafe(fill(raw, dialect)).into_sql_str();
    Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
}
