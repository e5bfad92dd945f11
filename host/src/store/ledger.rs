//! The state that limits actions, read under lock in the transaction that may add one.

use std::collections::HashMap;

use sqlx::{FromRow as _, Row as RowOf};

use super::ingest::{Writing, broken, list_of};
use super::sql::statements;
use super::{Error, Result, Tx, on, rows};
use crate::domain::Timestamp;
use crate::domain::decide::{Awaiting, Ledger, Spent};
use crate::domain::flapping::Flaps;
use crate::domain::guardrails::Everywhere;
use crate::domain::incident::{Standing, State};
use crate::domain::ladder::Relapse;

statements! { pub(super) STATEMENTS:
    // The one row that whoever spends of what everybody shares holds until the end of its transaction.
    LOCK_ALL = "SELECT one FROM pause WHERE one = 1{lock}";
    SPENT = "SELECT COUNT(*), MIN(at) FROM reservation WHERE at > $1";
    // Of each policy the latest actions that failed or did not help, since one that did.
    FAILURES = "SELECT p.value, COUNT(a.id), MAX(a.completed_at) FROM {ids} p JOIN action a ON a.policy_id = p.value
        AND a.step IS NOT NULL AND a.completed_at IS NOT NULL AND a.simulated = FALSE
        AND (a.state IN ('dead', 'uncertain') OR (a.state = 'succeeded' AND a.verdict = 'not_healed'))
        AND a.completed_at > COALESCE((SELECT b.completed_at FROM action b WHERE b.policy_id = p.value
            AND b.step IS NOT NULL AND b.completed_at IS NOT NULL AND b.simulated = FALSE
            AND b.state = 'succeeded' AND b.verdict IN ('healed', 'unknown')
            ORDER BY b.completed_at DESC LIMIT 1), -1)
        GROUP BY p.value";
    RELAPSE = "SELECT step, cleared_at FROM incident WHERE policy_id = $1 AND target = $2 AND simulated = $3
        AND cleared_at IS NOT NULL AND state = 'healed' AND actions > 0 ORDER BY id DESC LIMIT 1";
    FLAPS = "SELECT COUNT(*), MAX(flapping_until) FROM incident WHERE policy_id = $1 AND target = $2
        AND simulated = $3 AND opened_at > $4";
    LEDGERS = "SELECT o.policy AS of_policy, o.target AS of_target,
        i.id, i.state, i.opened_at, i.actions, i.step, i.tries, i.last_violated_at, i.clear_since,
        i.flapping_until, i.reason, i.silence_id, i.calm_at, a.state AS phase, a.completed_at, a.withheld,
        (SELECT MAX(at) FROM reservation WHERE policy_id = o.policy AND target = o.target) AS reserved_at,
        (SELECT COUNT(*) FROM reservation WHERE policy_id = o.policy AND at > o.since) AS used,
        w.expires_at AS asked_until, w.policy_version AS asked_version,
        (SELECT MAX(decided_at) FROM approval WHERE policy_id = o.policy AND target = o.target
            AND state IN ('rejected', 'expired', 'withdrawn')) AS refused_at
        FROM {pairs} o
        LEFT JOIN incident i ON i.policy_id = o.policy AND i.target = o.target
        AND i.simulated = FALSE AND i.cleared_at IS NULL
        LEFT JOIN action a ON a.id = i.last_action_id
        LEFT JOIN approval w ON w.incident_id = i.id AND w.state = 'waiting'";
    GIVE_BACK = "UPDATE incident SET
        actions = (SELECT COUNT(*) FROM action a WHERE a.incident_id = $1 AND a.step IS NOT NULL AND a.withheld IS NULL),
        tries = (SELECT COUNT(*) FROM action a WHERE a.incident_id = $1 AND a.withheld IS NULL AND a.step = (SELECT b.step
            FROM action b WHERE b.incident_id = $1 AND b.step IS NOT NULL AND b.withheld IS NULL ORDER BY b.id DESC LIMIT 1)),
        step = COALESCE((SELECT a.step FROM action a WHERE a.incident_id = $1 AND a.step IS NOT NULL
            AND a.withheld IS NULL ORDER BY a.id DESC LIMIT 1), 0),
        last_action_id = (SELECT MAX(a.id) FROM action a WHERE a.incident_id = $1 AND a.step IS NOT NULL
            AND a.withheld IS NULL) WHERE id = $1";
    // Simulated actions reserve nothing in the ledger; what holds them back is counted in their own rows.
    LEDGER_SIMULATED = "SELECT i.id, i.state, i.opened_at, i.actions, i.step, i.tries, i.last_violated_at, i.clear_since,
        i.flapping_until, i.reason, i.silence_id, i.calm_at, a.state AS phase, a.completed_at, a.withheld,
        (SELECT MAX(created_at) FROM action WHERE simulated AND policy_id = $1 AND target = $2) AS reserved_at,
        (SELECT COUNT(*) FROM action WHERE simulated AND policy_id = $1 AND created_at > $3) AS used,
        CAST(NULL AS BIGINT) AS asked_until, CAST(NULL AS BIGINT) AS asked_version,
        CAST(NULL AS BIGINT) AS refused_at
        FROM (SELECT 1 AS one) o
        LEFT JOIN incident i ON i.policy_id = $1 AND i.target = $2 AND i.simulated = TRUE AND i.cleared_at IS NULL
        LEFT JOIN action a ON a.id = i.last_action_id";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Option<i64>,
    state: Option<String>,
    opened_at: Option<i64>,
    actions: Option<i64>,
    step: Option<i64>,
    tries: Option<i64>,
    last_violated_at: Option<i64>,
    clear_since: Option<i64>,
    flapping_until: Option<i64>,
    reason: Option<String>,
    silence_id: Option<i64>,
    calm_at: Option<i64>,
    withheld: Option<String>,
    phase: Option<String>,
    completed_at: Option<i64>,
    reserved_at: Option<i64>,
    used: i64,
    asked_until: Option<i64>,
    asked_version: Option<i64>,
    refused_at: Option<i64>,
}

impl Row {
    fn awaiting(&self) -> Option<Awaiting> {
        let until = Timestamp::from_micros(self.asked_until?);
        Some(Awaiting { until, policy_version: self.asked_version? })
    }

    fn incident(self) -> Result<Option<Standing>> {
        let (Some(id), Some(state)) = (self.id, self.state) else { return Ok(None) };
        let phase = self.phase.as_deref().map(rows::phase).transpose()?;
        Ok(Some(Standing {
            id,
            state: State::from_word(&state).ok_or_else(|| broken(format!("incident state {state}")))?,
            opened_at: Timestamp::from_micros(self.opened_at.unwrap_or(0)),
            actions: self.actions.unwrap_or(0),
            step: usize::try_from(self.step.unwrap_or(0)).unwrap_or(usize::MAX),
            tries: u32::try_from(self.tries.unwrap_or(0)).unwrap_or(u32::MAX),
            busy: phase.is_some_and(|phase| !phase.ended()),
            last_ended_at: self.completed_at.map(Timestamp::from_micros),
            clear_since: rows::time(self.clear_since),
            flapping_until: rows::time(self.flapping_until),
            last_violated_at: Timestamp::from_micros(self.last_violated_at.unwrap_or(0)),
            reason: self.reason,
            silence: self.silence_id,
            calm: self.calm_at.is_some(),
        }))
    }
}

/// One policy on one target, of which the ledger is asked.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The policy.
    pub policy: i64,
    /// The target's name, and whether it is the simulated one.
    pub subject: (&'a str, bool),
    /// Reservations count from here.
    pub since: Timestamp,
    /// Whether the policy has steps: then it matters where an incident begins.
    pub ladder: bool,
}

impl Writing {
    /// The state that limits actions of each of those, in their order; what is malformed is an error of that one alone.
    pub async fn ledgers(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Result<Ledger>>> {
        let real = entries.iter().filter(|entry| !entry.subject.1);
        let asked: Vec<_> = real.map(|of| (of.policy, of.subject.0, of.since.micros())).collect();
        let mut rows = HashMap::new();
        if !asked.is_empty() {
            let list = serde_json::to_string(&asked).map_err(broken)?;
            let tx = self.begun().await?;
            let sql = tx.text(&LEDGERS);
            let found: Vec<(i64, String, sqlx::Result<Row>)> = on!(tx, c => {
                let found = sqlx::query(sql).bind(list).fetch_all(c).await?;
                let one = |row| {
                    let (policy, target) = (RowOf::try_get(row, "of_policy")?, RowOf::try_get(row, "of_target")?);
                    Ok((policy, target, Row::from_row(row)))
                };
                found.iter().map(one).collect::<sqlx::Result<_>>()?
            });
            rows.extend(found.into_iter().map(|(policy, target, row)| ((policy, target), row)));
        }
        let mut ledgers = Vec::with_capacity(entries.len());
        for entry in entries {
            let row = rows.remove(&(entry.policy, entry.subject.0.to_owned()));
            let row = match row.filter(|_| !entry.subject.1) {
                Some(row) => row.map_err(Error::from),
                None => self.simulated(entry).await,
            };
            ledgers.push(match row {
                Ok(row) => self.read(entry, row).await,
                Err(wrong) => Err(wrong),
            });
        }
        Ok(ledgers)
    }

    /// The same of one.
    pub async fn ledger(&mut self, entry: Entry<'_>) -> Result<Ledger> {
        let missing = || Err(broken("no ledger"));
        self.ledgers(&[entry]).await?.pop().unwrap_or_else(missing)
    }

    async fn simulated(&mut self, entry: &Entry<'_>) -> Result<Row> {
        let tx = self.begun().await?;
        let sql = tx.text(&LEDGER_SIMULATED);
        Ok(
            on!(tx, c => sqlx::query_as(sql).bind(entry.policy).bind(entry.subject.0).bind(entry.since.micros())
            .fetch_one(c).await?),
        )
    }

    async fn read(&mut self, entry: &Entry<'_>, row: Row) -> Result<Ledger> {
        // Its last action was not started when its turn came: the incident stands where it stood before.
        if let (Some(incident), Some(_)) = (row.id, &row.withheld) {
            let tx = self.begun().await?;
            let give_back = tx.text(&GIVE_BACK);
            on!(&mut *tx, c => sqlx::query(give_back).bind(incident).execute(c).await?.rows_affected());
            return Box::pin(self.ledger(*entry)).await;
        }
        let (reserved, used) = (rows::time(row.reserved_at), u32::try_from(row.used).unwrap_or(u32::MAX));
        let (refused_at, awaiting) = (rows::time(row.refused_at), row.awaiting());
        let incident = row.incident()?;
        // Only an incident that has made no action yet asks where it is to begin.
        let begins = incident.as_ref().is_none_or(|incident| incident.actions == 0);
        let relapse =
            if begins && entry.ladder { self.relapse(entry.policy, entry.subject).await? } else { None };
        Ok(Ledger {
            incident,
            last_reserved_at: reserved,
            relapse,
            used,
            awaiting,
            refused_at,
            ..Ledger::default()
        })
    }

    /// How often incidents of that policy and target have opened since then.
    pub async fn flaps(
        &mut self,
        policy: i64,
        (target, simulated): (&str, bool),
        since: Timestamp,
    ) -> Result<Flaps> {
        let tx = self.begun().await?;
        let sql = tx.text(&FLAPS);
        let (count, until): (i64, Option<i64>) = on!(tx, c => sqlx::query_as(sql)
            .bind(policy).bind(target).bind(simulated).bind(since.micros()).fetch_one(c).await?);
        Ok(Flaps { openings: u32::try_from(count).unwrap_or(u32::MAX), until: rows::time(until) })
    }

    /// The last incident of that policy and target that an action healed.
    async fn relapse(&mut self, policy: i64, (target, simulated): (&str, bool)) -> Result<Option<Relapse>> {
        let tx = self.begun().await?;
        let sql = tx.text(&RELAPSE);
        let row: Option<(i64, i64)> = on!(tx, c => sqlx::query_as(sql)
            .bind(policy).bind(target).bind(simulated).fetch_optional(c).await?);
        Ok(row.map(|(step, at)| Relapse {
            step: usize::try_from(step).unwrap_or(0),
            cleared_at: Timestamp::from_micros(at),
        }))
    }

    /// Of each of those policies how many of its latest actions failed or did not help, one after the other, and when the
    /// last of them ended; no entry where the latest one did.
    pub async fn failures(&mut self, policies: &[i64]) -> Result<HashMap<i64, (u32, Option<Timestamp>)>> {
        let tx = self.begun().await?;
        let (sql, list) = (tx.text(&FAILURES), list_of(policies));
        let rows: Vec<(i64, i64, Option<i64>)> =
            on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        let one = |(policy, failed, last): (i64, i64, Option<i64>)| {
            (policy, (u32::try_from(failed).unwrap_or(u32::MAX), rows::time(last)))
        };
        Ok(rows.into_iter().map(one).collect())
    }

    /// What everybody has spent of the window they share; nobody spends more of it until this transaction ends.
    pub async fn spent(&mut self, everywhere: &Everywhere, now: Timestamp) -> Result<Spent> {
        spent(self.begun().await?, everywhere, now).await
    }

    /// Whether people have stopped all automation; until when, if they said so.
    pub async fn paused(&mut self, now: Timestamp) -> Result<Option<Option<Timestamp>>> {
        let pause = super::pause::stands(self.begun().await?, now).await?;
        Ok(pause.map(|pause| pause.until))
    }
}

/// Keeps everybody else from spending, pausing and resuming until this transaction ends.
pub(super) async fn lock_all(tx: &mut Tx) -> Result<()> {
    // On SQLite a transaction that writes is alone anyway.
    if matches!(tx, Tx::Sqlite(_)) {
        return Ok(());
    }
    let sql = tx.text(&LOCK_ALL);
    on!(tx, c => sqlx::query(sql).fetch_optional(c).await?.is_some());
    Ok(())
}

/// See [`Writing::spent`].
pub(super) async fn spent(tx: &mut Tx, everywhere: &Everywhere, now: Timestamp) -> Result<Spent> {
    lock_all(tx).await?;
    let sql = tx.text(&SPENT);
    let since = now.before(everywhere.window).micros();
    let (used, first): (i64, Option<i64>) = on!(tx, c => sqlx::query_as(sql).bind(since).fetch_one(c).await?);
    Ok(Spent {
        used: u32::try_from(used).unwrap_or(u32::MAX),
        limit: everywhere.max_actions,
        until: rows::time(first).map(|at| at.after(everywhere.window)),
    })
}
