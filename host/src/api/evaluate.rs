//! `POST /api/v1/policies/evaluate`: what the policies in force say of given values. Pure: nothing is stored, nothing
//! is done, and neither history nor guardrails are asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::input::{self, Fields};
use super::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::domain::event::{NO_TARGET, normal_name};
use crate::engine::{Compiled, Truth, trial};

/// Warnings listed in one answer.
const WARNINGS: usize = 100;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(evaluate))
}

/// What the policies say.
#[derive(Debug, Serialize, ToSchema)]
struct Evaluation {
    /// Always true.
    ok: bool,
    /// The policies that are violated, in the order of registration.
    violations: Vec<Violated>,
    /// What would be done about them. Nothing is.
    actions_triggered: Vec<WouldAct>,
    /// When this was asked.
    timestamp: Timestamp,
    /// What was taken otherwise than it was sent.
    warnings: Vec<String>,
}

/// A violated policy.
#[derive(Debug, Serialize, ToSchema)]
struct Violated {
    /// Its name.
    policy_name: String,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    /// Its description.
    description: String,
    /// The target that was asked about, else `all`.
    target: String,
    /// When this was asked.
    timestamp: Timestamp,
    /// The same; the seed's clients read either.
    triggered_at: Timestamp,
    /// What the policy would do.
    action: String,
}

/// What a policy would do.
#[derive(Debug, Serialize, ToSchema)]
struct WouldAct {
    /// The kind of action.
    action: String,
    /// The target that was asked about, else the policy's own pattern.
    target: String,
    /// Always `dry_run`.
    status: &'static str,
    /// The policy's parameters, and the given values as `metrics`.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Always null: no action is made.
    action_id: Option<i64>,
    /// The policy.
    policy_name: String,
}

struct Asked {
    metrics: Map<String, Value>,
    values: BTreeMap<String, f64>,
    target: Option<String>,
    warnings: Vec<String>,
}

/// Values to ask the policies about.
#[derive(ToSchema)]
#[schema(as = EvaluatedValues)]
#[expect(dead_code, reason = "it describes what `asked` reads")]
struct Values {
    /// Metrics by name. What is no number counts as missing.
    #[schema(value_type = Object)]
    metrics: Map<String, Value>,
    /// On this target; without it every policy is asked.
    #[schema(required = false, max_length = 255)]
    target: Option<String>,
}

/// Says which policies the given values violate. Nothing is stored and nothing is done.
#[utoipa::path(post, path = "/api/v1/policies/evaluate", tag = "policies", security(("token" = ["read"])),
    request_body = Values,
    responses((status = 200, description = "What would be", body = Evaluation),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn evaluate(
    State(api): State<Api>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Evaluation>, Problem> {
    let asked = asked(&input::json(&api, &headers, sent).await?)?;
    let (stored, now) = (enabled(&api).await?, api.clock.now());
    let evaluated = tokio::task::spawn_blocking(move || evaluation(&stored, asked, now)).await;
    evaluated.map(Json).map_err(|_| ended_early())
}

fn ended_early() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the evaluation ended early")
}

fn asked(value: &Value) -> Result<Asked, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut warnings = Vec::new();
    let metrics = match fields.need("metrics") {
        Some(Value::Null) => {
            fields.fault("dict_type", "metrics", "Input should be a valid dictionary");
            None
        }
        Some(_) => fields.object("metrics"),
        None => None,
    };
    let mut values = BTreeMap::new();
    for (name, value) in metrics.iter().flatten() {
        match value {
            Value::Number(number) => {
                values.extend(number.as_f64().map(|number| (name.trim().to_owned(), number)));
            }
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                let name = name.chars().take(64).collect::<String>();
                warnings.push(format!("`{name}` is no number and counts as missing"));
            }
        }
    }
    let target = fields.text("target", 0..=255, false).filter(|name| !name.is_empty());
    let target = match target.as_deref().map(normal_name).transpose() {
        Ok(target) => target,
        Err(why) => {
            fields.fault("value_error", "target", format!("Value error, target {why}"));
            None
        }
    };
    for stranger in fields.strangers(&["metrics", "target"]) {
        warnings
            .push(format!("unknown member `{}` is ignored", stranger.chars().take(64).collect::<String>()));
    }
    warnings.truncate(WARNINGS);
    match metrics {
        Some(metrics) if fields.faults.is_empty() => Ok(Asked { metrics, values, target, warnings }),
        Some(_) | None => Err(Problem::invalid(fields.faults)),
    }
}

/// The policies in force, as they are stored at this moment: what the writer works with may be a second older.
async fn enabled(api: &Api) -> Result<Vec<Arc<Compiled>>, Problem> {
    let (mut stored, _) = api.store.policies().await?;
    stored.retain(|policy| policy.enabled);
    let known = api.in_force();
    // Compiling takes milliseconds; what the writer has compiled already is taken over.
    let compile = move || -> Vec<Arc<Compiled>> {
        let one = |policy: crate::domain::policy::Policy| {
            let same = known.by_id(policy.id).filter(|known| known.policy.version == policy.version);
            same.cloned().or_else(|| Compiled::new(policy).ok().map(Arc::new))
        };
        stored.into_iter().filter_map(one).collect()
    };
    tokio::task::spawn_blocking(compile).await.map_err(|_| ended_early())
}

fn evaluation(policies: &[Arc<Compiled>], asked: Asked, now: Timestamp) -> Evaluation {
    let target = asked.target.as_deref();
    let violated = policies.iter().filter(|policy| {
        target.is_none_or(|name| policy.pattern.matches(name))
            && trial(policy, target, &asked.values) == Truth::Met
    });
    let (mut violations, mut actions_triggered) = (Vec::new(), Vec::new());
    for Compiled { policy, .. } in violated.map(AsRef::as_ref) {
        violations.push(Violated {
            policy_name: policy.name.clone(),
            severity: policy.severity.word(),
            description: policy.description.clone(),
            target: target.unwrap_or(NO_TARGET).to_owned(),
            timestamp: now,
            triggered_at: now,
            action: policy.action.clone(),
        });
        if policy.mode.acts() {
            let mut params = policy.params.clone();
            params.insert("metrics".to_owned(), Value::Object(asked.metrics.clone()));
            actions_triggered.push(WouldAct {
                action: policy.action.clone(),
                target: target.unwrap_or(&policy.target).to_owned(),
                status: "dry_run",
                params,
                action_id: None,
                policy_name: policy.name.clone(),
            });
        }
    }
    Evaluation { ok: true, violations, actions_triggered, timestamp: now, warnings: asked.warnings }
}
