//! The targets that send samples, and how many of a policy's are violated at once.

use std::collections::HashMap;

use super::ingest::{Writing, broken, list_of};
use super::plan::Plan;
use super::sql::statements;
use super::{Result, Store, Tx, on};
use crate::domain::Timestamp;
use crate::domain::event::Tags;
use crate::domain::fleet::Domains;

statements! { pub(super) STATEMENTS:
    NOTE = "INSERT INTO fleet (target, seen_at, domains) VALUES ($1, $2, $3)
        ON CONFLICT (target) DO UPDATE SET seen_at = excluded.seen_at, domains = excluded.domains";
    FLEET = "SELECT target, domains FROM fleet WHERE seen_at > $1";
    OPEN = "SELECT id, policy_id, policy_name, target, opened_at, last_event_id FROM incident
        WHERE cleared_at IS NULL AND simulated = FALSE ORDER BY id DESC LIMIT $1";
    TAGS = "SELECT tags FROM series WHERE id = $1";
    TOUCHED = "SELECT r.target, COALESCE(f.domains, '{}') FROM reservation r LEFT JOIN fleet f ON f.target = r.target
        WHERE r.at > $1";
    TOUCHES = "SELECT COUNT(*) FROM reservation WHERE at > $1";
    SICK = "SELECT policy_id, COUNT(DISTINCT target) FROM incident
        WHERE policy_id IN {ids} AND cleared_at IS NULL AND simulated = FALSE GROUP BY policy_id";
    SICK_WHERE = "SELECT DISTINCT i.target, COALESCE(f.domains, '{}') FROM incident i
        LEFT JOIN fleet f ON f.target = i.target
        WHERE i.policy_id = $1 AND i.cleared_at IS NULL AND i.simulated = FALSE";
    STORMS = "SELECT policy_id, domain, seen_at FROM mass_failure WHERE policy_id IN {ids}";
    STORM = "INSERT INTO mass_failure (policy_id, domain, seen_at) VALUES ($1, $2, $3)
        ON CONFLICT (policy_id, domain) DO UPDATE SET seen_at = excluded.seen_at";
}

/// A target and where it is.
pub(crate) type Located = (String, Domains);

fn located(rows: Vec<(String, String)>) -> Vec<Located> {
    rows.into_iter().map(|(target, domains)| (target, Domains::read(&domains))).collect()
}

/// An incident that has not cleared, and what its last event said.
#[derive(Clone, Debug)]
pub struct OpenIncident {
    /// Its number.
    pub id: i64,
    /// Its policy.
    pub policy_id: i64,
    /// Its name.
    pub policy_name: String,
    /// Its target.
    pub target: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// The tags of the last event that violated it, where they were asked for.
    pub tags: Tags,
}

impl Store {
    /// The names of the real targets that have sent samples since then.
    pub async fn alive(&self, since: Timestamp) -> Result<Vec<String>> {
        let mut tx = self.reading().await?;
        let sql = tx.text(&FLEET);
        let rows: Vec<(String, String)> =
            on!(&mut tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_all(c).await?);
        Ok(rows.into_iter().map(|(target, _)| target).collect())
    }

    /// The newest `most` incidents of real targets that have not cleared; their events' tags only if `tagged`.
    pub async fn open_incidents(&self, most: i64, tagged: bool) -> Result<Vec<OpenIncident>> {
        type Row = (i64, i64, String, String, i64, i64);
        let mut tx = self.reading().await?;
        let (sql, series) = (tx.text(&OPEN), tx.text(&TAGS));
        let rows: Vec<Row> = on!(&mut tx, c => sqlx::query_as(sql).bind(most).fetch_all(c).await?);
        let mut found = Vec::with_capacity(rows.len());
        for (id, policy_id, policy_name, target, opened_at, event) in rows {
            let mut tags = Tags::new();
            if tagged && let Some(sample) = super::samples::sample(&mut tx, event).await? {
                let row: Option<(String,)> =
                    on!(&mut tx, c => sqlx::query_as(series).bind(sample.series_id).fetch_optional(c).await?);
                tags = row
                    .map_or_else(|| Ok(Tags::new()), |(tags,)| serde_json::from_str(&tags))
                    .map_err(broken)?;
            }
            let opened_at = Timestamp::from_micros(opened_at);
            found.push(OpenIncident { id, policy_id, policy_name, target, opened_at, tags });
        }
        Ok(found)
    }
}

impl Writing {
    /// The real targets that have sent samples since then.
    pub async fn fleet(&mut self, since: Timestamp) -> Result<Vec<Located>> {
        let tx = self.begun().await?;
        let sql = tx.text(&FLEET);
        Ok(located(on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_all(c).await?)))
    }

    /// How many actions were reserved since then, by whom ever.
    pub async fn touches(&mut self, since: Timestamp) -> Result<u32> {
        let tx = self.begun().await?;
        let sql = tx.text(&TOUCHES);
        let (count,): (i64,) = on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_one(c).await?);
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The target of each action that was reserved since then, by whom ever.
    pub async fn touched(&mut self, since: Timestamp) -> Result<Vec<Located>> {
        let tx = self.begun().await?;
        let sql = tx.text(&TOUCHED);
        Ok(located(on!(tx, c => sqlx::query_as(sql).bind(since.micros()).fetch_all(c).await?)))
    }

    /// How many targets of each of those policies are violated; none: no entry.
    pub async fn sick(&mut self, policies: &[i64]) -> Result<HashMap<i64, u32>> {
        let tx = self.begun().await?;
        let (sql, list) = (tx.text(&SICK), list_of(policies));
        let rows: Vec<(i64, i64)> = on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        Ok(rows
            .into_iter()
            .map(|(policy, count)| (policy, u32::try_from(count).unwrap_or(u32::MAX)))
            .collect())
    }

    /// Which targets of a policy are violated.
    pub async fn sick_where(&mut self, policy: i64) -> Result<Vec<Located>> {
        let tx = self.begun().await?;
        let sql = tx.text(&SICK_WHERE);
        Ok(located(on!(tx, c => sqlx::query_as(sql).bind(policy).fetch_all(c).await?)))
    }

    /// When too many targets of those policies were last violated, by policy and the part of its fleet.
    pub async fn storms(&mut self, policies: &[i64]) -> Result<HashMap<i64, HashMap<String, Timestamp>>> {
        let tx = self.begun().await?;
        let (sql, list) = (tx.text(&STORMS), list_of(policies));
        let rows: Vec<(i64, String, i64)> = on!(tx, c => sqlx::query_as(sql).bind(list).fetch_all(c).await?);
        let mut storms = HashMap::<i64, HashMap<String, Timestamp>>::new();
        for (policy, domain, at) in rows {
            storms.entry(policy).or_default().insert(domain, Timestamp::from_micros(at));
        }
        Ok(storms)
    }
}

/// Writes down who is alive and what storms.
pub(super) async fn note(tx: &mut Tx, plan: &Plan) -> Result<()> {
    let (note, storm) = (tx.text(&NOTE), tx.text(&STORM));
    for alive in &plan.seen {
        on!(tx, c => sqlx::query(note).bind(&*alive.target).bind(plan.now.micros()).bind(alive.domains.text())
            .execute(c).await?.rows_affected());
    }
    for (policy, domain) in &plan.storms {
        on!(tx, c => sqlx::query(storm).bind(*policy).bind(domain).bind(plan.now.micros())
            .execute(c).await?.rows_affected());
    }
    Ok(())
}
