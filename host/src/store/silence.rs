//! Silences, as people made them. They are read in the very transactions that make or claim actions, so they hold on every
//! node at once; each node keeps them compiled as long as their revision, one number in the pause's row, stays the same.

mod past;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

pub use self::past::PastSilence;
pub(super) use self::past::STATEMENTS as PAST;
use super::ingest::{Writing, broken};
use super::ledger::lock_all;
use super::list::Part;
use super::record::add_audit;
use super::sql::statements;
use super::{Edition, Result, Store, Tx, ids, on, rows};
use crate::domain::Timestamp;
use crate::domain::audit::Entry;
use crate::domain::silence::{Active, Compiled, MOST, Silence, State, Window, Wish};

statements! { pub(super) STATEMENTS:
    REV = "SELECT silence_rev FROM pause WHERE one = 1";
    BUMP = "UPDATE pause SET silence_rev = silence_rev + 1 WHERE one = 1";
    LIVE = "SELECT id, version, matchers, starts_at, ends_at, recurring, comment, author, created_at, updated_at,
        expired_at FROM silence WHERE expired_at IS NULL AND (ends_at IS NULL OR ends_at > $1)
        ORDER BY created_at DESC, id DESC";
    ALIVE = "SELECT COUNT(*) FROM silence WHERE expired_at IS NULL AND (ends_at IS NULL OR ends_at > $1)";
    ONE = "SELECT id, version, matchers, starts_at, ends_at, recurring, comment, author, created_at, updated_at,
        expired_at FROM silence WHERE id = $1";
    // All of them, or with $1 only those that are over.
    LIST = "SELECT id, version, matchers, starts_at, ends_at, recurring, comment, author, created_at, updated_at,
        expired_at FROM silence WHERE ($1 = FALSE OR expired_at IS NOT NULL OR ends_at <= $2)
        AND (created_at < $3 OR (created_at = $3 AND id < $4)) ORDER BY created_at DESC, id DESC LIMIT $5 OFFSET $6";
    COUNT = "SELECT COUNT(*) FROM silence WHERE ($1 = FALSE OR expired_at IS NOT NULL OR ends_at <= $2)";
    ADD = "INSERT INTO silence (id, version, matchers, starts_at, ends_at, recurring, comment, author, created_at,
        updated_at) VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $8)";
    REPLACE = "UPDATE silence SET version = version + 1, matchers = $2, starts_at = $3, ends_at = $4, recurring = $5,
        comment = $6, updated_at = $7 WHERE id = $1";
    EXPIRE = "UPDATE silence SET version = version + 1, expired_at = $2, updated_at = $2 WHERE id = $1";
}

/// What became of a change of a silence.
#[derive(Clone, Debug)]
pub enum Silenced {
    /// Done: as it is now.
    Done(Silence),
    /// There is no such silence.
    Missing,
    /// It is over; what is over stays as it was.
    Over(Silence),
    /// Somebody has changed it since.
    Stale,
    /// There are as many as may be.
    TooMany,
}

/// The silences that are not over, compiled, as of one revision.
#[derive(Debug, Default)]
struct Known {
    rev: Option<i64>,
    all: Vec<(Arc<Compiled>, Option<Window>)>,
    /// Those that hold, from then until then.
    active: Active,
    from: Timestamp,
    until: Timestamp,
}

/// What a node remembers of the silences.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Known>>);

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    version: i64,
    matchers: String,
    starts_at: i64,
    ends_at: Option<i64>,
    recurring: Option<String>,
    comment: String,
    author: String,
    created_at: i64,
    updated_at: i64,
    expired_at: Option<i64>,
}

impl Row {
    fn silence(self) -> Result<Silence> {
        let wish = Wish {
            matchers: serde_json::from_str(&self.matchers).map_err(broken)?,
            starts_at: Timestamp::from_micros(self.starts_at),
            ends_at: rows::time(self.ends_at),
            recurring: self.recurring.map(|text| serde_json::from_str(&text)).transpose().map_err(broken)?,
            comment: self.comment,
        };
        Ok(Silence {
            id: self.id,
            version: self.version,
            wish,
            author: self.author,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
            expired_at: rows::time(self.expired_at),
        })
    }
}

impl Known {
    /// Takes up a new revision; what has not changed stays compiled.
    fn renew(&mut self, rev: i64, live: Vec<Silence>) {
        let mut before: std::collections::HashMap<(i64, i64), _> = std::mem::take(&mut self.all)
            .into_iter()
            .map(|(one, window)| ((one.silence.id, one.silence.version), (one, window)))
            .collect();
        for silence in live {
            let id = silence.id;
            if let Some(same) = before.remove(&(id, silence.version)) {
                self.all.push(same);
                continue;
            }
            match Compiled::new(silence) {
                Ok(fresh) => self.all.push((Arc::new(fresh), None)),
                Err(why) => {
                    tracing::error!(silence_id = id, error = %why, "a stored silence does not compile any more");
                }
            }
        }
        self.rev = Some(rev);
        self.until = self.from;
    }

    /// Those that hold now.
    fn active(&mut self, now: Timestamp) -> Active {
        if self.from <= now && now < self.until {
            return self.active.clone();
        }
        let (mut active, mut next) = (Vec::new(), Timestamp::from_micros(i64::MAX));
        for (one, window) in &mut self.all {
            // A clock that was put back finds windows that it has left behind.
            if now < self.from || window.is_none_or(|(_, until)| until <= now) {
                *window = one.windows(now, 1).first().copied();
            }
            let Some((from, until)) = *window else { continue };
            if from <= now {
                active.push((Arc::clone(one), until));
            }
            next = next.min(if from <= now { until } else { from });
        }
        (self.active, self.from, self.until) = (Active::new(active), now, next);
        self.active.clone()
    }
}

impl Store {
    /// Keeps a new silence; it holds on every server from the end of this call on.
    pub async fn add_silence(&self, wish: Wish, author: &str, now: Timestamp) -> Result<Silenced> {
        let mut tx = self.begin().await?;
        // Whoever makes actions has this row: what is decided after this sees the silence.
        lock_all(&mut tx).await?;
        let sql = tx.text(&ALIVE);
        let (alive,): (i64,) = on!(&mut tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_one(c).await?);
        if alive >= MOST {
            return Ok(Silenced::TooMany);
        }
        let id = ids::take(&mut tx, "silence", 1).await?;
        let (sql, matchers) = (tx.text(&ADD), serde_json::to_string(&wish.matchers).map_err(broken)?);
        let (starts, ends) = (wish.starts_at.micros(), wish.ends_at.map(Timestamp::micros));
        on!(&mut tx, c => sqlx::query(sql).bind(id).bind(matchers).bind(starts).bind(ends).bind(recurring(&wish)?)
            .bind(&wish.comment).bind(author).bind(now.micros()).execute(c).await?.rows_affected());
        let (created_at, updated_at) = (now, now);
        let author = author.to_owned();
        let silence = Silence { id, version: 1, wish, author, created_at, updated_at, expired_at: None };
        changed(&mut tx, (&silence, "silence.created"), &silence.author, now).await?;
        tx.commit().await?;
        Ok(Silenced::Done(silence))
    }

    /// Replaces what a silence says, if it is still what `seen` lets through.
    pub async fn replace_silence(
        &self,
        id: i64,
        wish: Wish,
        (actor, seen): (&str, impl Fn(Edition) -> bool + Send),
        now: Timestamp,
    ) -> Result<Silenced> {
        let mut tx = self.begin().await?;
        lock_all(&mut tx).await?;
        let Some(before) = one(&mut tx, id).await? else { return Ok(Silenced::Missing) };
        if !seen(Edition { id, version: before.version }) {
            return Ok(Silenced::Stale);
        }
        if before.over(now) {
            return Ok(Silenced::Over(before));
        }
        let (sql, matchers) = (tx.text(&REPLACE), serde_json::to_string(&wish.matchers).map_err(broken)?);
        let (starts, ends) = (wish.starts_at.micros(), wish.ends_at.map(Timestamp::micros));
        on!(&mut tx, c => sqlx::query(sql).bind(id).bind(matchers).bind(starts).bind(ends).bind(recurring(&wish)?)
            .bind(&wish.comment).bind(now.micros()).execute(c).await?.rows_affected());
        let silence = Silence { version: before.version + 1, wish, updated_at: now, ..before };
        changed(&mut tx, (&silence, "silence.changed"), actor, now).await?;
        tx.commit().await?;
        Ok(Silenced::Done(silence))
    }

    /// Ends a silence for good.
    pub async fn expire_silence(
        &self,
        id: i64,
        (actor, seen): (&str, impl Fn(Edition) -> bool + Send),
        now: Timestamp,
    ) -> Result<Silenced> {
        let mut tx = self.begin().await?;
        lock_all(&mut tx).await?;
        let Some(before) = one(&mut tx, id).await? else { return Ok(Silenced::Missing) };
        if before.over(now) {
            return Ok(Silenced::Over(before));
        }
        if !seen(Edition { id, version: before.version }) {
            return Ok(Silenced::Stale);
        }
        let sql = tx.text(&EXPIRE);
        on!(&mut tx, c => sqlx::query(sql).bind(id).bind(now.micros()).execute(c).await?.rows_affected());
        let version = before.version + 1;
        let silence = Silence { version, expired_at: Some(now), updated_at: now, ..before };
        changed(&mut tx, (&silence, "silence.expired"), actor, now).await?;
        tx.commit().await?;
        Ok(Silenced::Done(silence))
    }

    /// One silence, whether it is over or not.
    pub async fn silence(&self, id: i64) -> Result<Option<Silence>> {
        one(&mut self.reading().await?, id).await
    }

    /// All that are not over, newest first.
    pub async fn live_silences(&self, now: Timestamp) -> Result<Vec<Silence>> {
        live(&mut self.reading().await?, now).await
    }

    /// Silences, newest first, and how many there are in all; `over`: only those that have ended.
    pub async fn silences(&self, over: bool, part: Part, now: Timestamp) -> Result<(Vec<Silence>, i64)> {
        let mut tx = self.reading().await?;
        let (list, count, place) = (tx.text(&LIST), tx.text(&COUNT), part.place());
        let found: Vec<Row> = on!(&mut tx, c => sqlx::query_as(list).bind(over).bind(now.micros())
            .bind(place.at).bind(place.id).bind(part.limit).bind(part.offset).fetch_all(c).await?);
        let (total,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).bind(over).bind(now.micros())
            .fetch_one(c).await?);
        Ok((found.into_iter().map(Row::silence).collect::<Result<_>>()?, total))
    }

    /// The silences that hold now.
    pub async fn silenced(&self, now: Timestamp) -> Result<Active> {
        self.holding(&mut self.reading().await?, now).await
    }

    /// How many silences stand how.
    pub async fn silence_counts(&self, now: Timestamp) -> Result<[(State, i64); 3]> {
        let mut tx = self.reading().await?;
        self.holding(&mut tx, now).await?;
        let count = tx.text(&COUNT);
        let (over,): (i64,) =
            on!(&mut tx, c => sqlx::query_as(count).bind(true).bind(now.micros()).fetch_one(c).await?);
        let known = self.silences.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |state| {
            let all = known.all.iter().filter(|(one, _)| !one.silence.over(now));
            rows::number(all.filter(|(_, window)| State::of(*window, now) == state).count())
        };
        Ok([(State::Pending, of(State::Pending)), (State::Active, of(State::Active)), (State::Expired, over)])
    }

    /// The silences that hold now, as this transaction sees them.
    pub(super) async fn holding(&self, tx: &mut Tx, now: Timestamp) -> Result<Active> {
        let sql = tx.text(&REV);
        let (rev,): (i64,) = on!(&mut *tx, c => sqlx::query_as(sql).fetch_one(c).await?);
        {
            let mut known = self.silences.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.rev == Some(rev) {
                return Ok(known.active(now));
            }
        }
        let live = live(tx, now).await?;
        let mut known = self.silences.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.renew(rev, live);
        Ok(known.active(now))
    }
}

impl Writing {
    /// The silences that hold now, as this transaction sees them.
    pub async fn silenced(&mut self, store: &Store, now: Timestamp) -> Result<Active> {
        store.holding(self.begun().await?, now).await
    }
}

async fn live(tx: &mut Tx, now: Timestamp) -> Result<Vec<Silence>> {
    let sql = tx.text(&LIVE);
    let found: Vec<Row> = on!(tx, c => sqlx::query_as(sql).bind(now.micros()).fetch_all(c).await?);
    found.into_iter().map(Row::silence).collect()
}

async fn one(tx: &mut Tx, id: i64) -> Result<Option<Silence>> {
    let sql = tx.text(&ONE);
    let found: Option<Row> = on!(tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await?);
    found.map(Row::silence).transpose()
}

fn recurring(wish: &Wish) -> Result<Option<String>> {
    wish.recurring.as_ref().map(serde_json::to_string).transpose().map_err(broken)
}

/// Tells every node, and the audit.
async fn changed(
    tx: &mut Tx,
    (silence, verb): (&Silence, &'static str),
    actor: &str,
    now: Timestamp,
) -> Result<()> {
    let sql = tx.text(&BUMP);
    on!(&mut *tx, c => sqlx::query(sql).execute(c).await?.rows_affected());
    let Wish { matchers, starts_at, ends_at, recurring, comment } = &silence.wish;
    let entry = Entry {
        actor: actor.to_owned(),
        verb,
        object: "silence",
        object_id: silence.id.to_string(),
        incident_id: None,
        action_id: None,
        facts: json!({"matchers": matchers, "starts_at": starts_at, "ends_at": ends_at, "recurring": recurring,
            "comment": comment, "author": silence.author, "version": silence.version}),
    };
    add_audit(tx, &entry, now).await
}
