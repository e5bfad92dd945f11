//! What a back-test reads of the past, and the scratch database in which it lives it again.

use std::path::Path;

use serde_json::Value;

use sqlx::sqlite::SqlitePoolOptions;

use super::ingest::{SeriesRow, TailSample, Writing};
use super::sql::statements;
use super::{Durability, Error, Location, Pool, Result, Store, chunk, on, record, rows, slot};
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    TICKED = "INSERT INTO tick (at, mask) VALUES ($1, $2)";
    TICKS = "SELECT at, mask FROM tick WHERE at >= $1 AND at < $2 ORDER BY n";
    REAL_SERIES = "SELECT id, identity, name, target, target_kind, namespace, simulated, tags
        FROM series WHERE simulated = FALSE ORDER BY id";
    FIRST = "SELECT MIN(n), MIN(at) FROM chunk WHERE at >= $1";
    NEXT = "SELECT n, at, first_id, data FROM chunk WHERE n >= $1 ORDER BY n LIMIT 64";
    ENDED = "SELECT policy_id, target, step, created_at, completed_at, state,
        (withheld IS NOT NULL) FROM action
        WHERE origin = 'policy' AND simulated = FALSE AND policy_id IS NOT NULL AND step IS NOT NULL
        AND created_at >= $1 AND created_at < $2";
    SPENT = "SELECT r.policy_id, a.origin, r.target, r.at, r.plugin, a.kind, a.state, a.completed_at FROM reservation r JOIN action a ON a.id = r.action_id
        WHERE r.at >= $1 AND r.at < $2 ORDER BY r.at, r.action_id";
    PAUSES = "SELECT at, verb, facts FROM audit WHERE verb IN ('automation.paused', 'automation.resumed')
        AND at < $1 ORDER BY id";
    LOG = "SELECT d.id, d.at, d.last_at, d.event_id, d.verdict, d.reason, d.until_at, d.repeats, d.facts,
        i.policy_name, i.policy_version, i.target, i.opened_at, a.kind, a.step, a.params
        FROM decision d JOIN incident i ON i.id = d.incident_id LEFT JOIN action a ON a.id = d.action_id
        WHERE i.simulated = FALSE AND d.id > $1 ORDER BY d.id LIMIT $2";
    EPISODES = "SELECT id, policy_name, policy_version, target, opened_at, cleared_at, state, actions, violations
        FROM incident WHERE simulated = FALSE AND id > $1 ORDER BY id LIMIT $2";
    DEEDS = "SELECT id, policy_name, kind, target, step, params, state, verdict, created_at FROM action
        WHERE simulated = FALSE AND policy_id IS NOT NULL AND id > $1 ORDER BY id LIMIT $2";
    END = "UPDATE action SET state = $2, completed_at = $3, withheld = CASE WHEN $4 THEN 'recorded' END WHERE id = $1 AND completed_at IS NULL";
    HELD = "INSERT INTO reservation (action_id, policy_id, target, at, plugin) VALUES ($1, 0, $2, $3, $4)";
    DONE = "INSERT INTO action (id, execution_id, origin, kind, target, labels, params, priority, state, simulated,
        queued, attempts, max_attempts, crashes, run_at, created_at)
        VALUES ($1, '', 'api', $2, $3, '{}', '{}', 1, 'running', FALSE, TRUE, 1, 1, 0, $4, $4)";
}

/// A decision with what led to it, as it was written down.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct LogRow {
    /// Its number.
    pub id: i64,
    /// When it was made; microseconds since the epoch, like all times here.
    pub at: i64,
    /// When it was last repeated.
    pub last_at: i64,
    /// The sample that led to it, the latest one of its repeats' first.
    pub event_id: i64,
    /// `act`, `suppress` or `hand_over`.
    pub verdict: String,
    /// Why not.
    pub reason: Option<String>,
    /// Until when that holds.
    pub until_at: Option<i64>,
    /// How often it was made in a row.
    pub repeats: i64,
    /// What the condition saw, as JSON.
    pub facts: String,
    /// The policy.
    pub policy_name: String,
    /// Its version when the incident opened.
    pub policy_version: i64,
    /// The target.
    pub target: String,
    /// When the incident opened.
    pub opened_at: i64,
    /// The kind of action made.
    pub kind: Option<String>,
    /// Its step.
    pub step: Option<i64>,
    /// Its parameters, as JSON.
    pub params: Option<String>,
}

/// An incident, as far as a back-test tells of it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct EpisodeRow {
    /// Its number.
    pub id: i64,
    /// The policy.
    pub policy_name: String,
    /// Its version when the incident opened.
    pub policy_version: i64,
    /// The target.
    pub target: String,
    /// When it opened; microseconds since the epoch, like all times here.
    pub opened_at: i64,
    /// When the condition was clear again.
    pub cleared_at: Option<i64>,
    /// Its state's word.
    pub state: String,
    /// Actions it made.
    pub actions: i64,
    /// Violations counted in it.
    pub violations: i64,
}

/// An action that a policy made, as far as a back-test tells of it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct DeedRow {
    /// Its number.
    pub id: i64,
    /// The policy.
    pub policy_name: Option<String>,
    /// The kind.
    pub kind: String,
    /// The target.
    pub target: String,
    /// Its step; none: it tells a human.
    pub step: Option<i64>,
    /// Its parameters, as JSON.
    pub params: String,
    /// Its state's word.
    pub state: String,
    /// What was found of it: its word.
    pub verdict: Option<String>,
    /// When it was made; microseconds since the epoch.
    pub created_at: i64,
}

/// How an action of the past ended.
#[derive(Clone, Debug)]
pub struct PastEnd {
    /// Policy, target, step, and when the action was made.
    pub of: (i64, String, i64, Timestamp),
    /// When it ended and how; none: it has not.
    pub ended: Option<(Timestamp, Phase)>,
    /// It was not started when its turn came.
    pub withheld: bool,
}

/// One transaction of the past.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// When it was accepted.
    pub at: Timestamp,
    /// What it added, in its order.
    pub samples: Vec<TailSample>,
}

/// An action of the past, as far as the shared ledger is concerned.
#[derive(Clone, Debug)]
pub struct PastSpent {
    /// The policy that made it; none: somebody else did.
    pub policy: Option<i64>,
    /// On what.
    pub target: String,
    /// When.
    pub at: Timestamp,
    /// What it was.
    pub kind: String,
    /// The plugin that would do it, where that is limited.
    pub plugin: Option<String>,
    /// When it ended and how; none: it has not.
    pub ended: Option<(Timestamp, Phase)>,
}

/// People stopped all automation, or let it go on.
#[derive(Clone, Copy, Debug)]
pub struct PastPause {
    /// When they did.
    pub at: Timestamp,
    /// Paused, until then if they said so; or resumed.
    pub paused: Option<Option<Timestamp>>,
}

impl Store {
    /// The same database, read over connections of its own: on SQLite each has a thread, which is as slow as whoever opened it
    /// and must not be lent to others afterwards.
    #[must_use]
    pub fn apart(&self) -> Self {
        let pool = match &self.pool {
            Pool::Sqlite { write, read } => Pool::Sqlite {
                write: write.clone(),
                read: SqlitePoolOptions::new()
                    .max_connections(2)
                    .test_before_acquire(false)
                    .connect_lazy_with((*read.connect_options()).clone()),
            },
            Pool::Postgres(pool) => Pool::Postgres(pool.clone()),
        };
        Self { pool, ..self.clone() }
    }

    /// A database for one back-test, in a file that nobody needs afterwards.
    pub async fn scratch(file: &Path) -> Result<Self> {
        let store = Self::open(Location::Sqlite(file.to_owned()), Durability::Scratch, 1).await?;
        store.migrate("scratch").await?;
        if let Pool::Sqlite { write, .. } = &store.pool {
            write.defer().await?;
        }
        Ok(store)
    }

    /// Lets the decisions of a scratch database be read.
    pub async fn settle(&self) -> Result<()> {
        match &self.pool {
            Pool::Sqlite { write, .. } => write.settle().await,
            Pool::Postgres(_) => Ok(()),
        }
    }

    /// A transaction of the past, in a scratch database: nobody else is there, and nothing is due.
    pub async fn begin_past(&self) -> Result<Writing> {
        Ok(Writing { tx: self.begin().await? })
    }

    /// All real series.
    pub async fn real_series(&self) -> Result<Vec<SeriesRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&REAL_SERIES);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).fetch_all(c).await?))
    }

    /// The chunk with which that time begins: its number, and when it was accepted; none: nothing was recorded since.
    pub async fn first_chunk(&self, from: Timestamp) -> Result<Option<(i64, Timestamp)>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&FIRST);
        let row: (Option<i64>, Option<i64>) =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from.micros()).fetch_one(c).await?);
        Ok(row.0.zip(row.1).map(|(n, at)| (n, Timestamp::from_micros(at))))
    }

    /// Some transactions from chunk number `from` on, each with when it was accepted and those of its samples that are
    /// `wanted`; and the number to go on from, none at the end.
    pub async fn chunks_from(
        &self,
        from: i64,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<(Vec<Accepted>, Option<i64>)> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&NEXT);
        let found: Vec<(i64, i64, i64, Vec<u8>)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from).fetch_all(c).await?);
        let mut accepted = Vec::with_capacity(found.len());
        for (_, at, first, data) in &found {
            let mut samples = Vec::new();
            chunk::decode(*first, *at, data, |_, sample| {
                if wanted(sample.series_id) {
                    samples.push(sample);
                }
            })?;
            accepted.push(Accepted { at: Timestamp::from_micros(*at), samples });
        }
        Ok((accepted, found.last().map(|(n, ..)| n + 1)))
    }

    /// When the scheduled evaluation looked at which partitions.
    pub async fn ticks(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, u64)>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&TICKS);
        let rows: Vec<(i64, i64)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from.micros()).bind(to.micros()).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(at, mask)| (Timestamp::from_micros(at), mask.cast_unsigned())).collect())
    }

    /// How the actions that policies made then have ended.
    pub async fn past_ends(&self, from: Timestamp, to: Timestamp) -> Result<Vec<PastEnd>> {
        type Row = (i64, String, i64, i64, Option<i64>, String, bool);
        let mut tx = self.reading().await?;
        let sql = tx.text(&ENDED);
        let found: Vec<Row> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from.micros()).bind(to.micros()).fetch_all(c).await?);
        let end = |(policy, target, step, created, completed, state, withheld): Row| {
            let phase = rows::phase(&state)?;
            let ended = completed.map(|at| (Timestamp::from_micros(at), phase));
            Ok(PastEnd { of: (policy, target, step, Timestamp::from_micros(created)), ended, withheld })
        };
        found.into_iter().map(end).collect()
    }

    /// What was spent of the shared ledger then: the policy, none where it was not one's own doing; the target; when.
    pub async fn past_spent(&self, from: Timestamp, to: Timestamp) -> Result<Vec<PastSpent>> {
        type Row = (i64, String, String, i64, Option<String>, String, String, Option<i64>);
        let mut tx = self.reading().await?;
        let sql = tx.text(&SPENT);
        let rows: Vec<Row> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(from.micros()).bind(to.micros()).fetch_all(c).await?);
        let spent = |(policy, origin, target, at, plugin, kind, state, ended): Row| {
            let policy = (origin == "policy").then_some(policy);
            let ended = ended.map(|at| Ok::<_, Error>((Timestamp::from_micros(at), rows::phase(&state)?)));
            let (at, ended) = (Timestamp::from_micros(at), ended.transpose()?);
            Ok(PastSpent { policy, target, at, kind, plugin, ended })
        };
        rows.into_iter().map(spent).collect()
    }

    /// When people stopped everything and let it go on, up to then; from the beginning, so that the last before a time
    /// tells what held there.
    pub async fn past_pauses(&self, to: Timestamp) -> Result<Vec<PastPause>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&PAUSES);
        let rows: Vec<(i64, String, String)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(to.micros()).fetch_all(c).await?);
        let pause = |(at, verb, facts): (i64, String, String)| {
            let facts: Value = serde_json::from_str(&facts).unwrap_or_default();
            let until = facts["until"].as_str().and_then(Timestamp::parse);
            let paused = (verb == "automation.paused").then_some(until);
            PastPause { at: Timestamp::from_micros(at), paused }
        };
        Ok(rows.into_iter().map(pause).collect())
    }

    /// Decisions about real targets after that number, at most `most`, in the order in which they were made.
    pub async fn decision_log(&self, after: i64, most: i64) -> Result<Vec<LogRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&LOG);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(after).bind(most).fetch_all(c).await?))
    }

    /// Incidents of real targets after that number, at most `most`.
    pub async fn episodes(&self, after: i64, most: i64) -> Result<Vec<EpisodeRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&EPISODES);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(after).bind(most).fetch_all(c).await?))
    }

    /// Actions that policies made on real targets, after that number, at most `most`.
    pub async fn deeds(&self, after: i64, most: i64) -> Result<Vec<DeedRow>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&DEEDS);
        Ok(on!(&mut tx, c => sqlx::query_as(sql).bind(after).bind(most).fetch_all(c).await?))
    }

    /// Ends an action in a scratch database, as a worker would have.
    pub async fn rehearse_end(
        &self,
        (action, target): (i64, &str),
        incident: Option<i64>,
        (phase, withheld): (Phase, bool),
        now: Timestamp,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        if let (Phase::Uncertain, Some(incident)) = (phase, incident) {
            record::hand_over(&mut tx, incident, "outcome_unknown", now).await?;
        }
        let sql = tx.text(&END);
        on!(&mut tx, c => sqlx::query(sql).bind(action).bind(phase.word()).bind(now.micros()).bind(withheld)
            .execute(c).await?.rows_affected());
        if phase != Phase::Uncertain {
            slot::leave(&mut tx, target, action, now).await?;
        }
        tx.commit().await
    }

    /// Notes in a scratch database what others than its policies did; `number` tells them apart. Answers the action's id.
    pub async fn rehearse_spent(&self, number: i64, spent: &PastSpent) -> Result<i64> {
        let (id, mut tx) = (-1 - number, self.begin().await?);
        let (held, done) = (tx.text(&HELD), tx.text(&DONE));
        on!(&mut tx, c => sqlx::query(held).bind(id).bind(&spent.target).bind(spent.at.micros()).bind(&spent.plugin)
            .execute(c).await?.rows_affected());
        on!(&mut tx, c => sqlx::query(done).bind(id).bind(&spent.kind).bind(&spent.target).bind(spent.at.micros())
            .execute(c).await?.rows_affected());
        tx.commit().await?;
        Ok(id)
    }

    /// That it is over.
    pub async fn rehearse_over(&self, action: i64, phase: Phase, now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        let sql = tx.text(&END);
        on!(&mut tx, c => sqlx::query(sql).bind(action).bind(phase.word()).bind(now.micros()).bind(false)
            .execute(c).await?.rows_affected());
        tx.commit().await
    }
}

impl Writing {
    /// Notes that the scheduled evaluation looked at those partitions.
    pub async fn ticked(&mut self, partitions: &[u16], at: Timestamp) -> Result<()> {
        let mask = partitions.iter().fold(0_u64, |mask, partition| mask | 1 << (partition % 64));
        let tx = self.begun().await?;
        let sql = tx.text(&TICKED);
        on!(tx, c => sqlx::query(sql).bind(at.micros()).bind(mask.cast_signed()).execute(c).await?.rows_affected());
        Ok(())
    }
}
