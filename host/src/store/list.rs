//! Lists of actions and incidents: filters that combine, newest first, by page or from a place in the order.

use super::sql::statements;
use super::{ActionRow, IncidentRow, Result, Store, on};
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ACTIONS = "SELECT id, execution_id, incident_id, policy_name, event_id, origin, kind, target, namespace, params,
        priority, state, simulated, queued, attempts, max_attempts, run_at, plugin, digest, effects, created_at,
        running_since, completed_at, details, error_message, owner, lease_until, result, step, verdict FROM action
        WHERE state IN {texts} AND created_at >= $2 AND created_at <= $3 AND (target = $4 OR $4 = '')
        AND (kind = $5 OR $5 = '') AND (policy_name = $6 OR $6 = '') AND (incident_id = $7 OR $7 = -1)
        AND (origin = $8 OR $8 = '') AND (priority = $9 OR $9 = -1)
        AND (created_at < $10 OR (created_at = $10 AND id < $11))
        ORDER BY created_at DESC, id DESC LIMIT $12 OFFSET $13";
    COUNT_ACTIONS = "SELECT COUNT(*) FROM action
        WHERE state IN {texts} AND created_at >= $2 AND created_at <= $3 AND (target = $4 OR $4 = '')
        AND (kind = $5 OR $5 = '') AND (policy_name = $6 OR $6 = '') AND (incident_id = $7 OR $7 = -1)
        AND (origin = $8 OR $8 = '') AND (priority = $9 OR $9 = -1)";
    INCIDENTS = "SELECT id, policy_name, policy_version, severity, target, state, opened_at, closed_at, cleared_at,
        event_id, last_event_id, last_violated_at, violations, actions, last_action_id, reason, evidence, simulated
        FROM incident WHERE (state = $1 OR $1 = '') AND (target = $2 OR $2 = '') AND (policy_name = $3 OR $3 = '')
        AND (severity = $4 OR $4 = '') AND simulated = $9 AND (opened_at < $5 OR (opened_at = $5 AND id < $6))
        ORDER BY opened_at DESC, id DESC LIMIT $7 OFFSET $8";
    COUNT_INCIDENTS = "SELECT COUNT(*) FROM incident WHERE (state = $1 OR $1 = '') AND (target = $2 OR $2 = '')
        AND (policy_name = $3 OR $3 = '') AND (severity = $4 OR $4 = '') AND simulated = $5";
}

/// A place in a list: what comes after it is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time that the list is ordered by, in microseconds.
    pub at: i64,
    /// The id of the row there.
    pub id: i64,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// How many.
    pub limit: i64,
    /// How many to pass over.
    pub offset: i64,
    /// Only what comes after this place.
    pub after: Option<Place>,
}

impl Part {
    /// The first so many.
    #[must_use]
    pub fn first(limit: i64) -> Self {
        Self { limit, offset: 0, after: None }
    }

    /// That part of a list, in its order, of which all is at hand.
    #[must_use]
    pub fn of<T>(&self, all: Vec<T>, place: impl Fn(&T) -> Place) -> Vec<T> {
        let from = self.place();
        let after = all.into_iter().filter(|one| {
            let Place { at, id } = place(one);
            (at, id) < (from.at, from.id)
        });
        let number = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
        after.skip(number(self.offset)).take(number(self.limit)).collect()
    }

    pub(super) fn place(&self) -> Place {
        self.after.unwrap_or(Place { at: i64::MAX, id: i64::MAX })
    }
}

/// Which actions to list; what is empty lets everything through.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// Only in one of these states; none: in any.
    pub phases: Option<Vec<Phase>>,
    /// Only on this target.
    pub target: String,
    /// Only of this kind.
    pub kind: String,
    /// Only made by this policy.
    pub policy: String,
    /// Only of this incident.
    pub incident: Option<i64>,
    /// Only made by `policy`, `api` and so on.
    pub origin: String,
    /// Only of this priority's number.
    pub priority: Option<i64>,
    /// Made at or after.
    pub from: Option<Timestamp>,
    /// Made at or before.
    pub to: Option<Timestamp>,
}

/// Which incidents to list; what is empty lets everything through.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    /// Only in this state.
    pub state: String,
    /// Only on this target.
    pub target: String,
    /// Only of this policy.
    pub policy: String,
    /// Only of this severity.
    pub severity: String,
    /// Those of simulated targets instead of real ones.
    pub simulated: bool,
}

impl Store {
    /// Actions, newest first, and how many there are in all, whatever the part.
    pub async fn actions(&self, filter: &ActionFilter, part: Part) -> Result<(Vec<ActionRow>, i64)> {
        let phases = filter.phases.as_deref().unwrap_or(&Phase::ALL);
        let words: Vec<&str> = phases.iter().map(|phase| phase.word()).collect();
        let words = serde_json::to_string(&words).unwrap_or_default();
        let (from, to) =
            (filter.from.map_or(i64::MIN, Timestamp::micros), filter.to.map_or(i64::MAX, Timestamp::micros));
        let (incident, priority) = (filter.incident.unwrap_or(-1), filter.priority.unwrap_or(-1));
        let place = part.place();
        let mut tx = self.reading().await?;
        let (list, count) = (tx.text(&ACTIONS), tx.text(&COUNT_ACTIONS));
        let found: Vec<ActionRow> = on!(&mut tx, c => sqlx::query_as(list).bind(&words).bind(from).bind(to)
            .bind(&filter.target).bind(&filter.kind).bind(&filter.policy).bind(incident).bind(&filter.origin)
            .bind(priority).bind(place.at).bind(place.id).bind(part.limit).bind(part.offset).fetch_all(c).await?);
        let (total,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).bind(&words).bind(from).bind(to)
            .bind(&filter.target).bind(&filter.kind).bind(&filter.policy).bind(incident).bind(&filter.origin)
            .bind(priority).fetch_one(c).await?);
        Ok((found, total))
    }

    /// Incidents, newest first, and how many there are in all, whatever the part.
    pub async fn incidents(&self, filter: &IncidentFilter, part: Part) -> Result<(Vec<IncidentRow>, i64)> {
        let IncidentFilter { state, target, policy, severity, simulated } = filter;
        let place = part.place();
        let mut tx = self.reading().await?;
        let (list, count) = (tx.text(&INCIDENTS), tx.text(&COUNT_INCIDENTS));
        let found: Vec<IncidentRow> = on!(&mut tx, c => sqlx::query_as(list).bind(state).bind(target).bind(policy)
            .bind(severity).bind(place.at).bind(place.id).bind(part.limit).bind(part.offset).bind(*simulated).fetch_all(c).await?);
        let (total,): (i64,) = on!(&mut tx, c => sqlx::query_as(count).bind(state).bind(target).bind(policy)
            .bind(severity).bind(*simulated).fetch_one(c).await?);
        Ok((found, total))
    }
}
