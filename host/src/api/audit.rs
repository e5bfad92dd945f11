//! The audit trail: who did what, when, and the values that led to it.

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::params::Params;
use super::problem::{self, Problem};
use crate::store::{AuditFilter, AuditRow, Place};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(trail))
}

/// A part of the trail.
#[derive(Serialize, ToSchema)]
struct Trail {
    /// Always true.
    ok: bool,
    /// How many follow.
    count: usize,
    /// Names the next part; null: this is the last one.
    next_cursor: Option<String>,
    /// Newest first.
    entries: Vec<AuditRow>,
}

/// Lists the audit trail, newest first. Filters combine.
#[utoipa::path(get, path = "/api/v1/audit", tag = "service", security(("token" = ["read"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "Entries of a page; 50"),
        ("page" = Option<i64>, Query, minimum = 1, description = "Which page; 1"),
        ("cursor" = Option<String>, Query, description = "Instead of a page: `next_cursor` of the answer before, with the same filters"),
        ("actor" = Option<String>, Query, description = "Exactly this one"),
        ("verb" = Option<String>, Query, description = "Exactly this deed, such as action.cancelled"),
        ("object" = Option<String>, Query, description = "action, incident, policy and so on"),
        ("object_id" = Option<String>, Query, description = "Exactly this one of them"),
        ("start_time" = Option<String>, Query, description = "Done then or later"),
        ("end_time" = Option<String>, Query, description = "Done then or earlier")),
    responses((status = 200, description = "The page", body = Trail),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn trail(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Trail>, Problem> {
    let mut params = Params::new(query);
    let paging = params.paging("audit");
    let (from, to) = (params.time("start_time"), params.time("end_time"));
    let filter = AuditFilter {
        actor: params.word("actor"),
        verb: params.word("verb"),
        object: params.word("object"),
        object_id: params.word("object_id"),
        from,
        to,
    };
    params.done()?;
    let mut entries = api.store.audit(&filter, paging.part()).await?;
    let next_cursor = paging.cut(&mut entries, |entry| Place { at: entry.at.micros(), id: entry.id });
    Ok(Json(Trail { ok: true, count: entries.len(), next_cursor, entries }))
}
