//! Incidents, and why they went the way they went.

use axum::extract::{Path, RawQuery, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use super::actions::{Params, absent, id};
use super::problem::{Invalid, Problem};
use crate::domain::Timestamp;
use crate::domain::incident::State as IncidentState;
use crate::store::{Chain, IncidentRow};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/api/v1/incidents", get(list))
        .route("/api/v1/incidents/{incident_id}", get(show))
        .route("/api/v1/incidents/{incident_id}/why", get(why))
        .route("/api/v1/actions/{action_id}/why", get(why_action))
}

fn detail(row: &IncidentRow) -> Value {
    let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
    json!({
        "id": row.id,
        "policy_name": row.policy_name,
        "policy_version": row.policy_version,
        "severity": row.severity,
        "target": row.target,
        "simulated": row.simulated,
        "state": row.state,
        "opened_at": time(Some(row.opened_at)),
        "closed_at": time(row.closed_at),
        "cleared_at": time(row.cleared_at),
        "event_id": row.event_id,
        "last_event_id": row.last_event_id,
        "last_violated_at": time(Some(row.last_violated_at)),
        "violations": row.violations,
        "actions": row.actions,
        "last_action_id": row.last_action_id,
        "latest_decision": row.reason,
        "saw": serde_json::from_str::<Value>(&row.evidence).unwrap_or(Value::Null),
    })
}

async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut params = Params::new(query);
    let limit = params.int("limit", 1..=500, 50);
    let text = |name| params.text(name).unwrap_or("").to_owned();
    let (state, target, policy) = (text("state"), text("target"), text("policy"));
    if !state.is_empty() && IncidentState::from_word(&state).is_none() {
        return Err(Problem::bad("Invalid state. Must be one of: open, healed, expired, handed_over"));
    }
    let simulated = flag(&params, "simulated")?;
    params.done()?;
    let rows = api.store.incidents((&state, &target, &policy), simulated, limit).await?;
    let incidents: Vec<Value> = rows.iter().map(detail).collect();
    Ok(Json(json!({"ok": true, "count": incidents.len(), "incidents": incidents})))
}

/// A parameter that is true or false; absent and empty are false.
fn flag(params: &Params, name: &str) -> Result<bool, Problem> {
    let text = params.text(name).unwrap_or("").trim().to_ascii_lowercase();
    match text.as_str() {
        "" | "false" | "no" | "off" | "0" => Ok(false),
        "true" | "yes" | "on" | "1" => Ok(true),
        _ => {
            let msg = "Input should be a valid boolean, unable to interpret input";
            let loc = vec![json!("query"), json!(name)];
            Err(Problem::invalid(vec![Invalid::new("bool_parsing", loc, msg, json!(text))]))
        }
    }
}

async fn show(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Problem> {
    let row = api.store.incident(id(&text, "incident")?).await?.ok_or_else(|| absent("incident", &text))?;
    Ok(Json(detail(&row)))
}

async fn why(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Problem> {
    let row = api.store.incident(id(&text, "incident")?).await?.ok_or_else(|| absent("incident", &text))?;
    let chain = api.store.chain_of_incident(row.id, row.event_id).await?;
    let mut answer = facts(&api, &chain).await?;
    answer["incident"] = detail(&row);
    answer["story"] = json!(story(&row, &chain));
    Ok(Json(answer))
}

async fn why_action(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Value>, Problem> {
    let row = api.store.action(id(&text, "action")?).await?.ok_or_else(|| absent("action", &text))?;
    let chain = api.store.chain_of_action(row.id, row.event_id).await?;
    let mut answer = facts(&api, &chain).await?;
    answer["incident_id"] = json!(row.incident_id);
    Ok(Json(answer))
}

async fn facts(api: &Api, chain: &Chain) -> Result<Value, Problem> {
    let mut actions = Vec::new();
    for (action, attempts) in &chain.actions {
        let Some(row) = api.store.action(*action).await? else { continue };
        let phase = row.phase()?;
        actions.push(json!({
            "id": action, "action": row.kind, "target": row.target, "status": phase.wire(), "state": phase,
            "plugin": row.plugin, "digest": row.digest, "effects": row.effects, "created_at": row.created_at(),
            "completed_at": row.completed_at(), "details": row.details, "error_message": row.error_message,
            "attempts": attempts,
        }));
    }
    Ok(json!({
        "event": chain.event, "decisions": chain.decisions, "actions": actions, "audit": chain.audit,
    }))
}

/// The chain as sentences, oldest first.
fn story(row: &IncidentRow, chain: &Chain) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(event) = &chain.event {
        lines.push(format!(
            "{} {} = {} was observed on {}",
            event.observed_at, event.name, event.value, row.target
        ));
    }
    let condition = serde_json::from_str::<Value>(&row.evidence).unwrap_or(Value::Null);
    let condition = condition["condition"].as_str().unwrap_or("its condition").to_owned();
    lines.push(format!(
        "{} policy {} (version {}) was violated: {condition}",
        Timestamp::from_micros(row.opened_at),
        row.policy_name,
        row.policy_version
    ));
    for decision in &chain.decisions {
        let times = if decision.times > 1 { format!(" ({} times)", decision.times) } else { String::new() };
        lines.push(match (&decision.action_id, &decision.reason) {
            (Some(action), _) => format!("{} decided to act: action {action}", decision.at),
            (None, Some(reason)) => format!("{} decided not to act: {reason}{times}", decision.at),
            (None, None) => format!("{} decided: {}{times}", decision.at, decision.decision),
        });
    }
    for (action, attempts) in &chain.actions {
        for attempt in attempts {
            let plugin = attempt.plugin.as_deref().unwrap_or("no plugin");
            lines.push(format!(
                "{} attempt {} of action {action} began in plugin {plugin}",
                attempt.started_at, attempt.attempt
            ));
            for call in &attempt.calls {
                let answer = call.status.map_or_else(|| call.state.clone(), |status| status.to_string());
                lines.push(format!(
                    "    {} {} on connection {}: {answer}",
                    call.method, call.path, call.connection
                ));
            }
            if let (Some(at), Some(outcome)) = (attempt.ended_at, &attempt.outcome) {
                lines.push(format!("{at} it ended {outcome}: {}", attempt.message.as_deref().unwrap_or("")));
            }
        }
    }
    if let Some(cleared) = row.cleared_at {
        lines.push(format!("{} the incident is over: {}", Timestamp::from_micros(cleared), row.state));
    }
    lines
}
