//! What one drained batch adds to the database: series, samples, incidents, decisions, reservations,
//! actions and their audit entries.

use serde_json::{Value, json};

use super::ingest::NewSeries;
use super::plan::{ActionDraft, IncidentChange, IncidentDraft, Plan, Verdict, Which};
use super::sql::statements;
use super::{Result, Tx, approval, ids, on, rows, slot};
use crate::domain::audit::Entry;
use crate::domain::incident::State;
use crate::domain::ladder::Judgement;
use crate::domain::mutant::{Fault, holds};
use crate::domain::opposites::Of;
use crate::domain::{Phase, Timestamp};

statements! { pub(super) STATEMENTS:
    ADD_SERIES = "INSERT INTO series (id, partition_id, identity, name, target, target_kind, namespace, tags,
        simulated) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    TICKED = "UPDATE partition_state SET ticked_at = $2 WHERE id IN {ids}";
    OPEN_INCIDENT = "INSERT INTO incident (id, policy_id, policy_name, policy_version, severity, target, state,
        opened_at, event_id, last_event_id, last_violated_at, violations, actions, reason, evidence,
        simulated, flapping_until) VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8, $8, $7, 0, 0, NULL, $9, $10, $11)";
    VIOLATED = "UPDATE incident SET violations = violations + $2, last_event_id = $3, last_violated_at = $4,
        reason = $5, silence_id = $6, calm_at = NULL WHERE id = $1";
    REPEATED = "UPDATE incident SET violations = violations + r.times, last_event_id = r.event, last_violated_at = $2,
        calm_at = NULL FROM {repeats} r WHERE incident.id = r.id";
    CALM = "UPDATE incident SET calm_at = $2 WHERE id = $1 AND calm_at IS NULL";
    ACTED = "UPDATE incident SET actions = actions + 1, last_action_id = $2,
        tries = CASE WHEN step = $3 THEN tries + 1 ELSE 1 END, step = $3 WHERE id = $1";
    JUDGE = "UPDATE action SET verdict = $2 WHERE verdict IS NULL
        AND id = (SELECT last_action_id FROM incident WHERE id = $1)";
    // An incident of which a human was told while it is open may be handed over later.
    TOLD = "UPDATE incident SET told_at = $2 WHERE id = $1 AND state = 'handed_over'";
    CLEARING = "UPDATE incident SET clear_since = $2 WHERE id = $1";
    CLOSE = "UPDATE incident SET state = CASE WHEN state = 'open' THEN $2 ELSE state END,
        closed_at = COALESCE(closed_at, $3), cleared_at = $3 WHERE id = $1 AND cleared_at IS NULL";
    HAND_OVER = "UPDATE incident SET state = 'handed_over', closed_at = $2, reason = $3
        WHERE id = $1 AND state = 'open'";
    ADD_DECISION = "INSERT INTO decision (id, incident_id, at, last_at, event_id, verdict, reason, until_at,
        repeats, action_id, facts) VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10)";
    REPEAT_DECISIONS = "UPDATE decision SET repeats = repeats + l.times, last_at = $2 FROM (SELECT r.times,
        (SELECT MAX(d.id) FROM decision d WHERE d.incident_id = r.id) AS latest FROM {repeats} r) l
        WHERE decision.id = l.latest";
    ADD_ACTION = "INSERT INTO action (id, execution_id, incident_id, policy_id, policy_name, policy_version,
        event_id, origin, kind, target, target_kind, namespace, labels, params, priority, state, simulated,
        queued, attempts, max_attempts, crashes, run_at, expires_at, created_at, details, completed_at, step, timeout_us)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $22,
        $17, 0, $18, 0, $19, $20, $19, $21, $23, $24, $25)";
    RESERVE = "INSERT INTO reservation (action_id, policy_id, target, at, plugin) VALUES ($1, $2, $3, $4, $5)";
    ADD_AUDIT = "INSERT INTO audit (at, actor, verb, object, object_id, incident_id, action_id, facts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
}

/// All but the samples, which go with the commit.
pub(super) async fn record(tx: &mut Tx, plan: &mut Plan) -> Result<()> {
    assign_ids(tx, plan).await?;
    for series in &plan.series {
        add_series(tx, series).await?;
    }
    super::fleet::note(tx, plan).await?;
    super::duel::record(tx, plan).await?;
    if !plan.ticked.is_empty() {
        let (sql, list) = (tx.text(&TICKED), super::ingest::list_of(&plan.ticked));
        on!(tx, c => sqlx::query(sql).bind(list).bind(plan.now.micros()).execute(c).await?.rows_affected());
    }
    let mut opened = 0;
    let changes = std::mem::take(&mut plan.changes);
    let mut repeats: Vec<(i64, i64, i64)> = Vec::new();
    for change in &changes {
        // What only repeats is written together, as long as nothing else happens in between.
        if let IncidentChange::Decided { incident: Which::Known(id), event_id, repeat: true, times, .. } =
            change
            && repeats.iter().all(|(known, ..)| known != id)
        {
            repeats.push((*id, *times, *event_id));
            continue;
        }
        repeat(tx, &mut repeats, plan.now).await?;
        // In their order: an incident may open after the one before it, of the same pair, has closed.
        while matches!(change.incident(), Which::New(at) if at >= opened) {
            open_incident(tx, &plan.opened[opened], plan.now).await?;
            opened += 1;
        }
        apply(tx, plan, change).await?;
    }
    repeat(tx, &mut repeats, plan.now).await?;
    plan.changes = changes;
    add_actions(tx, plan).await
}

/// Counts decisions that only repeat.
async fn repeat(tx: &mut Tx, repeats: &mut Vec<(i64, i64, i64)>, now: Timestamp) -> Result<()> {
    if repeats.is_empty() {
        return Ok(());
    }
    let (incidents, decisions, list) =
        (tx.text(&REPEATED), tx.text(&REPEAT_DECISIONS), list_of_rows(repeats));
    on!(&mut *tx, c => sqlx::query(incidents).bind(&list).bind(now.micros()).execute(c).await?.rows_affected());
    on!(tx, c => sqlx::query(decisions).bind(&list).bind(now.micros()).execute(c).await?.rows_affected());
    repeats.clear();
    Ok(())
}

fn list_of_rows(rows: &[(i64, i64, i64)]) -> String {
    serde_json::to_string(rows).unwrap_or_else(|_| "[]".to_owned())
}

async fn assign_ids(tx: &mut Tx, plan: &mut Plan) -> Result<()> {
    let (opened, actions) = (plan.opened.len(), plan.actions.len());
    if opened > 0 {
        let first = ids::take(tx, "incident", rows::number(opened)).await?;
        for (draft, id) in plan.opened.iter_mut().zip(first..) {
            draft.id = id;
        }
    }
    if actions > 0 {
        let first = ids::take(tx, "action", rows::number(actions)).await?;
        for (draft, id) in plan.actions.iter_mut().zip(first..) {
            draft.id = id;
        }
    }
    Ok(())
}

async fn add_series(tx: &mut Tx, series: &NewSeries) -> Result<()> {
    let sql = tx.text(&ADD_SERIES);
    on!(tx, c => sqlx::query(sql).bind(series.id).bind(i64::from(series.partition)).bind(&series.identity)
        .bind(&series.name).bind(&series.target).bind(&series.target_kind).bind(&series.namespace)
        .bind(&series.tags).bind(series.simulated).execute(c).await?.rows_affected());
    Ok(())
}

async fn open_incident(tx: &mut Tx, draft: &IncidentDraft, now: Timestamp) -> Result<()> {
    let sql = tx.text(&OPEN_INCIDENT);
    on!(tx, c => sqlx::query(sql).bind(draft.id).bind(draft.policy_id).bind(&draft.policy_name)
        .bind(draft.policy_version).bind(draft.severity).bind(&draft.target).bind(now.micros())
        .bind(draft.event_id).bind(draft.evidence.to_string()).bind(draft.simulated)
        .bind(draft.flapping_until.map(Timestamp::micros)).execute(c).await?.rows_affected());
    let facts = json!({"policy": draft.policy_name, "policy_version": draft.policy_version,
        "target": draft.target, "simulated": draft.simulated, "event_id": draft.event_id,
        "saw": draft.evidence});
    add_audit(tx, &Entry::incident("system", "incident.opened", draft.id, facts), now).await
}

async fn add_actions(tx: &mut Tx, plan: &mut Plan) -> Result<()> {
    // Slots are locked in the order of their names, so that two transactions never wait for each other.
    let mut order: Vec<usize> = (0..plan.actions.len()).collect();
    order.sort_by(|a, b| plan.actions[*a].target.cmp(&plan.actions[*b].target).then(a.cmp(b)));
    for at in order {
        let incident = plan.actions[at].incident.map(|which| id_of(&plan.opened, which));
        let draft = &mut plan.actions[at];
        if let Some(incident) = incident.filter(|_| draft.tells) {
            draft.params = telling(&draft.params, incident);
        }
        add_action(tx, draft, (incident, "system"), plan.now).await?;
        if let (Some((policy, _, _)), Some(incident)) = (&draft.policy, incident) {
            let (reserve, acted, told) = (tx.text(&RESERVE), tx.text(&ACTED), tx.text(&TOLD));
            if draft.tells {
                on!(tx, c => sqlx::query(told).bind(incident).bind(plan.now.micros()).execute(c).await?.rows_affected());
                continue;
            }
            if !draft.simulated && holds(Fault::Reserve) {
                // What waits for an approval is spent for as long as it may wait.
                let asked = draft.approval.as_ref().map(|asked| plan.now.after(asked.terms.within));
                let at = asked.unwrap_or(plan.now).micros();
                on!(tx, c => sqlx::query(reserve).bind(draft.id).bind(*policy).bind(&draft.target)
                    .bind(at).bind(&draft.plugin).execute(c).await?.rows_affected());
            }
            if draft.phase == Phase::Approval {
                plan.withdrawn.extend(approval::ask(tx, draft, incident, plan.now).await?);
                continue;
            }
            on!(tx, c => sqlx::query(acted).bind(incident).bind(draft.id).bind(draft.step.unwrap_or(0))
                .execute(c).await?.rows_affected());
        }
    }
    Ok(())
}

/// The parameters of an action that tells a human, with the incident's id.
fn telling(params: &str, incident: i64) -> String {
    let mut params: Value = rows::json(params);
    if let Some(members) = params.as_object_mut() {
        members.entry("incident_id").or_insert(json!(incident));
    }
    params.to_string()
}

/// Inserts one action and gives it its target's slot if that is free. A simulated one is over at once.
pub(super) async fn add_action(
    tx: &mut Tx,
    draft: &mut ActionDraft,
    (incident, actor): (Option<i64>, &str),
    now: Timestamp,
) -> Result<()> {
    draft.phase = if draft.simulated {
        Phase::Succeeded
    } else if draft.approval.is_some() {
        Phase::Approval
    } else if !draft.queued {
        Phase::Held
    } else if slot::enter(tx, &draft.target, draft.id).await? {
        Phase::Ready
    } else {
        Phase::Blocked
    };
    let sql = tx.text(&ADD_ACTION);
    let policy = draft.policy.as_ref();
    on!(tx, c => sqlx::query(sql)
        .bind(draft.id).bind(&draft.execution_id).bind(incident).bind(policy.map(|p| p.0))
        .bind(policy.map(|p| p.1.clone())).bind(policy.map(|p| p.2)).bind(draft.event_id).bind(draft.origin)
        .bind(&draft.kind).bind(&draft.target).bind(&draft.target_kind).bind(&draft.namespace)
        .bind(&draft.labels).bind(&draft.params).bind(draft.priority).bind(draft.phase.word())
        .bind(draft.queued && !draft.simulated).bind(draft.max_attempts).bind(now.micros())
        .bind(draft.expires_at.map(Timestamp::micros)).bind(&draft.details).bind(draft.simulated)
        .bind(draft.simulated.then(|| now.micros())).bind(draft.step)
        .bind(draft.timeout.and_then(|timeout| i64::try_from(timeout.as_micros()).ok()))
        .execute(c).await?.rows_affected());
    let facts = json!({"kind": draft.kind, "target": draft.target, "origin": draft.origin,
        "state": draft.phase.word(), "policy": policy.map(|p| &p.1), "event_id": draft.event_id,
        "simulated": draft.simulated, "step": draft.step});
    add_audit(tx, &Entry::action(actor, "action.created", draft.id, incident, facts), now).await
}

fn id_of(opened: &[IncidentDraft], which: Which) -> i64 {
    match which {
        Which::New(at) => opened[at].id,
        Which::Known(id) => id,
    }
}

async fn apply(tx: &mut Tx, plan: &mut Plan, change: &IncidentChange) -> Result<()> {
    match change {
        IncidentChange::Decided { incident, event_id, verdict, repeat, times, facts } => {
            let id = id_of(&plan.opened, *incident);
            let (word, silence) = match verdict {
                Verdict::Act(_) => ("act", None),
                Verdict::Ask(_) => ("ask", None),
                Verdict::Suppress { reason, silence, .. } => (*reason, *silence),
                Verdict::HandOver(reason) => (*reason, None),
            };
            let sql = tx.text(&VIOLATED);
            on!(tx, c => sqlx::query(sql).bind(id).bind(*times).bind(*event_id).bind(plan.now.micros()).bind(word)
                .bind(silence).execute(c).await?.rows_affected());
            if *repeat {
                let (sql, list) = (tx.text(&REPEAT_DECISIONS), list_of_rows(&[(id, *times, *event_id)]));
                on!(tx, c => sqlx::query(sql).bind(list).bind(plan.now.micros()).execute(c).await?.rows_affected());
                return Ok(());
            }
            decided(tx, plan, id, (*event_id, *times), (verdict, facts)).await
        }
        IncidentChange::Withdrawn { incident, state, why } => {
            let id = id_of(&plan.opened, *incident);
            plan.withdrawn.extend(approval::withdraw(tx, id, (*state, why), plan.now).await?);
            Ok(())
        }
        IncidentChange::Clearing { incident, since } => {
            let (id, sql) = (id_of(&plan.opened, *incident), tx.text(&CLEARING));
            on!(tx, c => sqlx::query(sql).bind(id).bind(since.map(Timestamp::micros)).execute(c).await?.rows_affected());
            Ok(())
        }
        IncidentChange::Calm { incident } => {
            let (sql, id) = (tx.text(&CALM), id_of(&plan.opened, *incident));
            on!(tx, c => sqlx::query(sql).bind(id).bind(plan.now.micros()).execute(c).await?.rows_affected());
            Ok(())
        }
        IncidentChange::Closed { incident, state, event_id, saw, .. } => {
            let id = id_of(&plan.opened, *incident);
            let sql = tx.text(&CLOSE);
            on!(tx, c => sqlx::query(sql).bind(id).bind(state.word()).bind(plan.now.micros()).execute(c).await?.rows_affected());
            if *state == State::Healed {
                judge(tx, id, Judgement::Healed).await?;
            }
            let facts = json!({"event_id": event_id, "saw": saw});
            let verb = if *state == State::Expired { "incident.expired" } else { "incident.cleared" };
            add_audit(tx, &Entry::incident("system", verb, id, facts), plan.now).await
        }
    }
}

async fn decided(
    tx: &mut Tx,
    plan: &Plan,
    id: i64,
    (event_id, times): (i64, i64),
    (verdict, facts): (&Verdict, &Value),
) -> Result<()> {
    let (word, reason, until, action) = match verdict {
        Verdict::Act(at) => ("act", None, None, Some(plan.actions[*at].id)),
        Verdict::Ask(at) => ("ask", None, None, Some(plan.actions[*at].id)),
        Verdict::Suppress { reason, until, .. } => ("suppress", Some(*reason), *until, None),
        Verdict::HandOver(reason) => ("hand_over", Some(*reason), None, None),
    };
    match verdict {
        Verdict::Act(_) | Verdict::Ask(_) | Verdict::HandOver("actions_used_up" | "ineffective") => {
            judge(tx, id, Judgement::NotHealed).await?;
        }
        Verdict::HandOver(_) => judge(tx, id, Judgement::Unknown).await?,
        Verdict::Suppress { .. } => {}
    }
    let named = named(plan, facts);
    let facts = &named;
    let row = ids::take(tx, "decision", 1).await?;
    let sql = tx.text(&ADD_DECISION);
    on!(tx, c => sqlx::query(sql).bind(row).bind(id).bind(plan.now.micros()).bind(event_id).bind(word)
        .bind(reason).bind(until.map(Timestamp::micros)).bind(times).bind(action).bind(facts.to_string())
        .execute(c).await?.rows_affected());
    if let Verdict::HandOver(reason) = verdict {
        hand_over(tx, id, reason, plan.now).await?;
    }
    let facts = json!({"verdict": word, "reason": reason, "until": until, "action_id": action, "saw": facts});
    let mut entry = Entry::incident("system", "incident.decided", id, facts);
    entry.action_id = action;
    add_audit(tx, &entry, plan.now).await
}

/// The facts, with the id of an action of this very plan where they name one.
fn named(plan: &Plan, facts: &Value) -> Value {
    let mut facts = facts.clone();
    if let Some(guardrail) = facts.get_mut("guardrail").and_then(Value::as_object_mut)
        && let Some(at) = guardrail.remove("in_plan").and_then(|at| usize::try_from(at.as_u64()?).ok())
    {
        guardrail.insert("action_id".to_owned(), json!(plan.action_id(Of::New(at))));
    }
    facts
}

/// Notes what was found of the incident's last action, if it has made one and that is not known yet.
async fn judge(tx: &mut Tx, incident: i64, judgement: Judgement) -> Result<()> {
    let sql = tx.text(&JUDGE);
    on!(tx, c => sqlx::query(sql).bind(incident).bind(judgement.word()).execute(c).await?.rows_affected());
    Ok(())
}

/// Gives an open incident to a human.
pub(super) async fn hand_over(tx: &mut Tx, id: i64, reason: &str, now: Timestamp) -> Result<bool> {
    let sql = tx.text(&HAND_OVER);
    let changed = on!(tx, c => sqlx::query(sql).bind(id).bind(now.micros()).bind(reason)
        .execute(c).await?.rows_affected());
    if changed > 0 {
        let entry = Entry::incident("system", "incident.handed_over", id, json!({"reason": reason}));
        add_audit(tx, &entry, now).await?;
    }
    Ok(changed > 0)
}

/// Writes one audit entry in this transaction.
pub(super) async fn add_audit(tx: &mut Tx, entry: &Entry, now: Timestamp) -> Result<()> {
    let sql = tx.text(&ADD_AUDIT);
    on!(tx, c => sqlx::query(sql).bind(now.micros()).bind(&entry.actor).bind(entry.verb).bind(entry.object)
        .bind(&entry.object_id).bind(entry.incident_id).bind(entry.action_id).bind(entry.facts.to_string())
        .execute(c).await?.rows_affected());
    Ok(())
}
