//! Incidents, and why they went the way they went.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::actions::{ApprovalDetail, of_actions};
use super::lax;
use super::params::{Params, absent, id};
use super::problem::{self, Invalid, Problem};
use crate::domain::Timestamp;
use crate::domain::incident::State as IncidentState;
use crate::domain::policy::Severity;
use crate::domain::{Phase, WireStatus};
use crate::store::{
    AttemptRow, AuditFact, Chain, DecisionFact, EventFact, IncidentFilter, IncidentRow, Place,
};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(why))
        .routes(routes!(why_action))
}

/// One episode of one policy on one target.
#[derive(Serialize, ToSchema)]
struct Incident {
    /// Its id.
    id: i64,
    /// Its policy.
    policy_name: String,
    /// The policy's version when it opened.
    policy_version: i64,
    /// `info`, `warning` or `critical`.
    severity: String,
    /// On what.
    target: String,
    /// Of the simulated target of that name, not of the real one.
    simulated: bool,
    /// `open`, `healed`, `expired` or `handed_over`.
    state: String,
    /// When it opened.
    opened_at: Timestamp,
    /// When it was closed or handed over.
    closed_at: Option<Timestamp>,
    /// When the condition was no longer met.
    cleared_at: Option<Timestamp>,
    /// The event that opened it.
    event_id: i64,
    /// The last event that violated it.
    last_event_id: i64,
    /// When that was.
    last_violated_at: Timestamp,
    /// How often it was violated.
    violations: i64,
    /// Actions it made.
    actions: i64,
    /// The last of them.
    last_action_id: Option<i64>,
    /// `act`, `ask`, or the reason why neither.
    latest_decision: Option<String>,
    /// What the condition saw.
    saw: Value,
}

fn detail(row: &IncidentRow) -> Incident {
    let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
    Incident {
        id: row.id,
        policy_name: row.policy_name.clone(),
        policy_version: row.policy_version,
        severity: row.severity.clone(),
        target: row.target.clone(),
        simulated: row.simulated,
        state: row.state.clone(),
        opened_at: Timestamp::from_micros(row.opened_at),
        closed_at: time(row.closed_at),
        cleared_at: time(row.cleared_at),
        event_id: row.event_id,
        last_event_id: row.last_event_id,
        last_violated_at: Timestamp::from_micros(row.last_violated_at),
        violations: row.violations,
        actions: row.actions,
        last_action_id: row.last_action_id,
        latest_decision: row.reason.clone(),
        saw: serde_json::from_str::<Value>(&row.evidence).unwrap_or(Value::Null),
    }
}

/// Incidents, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentList)]
struct Listed {
    /// Always true.
    ok: bool,
    /// How many follow.
    count: usize,
    /// How many there are on all pages.
    total: i64,
    /// This page's number, from 1.
    page: i64,
    /// Most incidents of a page.
    page_size: i64,
    /// Names the next page; null: this is the last one.
    next_cursor: Option<String>,
    /// Them.
    incidents: Vec<Incident>,
}

/// Lists incidents, newest first. Filters combine; a page that lies past the end is empty.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "incidents", security(("token" = ["read"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "Incidents of a page; 50"),
        ("page" = Option<i64>, Query, minimum = 1, description = "Which page; 1"),
        ("cursor" = Option<String>, Query, description = "Instead of a page: `next_cursor` of the answer before, with the same filters"),
        ("severity" = Option<String>, Query, description = "info, warning or critical"),
        ("state" = Option<String>, Query, description = "open, healed, expired or handed_over; another is 400"),
        ("target" = Option<String>, Query, description = "Exactly this target"),
        ("policy" = Option<String>, Query, description = "Exactly this policy"),
        ("simulated" = Option<lax::Flag>, Query, description = "Those of simulated targets instead of real ones")),
    responses((status = 200, description = "The page", body = Listed),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Listed>, Problem> {
    let mut params = Params::new(query);
    let paging = params.paging("incidents");
    let filter = IncidentFilter {
        state: params.word("state"),
        target: params.word("target"),
        policy: params.word("policy"),
        severity: params.word("severity"),
        simulated: flag(&params, "simulated")?,
    };

    if !filter.state.is_empty() && IncidentState::from_word(&filter.state).is_none() {
        return Err(Problem::bad("Invalid state. Must be one of: open, healed, expired, handed_over"));
    }
    if !filter.severity.is_empty() && Severity::from_word(&filter.severity).is_none() {
        params.fault("value_error", "severity", "Value error, severity is one of info, warning, critical");
    }
    params.done()?;
    let (mut rows, total) = api.store.incidents(&filter, paging.part()).await?;
    let next_cursor = paging.cut(&mut rows, |row| Place { at: row.opened_at, id: row.id });
    let incidents: Vec<Incident> = rows.iter().map(detail).collect();
    Ok(Json(Listed {
        ok: true,
        count: incidents.len(),
        total,
        page: paging.page,
        page_size: paging.limit,
        next_cursor,
        incidents,
    }))
}

/// A parameter that is true or false; absent is false.
fn flag(params: &Params, name: &str) -> Result<bool, Problem> {
    let text = params.text(name).unwrap_or("false").trim().to_ascii_lowercase();
    match text.as_str() {
        "false" | "no" | "off" | "0" => Ok(false),
        "true" | "yes" | "on" | "1" => Ok(true),
        _ => {
            let msg = "Input should be a valid boolean, unable to interpret input";
            let loc = vec![json!("query"), json!(name)];
            Err(Problem::invalid(vec![Invalid::new("bool_parsing", loc, msg, json!(text))]))
        }
    }
}

/// One incident.
#[utoipa::path(get, path = "/api/v1/incidents/{incident_id}", tag = "incidents", security(("token" = ["read"])),
    params(("incident_id" = i64, Path)),
    responses((status = 200, description = "The incident", body = Incident),
        (status = 404, description = "No such incident", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn show(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Incident>, Problem> {
    let row = api.store.incident(id(&text, "incident")?).await?.ok_or_else(|| absent("incident", &text))?;
    Ok(Json(detail(&row)))
}

/// The chain of facts behind an incident or an action.
#[derive(Serialize, ToSchema)]
struct Why {
    /// The event that began it.
    event: Option<EventFact>,
    /// What was decided, the decisions not to act included.
    decisions: Vec<DecisionFact>,
    /// What was done.
    actions: Vec<Deed>,
    /// Every transition.
    audit: Vec<AuditFact>,
    /// The incident, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<Incident>,
    /// The incident of an action, where the action was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[expect(clippy::option_option, reason = "absent, or present and null where the action has none")]
    incident_id: Option<Option<i64>>,
    /// The same as sentences, oldest first, where the incident was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<Vec<String>>,
}

/// An action of the chain.
#[derive(Serialize, ToSchema)]
struct Deed {
    /// Its id.
    id: i64,
    /// What.
    action: String,
    /// On what.
    target: String,
    /// One of the five.
    status: WireStatus,
    /// The finer state.
    state: Phase,
    /// The plugin of its last attempt.
    plugin: Option<String>,
    /// The plugin's digest.
    digest: Option<String>,
    /// What may be done when the outcome is unknown.
    effects: Option<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it ended.
    completed_at: Option<Timestamp>,
    /// For people.
    details: Option<String>,
    /// Why it failed.
    error_message: Option<String>,
    /// Which step of its policy's ladder it is, from 0.
    step: Option<i64>,
    /// What samples observed after it had ended and settled say.
    verdict: Option<String>,
    /// What people are asked, where it takes their yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    approval: Option<ApprovalDetail>,
    /// Each run.
    attempts: Vec<AttemptRow>,
}

/// Why an incident went the way it went.
#[utoipa::path(get, path = "/api/v1/incidents/{incident_id}/why", tag = "incidents", security(("token" = ["read"])),
    params(("incident_id" = i64, Path)),
    responses((status = 200, description = "The chain", body = Why),
        (status = 404, description = "No such incident", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn why(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Why>, Problem> {
    let row = api.store.incident(id(&text, "incident")?).await?.ok_or_else(|| absent("incident", &text))?;
    let chain = api.store.chain_of_incident(row.id, row.event_id).await?;
    let mut told = story(&row, &chain);
    let mut answer = facts(&api, chain).await?;
    told.extend(answer.actions.iter().flat_map(|deed| {
        deed.approval.iter().flat_map(|approval| approval.story(deed.id)).collect::<Vec<_>>()
    }));
    told.extend(verdicts(&answer.actions));
    if let Some(cleared) = row.cleared_at {
        told.push(format!("{} the incident is over: {}", Timestamp::from_micros(cleared), row.state));
    }
    answer.incident = Some(detail(&row));
    answer.story = Some(told);
    Ok(Json(answer))
}

/// Why an action was made and what came of it.
#[utoipa::path(get, path = "/api/v1/actions/{action_id}/why", tag = "actions", security(("token" = ["read"])),
    params(("action_id" = i64, Path)),
    responses((status = 200, description = "The chain", body = Why),
        (status = 404, description = "No such action", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn why_action(State(api): State<Api>, Path(text): Path<String>) -> Result<Json<Why>, Problem> {
    let row = api.store.action(id(&text, "action")?).await?.ok_or_else(|| absent("action", &text))?;
    let chain = api.store.chain_of_action(row.id, row.event_id).await?;
    let mut answer = facts(&api, chain).await?;
    answer.incident_id = Some(row.incident_id);
    Ok(Json(answer))
}

async fn facts(api: &Api, chain: Chain) -> Result<Why, Problem> {
    let mut actions = Vec::new();
    for (action, attempts) in chain.actions {
        let Some(row) = api.store.action(action).await? else { continue };
        let phase = row.phase()?;
        let (created_at, completed_at) = (row.created_at(), row.completed_at());
        let approval = of_actions(api, std::slice::from_ref(&row)).await?.remove(&action);
        actions.push(Deed {
            id: action,
            action: row.kind,
            target: row.target,
            status: phase.wire(),
            state: phase,
            plugin: row.plugin,
            digest: row.digest,
            effects: row.effects,
            created_at,
            completed_at,
            details: row.details,
            error_message: row.error_message,
            step: row.step,
            verdict: row.verdict,
            approval,
            attempts,
        });
    }
    let (event, decisions, audit) = (chain.event, chain.decisions, chain.audit);
    Ok(Why { event, decisions, actions, audit, incident: None, incident_id: None, story: None })
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
            (Some(action), _) if decision.decision == "ask" => {
                format!("{} decided to ask for an approval: action {action}", decision.at)
            }
            (Some(action), Some(reason)) => {
                format!("{} action {action} came to nothing: {reason}", decision.at)
            }
            (Some(action), _) => format!("{} decided to act: action {action}", decision.at),
            (None, Some(reason)) => {
                let numbers = numbers(&decision.saw["guardrail"]);
                let held = decision.silence.as_ref().map(|held| format!("; {}", held.words()));
                let held = held.unwrap_or_default();
                format!("{} decided not to act: {reason}{numbers}{times}{held}", decision.at)
            }
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
    lines
}

/// A guardrail's numbers, as ` [limit 5, used 5]`.
fn numbers(guardrail: &Value) -> String {
    let members = guardrail.as_object().into_iter().flatten();
    let said: Vec<String> = members
        .filter(|(name, value)| *name != "reason" && !value.is_null())
        .map(|(name, value)| {
            format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect();
    if said.is_empty() { String::new() } else { format!(" [{}]", said.join(", ")) }
}

/// What was found of each action of the ladder, as sentences.
fn verdicts(actions: &[Deed]) -> impl Iterator<Item = String> + '_ {
    actions.iter().filter_map(|deed| {
        let found = match deed.verdict.as_deref()? {
            "healed" => "helped",
            "not_healed" => "did not help",
            _ => "may have helped or not: nothing was observed since",
        };
        Some(format!("action {} ({}, step {}) {found}", deed.id, deed.action, deed.step.unwrap_or(0) + 1))
    })
}
