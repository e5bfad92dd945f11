//! The policy tester: what a policy would do, tried with values that violate it. The inject goes the way of every
//! event, marked as a test, so that no live policy and no plugin ever sees it.

mod payload;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::input::{self, Fields};
use super::policies;
use super::problem::{self, Problem};
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::domain::policy::Policy;
use crate::engine::{Compiled, Truth, parse_condition, trial};
use crate::pipeline::ingest::Request;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(inject)).routes(routes!(preview))
}

/// What a test came to.
#[derive(Debug, Serialize, ToSchema)]
struct Injected {
    /// The policy's name.
    policy_id: String,
    /// What was sent: the values of metrics.
    metric_payload: BTreeMap<String, f64>,
    /// An action would be made.
    action_triggered: bool,
    /// Names this test in the log.
    correlation_id: String,
    /// What came of it, for people.
    message: String,
    /// The violation, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    violation_details: Option<TestedViolation>,
    /// What would be done; each entry is a simulated action.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Vec<PlannedAction>>,
}

/// The violation that a test led to.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct TestedViolation {
    /// The policy.
    policy_name: String,
    /// `info`, `warning` or `critical`.
    severity: String,
    /// The policy's description.
    description: String,
    /// The test target.
    target: String,
    /// When.
    timestamp: String,
    /// The same; the seed's clients read either.
    triggered_at: String,
    /// What the policy does.
    action: String,
    /// `act`, `ask`, or the reason why neither.
    decision: String,
    /// The simulated incident it opened.
    incident_id: i64,
}

/// What would be done.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
struct PlannedAction {
    /// The kind of action.
    action: String,
    /// The test target.
    target: String,
    /// Always `planned`.
    status: String,
    /// The policy's parameters.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// The simulated action.
    action_id: i64,
    /// The policy.
    policy_name: String,
}

/// The part of an ingest's answer that a test reads.
#[derive(Deserialize)]
struct Answer {
    violations: Vec<TestedViolation>,
    actions_triggered: Vec<PlannedAction>,
}

/// What a test would send, and what would come of it.
#[derive(Debug, Serialize, ToSchema)]
struct Preview {
    /// The policy's name.
    policy_id: String,
    /// The policy.
    policy_info: policies::PolicyInfo,
    /// Its condition, taken apart.
    condition_analysis: Analysis,
    /// The values of metrics that a test would send.
    generated_payload: BTreeMap<String, f64>,
    /// Whether the condition is met by them.
    would_violate: bool,
    /// What to know about it.
    note: String,
}

/// A condition, taken apart.
#[derive(Debug, Serialize, ToSchema)]
struct Analysis {
    /// Its type: `metric_exceeds`, `metric_below`, `all`, `any` or `cel`.
    r#type: String,
    /// The metric it compares, where it is a comparison.
    metric: Option<String>,
    /// What with.
    threshold: Option<f64>,
    /// Its parts, where it has any.
    #[schema(value_type = Vec<Object>)]
    conditions: Vec<Map<String, Value>>,
}

/// A policy ready to be tested.
struct Trial {
    compiled: Arc<Compiled>,
    payload: BTreeMap<String, f64>,
    target: String,
}

impl Trial {
    async fn new(policy: Policy) -> Result<Self, Problem> {
        let prepare = move || {
            let condition = parse_condition(&policy.condition).ok()?;
            let payload = payload::payload(&condition, &policy.name);
            let target = payload::target(&policy.target);
            Some(Self { compiled: Arc::new(Compiled::new(policy).ok()?), payload, target })
        };
        // Compiling takes milliseconds.
        let prepared = tokio::task::spawn_blocking(prepare).await.ok().flatten();
        prepared.ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the stored policy does not compile any more")
        })
    }

    fn would_violate(&self) -> bool {
        trial(&self.compiled, Some(&self.target), &self.payload) == Truth::Met
    }

    fn note(&self) -> String {
        let mut note = format!("Sent as simulated events on target {}.", self.target);
        if !self.compiled.policy.enabled {
            note.push_str(" The policy is disabled: injected events lead to nothing.");
        }
        if !self.would_violate() {
            note.push_str(" These values do not meet the condition; none could be derived from it.");
        }
        note
    }

    fn request(&self, now: crate::domain::Timestamp) -> Request {
        let pairs = [("target", self.target.as_str()), ("environment", "test"), ("simulator", "true")];
        let tags: Tags = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let target = Target { name: self.target.clone(), kind: "target".to_owned(), namespace: None };
        let events = self.payload.iter().map(|(name, value)| {
            let series = Series::new(name.clone(), tags.clone(), Some(target.clone()));
            let (series, mark) = (Arc::new(series), Mark::Real);
            Event { series, value: *value, observed_at: now, timed: false, mark }
                .marked(Mark::Test { policy: self.compiled.policy.id })
        });
        Request { events: events.collect(), many: true, warnings: Vec::new(), key: None }
    }
}

/// Shows what a test of a policy would send, and whether that violates it.
#[utoipa::path(get, path = "/api/v1/policy-tester/policy/{policy_id}/preview", tag = "policy tester",
    security(("token" = ["read"])), params(("policy_id" = String, Path, description = "The policy's name")),
    responses((status = 200, description = "What would be sent", body = Preview),
        (status = 404, description = "There is no such policy", body = problem::Body)))]
async fn preview(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Preview>, Problem> {
    let policy = policies::find(&api, &name).await?;
    let (policy_info, condition_analysis) =
        (policies::PolicyInfo::new(&api, &policy, &[]), analysis(&policy.condition));
    let trial = Trial::new(policy).await?;
    Ok(Json(Preview {
        policy_id: name,
        policy_info,
        condition_analysis,
        would_violate: trial.would_violate(),
        note: trial.note(),
        generated_payload: trial.payload,
    }))
}

fn analysis(condition: &Value) -> Analysis {
    let threshold = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let parts = condition["conditions"].as_array().into_iter().flatten();
    Analysis {
        r#type: condition["type"].as_str().unwrap_or_default().to_owned(),
        metric: condition["metric"].as_str().map(|name| name.trim().to_owned()),
        threshold: threshold(&condition["threshold"]),
        conditions: parts.filter_map(Value::as_object).cloned().collect(),
    }
}

/// Which policy to test.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `inject` reads")]
struct Tested {
    /// The policy's name.
    #[schema(min_length = 1, max_length = 255)]
    policy_id: String,
}

/// Sends values that violate a policy through the pipeline, marked as a test: nothing real comes of it.
#[utoipa::path(post, path = "/api/v1/policy-tester/inject", tag = "policy tester", security(("token" = ["operate"])),
    request_body = Tested,
    responses((status = 200, description = "What would be done", body = Injected),
        (status = 404, description = "There is no such policy", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn inject(State(api): State<Api>, headers: HeaderMap, sent: Body) -> Result<Json<Injected>, Problem> {
    let value = input::json(&api, &headers, sent).await?;
    let mut fields =
        Fields::new(&value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let Some(policy_id) = fields.text("policy_id", 1..=255, true) else {
        return Err(Problem::invalid(fields.faults));
    };
    let trial = Trial::new(policies::find(&api, &policy_id).await?).await?;
    let id = api.clock.id().replace('-', "");
    let correlation_id = format!("inject-{}", &id[..12.min(id.len())]);
    let answer = api.ingest.accept(trial.request(api.clock.now())).await?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|wrong| {
        tracing::error!(error = %wrong, "an answer of our own can't be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong inside Vigil")
    })?;
    let violation = answer.violations.into_iter().last();
    let mut actions = answer.actions_triggered;
    for action in &mut actions {
        "planned".clone_into(&mut action.status);
    }
    let message = message(&trial, violation.as_ref(), &actions);
    tracing::info!(correlation_id, policy_name = %policy_id, action_triggered = !actions.is_empty(), "A policy was tested");
    Ok(Json(Injected {
        policy_id,
        metric_payload: trial.payload,
        action_triggered: !actions.is_empty(),
        correlation_id,
        message,
        violation_details: violation,
        actions: (!actions.is_empty()).then_some(actions),
    }))
}

fn message(trial: &Trial, violation: Option<&TestedViolation>, actions: &[PlannedAction]) -> String {
    let policy = &trial.compiled.policy;
    let name = &policy.name;
    if !policy.enabled {
        return format!("Policy '{name}' is disabled: nothing is evaluated and no action would be made");
    }
    match (violation, actions.first()) {
        (_, Some(action)) => {
            format!("Policy '{name}' was violated: {} on {} would be run", action.action, action.target)
        }
        (Some(violation), None) => {
            format!("Policy '{name}' was violated, but no action would be made: {}", violation.decision)
        }
        (None, None) if trial.would_violate() => {
            let hold = policy.guardrails.hold.as_secs();
            format!(
                "The condition of policy '{name}' is met; it is violated once that has been so for {hold} s"
            )
        }
        (None, None) => format!("Policy '{name}' was not violated by these values"),
    }
}
