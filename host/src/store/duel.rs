//! What was lately done to a target, and duels over it that were stopped.

use super::ingest::Writing;
use super::plan::Plan;
use super::sql::statements;
use super::{Result, Tx, on};
use crate::domain::Timestamp;
use crate::domain::opposites::{Act, Duel, Lately, Of};

statements! { pub(super) STATEMENTS:
    // What never began has done nothing.
    ACTS = "SELECT r.action_id, r.policy_id, a.kind, r.at FROM reservation r JOIN action a ON a.id = r.action_id
        WHERE r.target = $1 AND r.at > $2 AND NOT (a.attempts = 0 AND a.state IN ('held', 'approval', 'cancelled', 'expired'))
        ORDER BY r.at, r.action_id";
    DUELS = "SELECT action_id, first_policy, second_policy, first_kind, second_kind, until_at FROM duel
        WHERE target = $1 AND until_at > $2";
    OVER = "DELETE FROM duel WHERE until_at <= $1";
    STOPPED = "INSERT INTO duel (target, first_kind, second_kind, first_policy, second_policy, action_id, until_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (target, first_kind, second_kind, first_policy, second_policy) DO UPDATE
        SET action_id = excluded.action_id, until_at = excluded.until_at";
}

impl Writing {
    /// What was done to a real target since then, and its duels.
    pub async fn lately(&mut self, target: &str, since: Timestamp, now: Timestamp) -> Result<Lately> {
        lately(self.begun().await?, target, since, now).await
    }
}

/// See [`Writing::lately`].
pub(super) async fn lately(tx: &mut Tx, target: &str, since: Timestamp, now: Timestamp) -> Result<Lately> {
    type Stopped = (i64, i64, i64, String, String, i64);
    let (acts, duels) = (tx.text(&ACTS), tx.text(&DUELS));
    let acts: Vec<(i64, i64, String, i64)> =
        on!(tx, c => sqlx::query_as(acts).bind(target).bind(since.micros()).fetch_all(c).await?);
    let duels: Vec<Stopped> =
        on!(tx, c => sqlx::query_as(duels).bind(target).bind(now.micros()).fetch_all(c).await?);
    let act =
        |(id, policy, kind, at)| Act { action: Of::Known(id), policy, kind, at: Timestamp::from_micros(at) };
    let duel = |(id, first, second, done, wanted, until): Stopped| Duel {
        action: Of::Known(id),
        policies: [first, second],
        kinds: [done, wanted],
        until: Timestamp::from_micros(until),
    };
    Ok(Lately { acts: acts.into_iter().map(act).collect(), duels: duels.into_iter().map(duel).collect() })
}

/// Writes a stopped duel down; what is over goes.
pub(super) async fn stop(
    tx: &mut Tx,
    target: &str,
    (duel, action): (&Duel, i64),
    now: Timestamp,
) -> Result<()> {
    let (over, sql) = (tx.text(&OVER), tx.text(&STOPPED));
    on!(tx, c => sqlx::query(over).bind(now.micros()).execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(sql).bind(target).bind(&duel.kinds[0]).bind(&duel.kinds[1]).bind(duel.policies[0])
        .bind(duel.policies[1]).bind(action).bind(duel.until.micros()).execute(c).await?.rows_affected());
    Ok(())
}

/// Writes down the duels of a plan whose actions have their ids.
pub(super) async fn record(tx: &mut Tx, plan: &Plan) -> Result<()> {
    for (target, duel) in &plan.duels {
        stop(tx, target, (duel, plan.action_id(duel.action)), plan.now).await?;
    }
    Ok(())
}
