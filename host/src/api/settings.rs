//! Settings over HTTP: read, changed, reset, described. What is said here is kept in the database, laid over the
//! configuration, and followed by every node.

mod leaves;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::door::Principal;
use super::input;
use super::problem::{self, Invalid, Problem};
use crate::config::{Environment, Settings, lay};
use crate::domain::Timestamp;
use crate::pipeline::settings::everywhere;
use crate::store::Overrides;

pub(super) use leaves::whole;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, change, reset)).routes(routes!(schema))
}

/// The settings in force.
#[derive(Serialize, ToSchema)]
#[schema(as = SettingsShown)]
struct Shown {
    /// All of them.
    settings: Settings,
    /// When they were last changed over HTTP; null if they never were, or were reset.
    #[schema(required = true)]
    updated_at: Option<Timestamp>,
    /// `database` if anything was changed over HTTP, else `defaults`.
    source: Source,
}

/// Where settings come from.
#[derive(Serialize, ToSchema)]
#[schema(as = SettingsSource)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// Something was changed over HTTP.
    Database,
    /// The configuration alone.
    Defaults,
}

/// The settings after a change.
#[derive(Serialize, ToSchema)]
#[schema(as = SettingsChanged)]
struct Changed {
    /// Always true.
    success: bool,
    /// What was done, in words.
    message: String,
    /// All settings in force, earlier changes included.
    settings: Settings,
    /// When they were changed.
    #[schema(required = true)]
    updated_at: Option<Timestamp>,
    /// Whether every node works with them already; each does so within a second of reaching the database.
    reload_applied: bool,
    /// Members that nobody reads, and what else to know.
    warnings: Vec<String>,
}

/// A change of settings.
#[derive(ToSchema)]
#[schema(as = SettingsChange)]
#[expect(dead_code, reason = "it describes what is read member by member")]
struct ChangeBody {
    /// What is to be changed, in the shape of `GET /api/v1/settings`; null or absent: as before.
    #[schema(value_type = Object)]
    settings: Value,
}

/// The settings in force.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", security(("token" = ["read"])),
    responses((status = 200, description = "All settings", body = Shown)))]
async fn show(State(api): State<Api>) -> Result<Json<Shown>, Problem> {
    let stored = api.store.settings().await?;
    let source = if is_empty(&stored.values) { Source::Defaults } else { Source::Database };
    Ok(Json(Shown { settings: effective(&api, &stored)?, updated_at: stored.updated_at, source }))
}

fn is_empty(values: &Value) -> bool {
    values.as_object().is_none_or(serde_json::Map::is_empty)
}

fn effective(api: &Api, stored: &Overrides) -> Result<Settings, Problem> {
    api.settings.base().with(&stored.values).map_err(|wrong| {
        tracing::error!(error = %wrong, "the stored settings can't be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the stored settings can't be read; reset them")
    })
}

/// Changes settings.
///
/// Earlier changes are kept. Every node follows within a second.
#[utoipa::path(put, path = "/api/v1/settings", tag = "settings", security(("token" = ["admin"])), request_body = ChangeBody,
    responses((status = 200, description = "Changed", body = Changed),
        (status = 422, description = "A value can't be used", body = problem::Body)))]
async fn change(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Changed>, Problem> {
    let (asked, warnings) = leaves::read(&input::json(&api, &headers, sent).await?)?;
    let base = api.settings.base().clone();
    let merged = move |before: &Value| merge(&base, before, &asked);
    let changed = api
        .store
        .change_settings(merged, (&principal.actor(), "settings.changed"), api.clock.now())
        .await??;
    applied(&api, &changed, "Settings updated successfully", warnings).await
}

/// What was said before with what is asked for on top, if the whole can work.
fn merge(base: &Settings, before: &Value, asked: &Value) -> Result<Value, Problem> {
    let mut values = before.clone();
    lay(&mut values, asked);
    let now = base.with(before).unwrap_or_else(|_| base.clone());
    let refused = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the settings can't be used together");
    let whole = base.with(&values).map_err(|_| refused())?;
    if whole.retry.base_delay > whole.retry.max_delay {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "retry.base_delay ({}) must be less than or equal to retry.max_delay ({})",
                whole.retry.base_delay, whole.retry.max_delay
            ),
        ));
    }
    let wanted = asked.get("environment");
    if now.environment == Environment::Production && wanted.is_some_and(|word| word != "production") {
        let loc = vec![json!("body"), json!("settings"), json!("environment")];
        let msg = "Value error, production is not relaxed over HTTP: change the configuration and restart";
        let input = wanted.cloned().unwrap_or_default();
        return Err(Problem::invalid(vec![Invalid::new("value_error", loc, msg, input)]));
    }
    Ok(values)
}

/// Takes what was stored into force, here at once and elsewhere within a second.
async fn applied(
    api: &Api,
    changed: &Overrides,
    message: &str,
    warnings: Vec<String>,
) -> Result<Json<Changed>, Problem> {
    let here = api.settings.apply(changed);
    let settings = effective(api, changed)?;
    Ok(Json(Changed {
        success: true,
        message: message.to_owned(),
        settings,
        updated_at: changed.updated_at,
        reload_applied: here && everywhere(&api.store, changed.rev).await,
        warnings,
    }))
}

/// Resets the settings to what the configuration says.
///
/// An environment that was set to production stays there.
#[utoipa::path(delete, path = "/api/v1/settings", tag = "settings", security(("token" = ["admin"])),
    responses((status = 200, description = "Reset", body = Changed)))]
async fn reset(State(api): State<Api>, principal: Principal) -> Result<Json<Changed>, Problem> {
    let kept = |before: &Value| {
        let production = before.get("environment").is_some_and(|word| word == "production");
        Ok::<_, Problem>(if production { json!({"environment": "production"}) } else { json!({}) })
    };
    let changed =
        api.store.change_settings(kept, (&principal.actor(), "settings.reset"), api.clock.now()).await??;
    let mut warnings = Vec::new();
    if !is_empty(&changed.values) {
        warnings.push("environment stays production: it is not relaxed over HTTP".to_owned());
    }
    applied(&api, &changed, "Settings reset to defaults", warnings).await
}

/// The JSON Schema of the settings.
#[utoipa::path(get, path = "/api/v1/settings/schema", tag = "settings", security(("token" = ["read"])),
    responses((status = 200, description = "A JSON Schema, draft 2020-12", body = Object)))]
async fn schema(State(api): State<Api>) -> Json<Value> {
    Json(leaves::schema(api.settings.base()))
}
