//! What a silence would hold back, before it is made.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::shape::{self, SilenceBody};
use crate::api::Api;
use crate::api::input;
use crate::api::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::domain::event::Tags;
use crate::domain::policy::{Mode, Policy};
use crate::domain::silence::{Compiled, Field, Matcher, Silence, Subject};
use crate::engine;
use crate::store::OpenIncident;

/// Times shown of a calendar.
const TIMES: usize = 5;
/// Policies and incidents shown.
const SHOWN: usize = 100;
/// Open incidents looked at, newest first.
const LOOKED_AT: i64 = 1_000;
/// A target that has sent nothing for so long is none.
const ALIVE: Duration = Duration::from_hours(25);

/// What it would hold back.
#[derive(Serialize, ToSchema)]
#[schema(as = SilencePreview)]
pub(super) struct Preview {
    /// Always true.
    ok: bool,
    /// The matchers as they are read.
    matchers: Vec<String>,
    /// When it holds: the next five times of a calendar.
    intervals: Vec<Times>,
    /// Targets known of late that match, whatever their tags.
    targets: usize,
    /// Policies that act and would be held back on some of those, at most 100.
    policies: Vec<HeldPolicy>,
    /// Open incidents that would be held back, newest first, at most 100 of the newest 1,000.
    incidents: Vec<HeldIncident>,
}

/// One time that it holds.
#[derive(Serialize, ToSchema)]
#[schema(as = SilenceTimes)]
struct Times {
    /// From when on.
    from: Timestamp,
    /// Until when.
    until: Timestamp,
}

/// A policy that would be held back.
#[derive(Serialize, ToSchema)]
#[schema(as = SilencedPolicy)]
struct HeldPolicy {
    /// Its name.
    name: String,
    /// On so many of the targets known.
    targets: usize,
}

/// An incident that would be held back.
#[derive(Serialize, ToSchema)]
#[schema(as = SilencedIncident)]
struct HeldIncident {
    /// Its number.
    id: i64,
    /// Its policy.
    policy_name: String,
    /// Its target.
    target: String,
    /// When it opened.
    opened_at: Timestamp,
}

/// Shows what a silence would hold back now, and when it would hold. Nothing is kept.
#[utoipa::path(post, path = "/api/v1/silences/preview", tag = "silences", security(("token" = ["read"])),
    request_body(content = SilenceBody, description = "As for a silence; `comment` may be absent"),
    responses((status = 200, description = "What and when", body = Preview),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
pub(super) async fn preview(
    State(api): State<Api>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Preview>, Problem> {
    let now = api.clock.now();
    let wish = shape::read(&input::json(&api, &headers, sent).await?, (None, false), now)?;
    let matchers = wish.matchers.clone();
    let author = String::new();
    let silence =
        Silence { id: 0, version: 1, wish, author, created_at: now, updated_at: now, expired_at: None };
    let compiled = Compiled::new(silence).map_err(Problem::bad)?;
    let windows = compiled.windows(now, TIMES).into_iter();
    let intervals = windows.map(|(from, until)| Times { from, until }).collect();
    let names = api.store.alive(now.before(ALIVE)).await?;
    let about = About { of: |field: &Field| *field == Field::Target, matchers: compiled.matchers() };
    let blank = Tags::new();
    let mut targets = names;
    targets.retain(|target| {
        about.matches(&Subject { policy: "", target, severity: "", action: "", tags: &blank })
    });
    let policies = Arc::clone(&api.policies.read().unwrap_or_else(PoisonError::into_inner));
    let acting: Vec<&Arc<engine::Compiled>> =
        policies.all().filter(|compiled| compiled.policy.mode != Mode::Observe).collect();
    let tagged = compiled.matchers().iter().any(|matcher| matches!(matcher.field, Field::Tag(_)));
    let open = api.store.open_incidents(LOOKED_AT, tagged).await?;
    let held = open.into_iter().filter(|incident| {
        acting.iter().any(|one| one.policy.id == incident.policy_id && on(&compiled, &one.policy, incident))
    });
    let incidents = held.take(SHOWN).map(|incident| HeldIncident {
        id: incident.id,
        policy_name: incident.policy_name,
        target: incident.target,
        opened_at: incident.opened_at,
    });
    let incidents = incidents.collect();
    let policies = acting.iter().filter_map(|one| policy(&compiled, one, &targets)).take(SHOWN).collect();
    Ok(Json(Preview { ok: true, matchers, intervals, targets: targets.len(), policies, incidents }))
}

/// Some of the matchers.
struct About<'a, F: Fn(&Field) -> bool> {
    of: F,
    matchers: &'a [Matcher],
}

impl<F: Fn(&Field) -> bool> About<'_, F> {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.matchers
            .iter()
            .filter(|matcher| (self.of)(&matcher.field))
            .all(|matcher| matcher.matches(subject))
    }
}

/// The kinds of action that a policy may make.
fn kinds(policy: &Policy) -> impl Iterator<Item = &str> {
    (0..).map_while(|step| policy.rung(step)).map(|rung| rung.action)
}

fn policy(silence: &Compiled, one: &engine::Compiled, targets: &[String]) -> Option<HeldPolicy> {
    let (policy, tags) = (&one.policy, Tags::new());
    // Nobody knows the tags of events to come.
    let known = |field: &Field| !matches!(field, Field::Target | Field::Tag(_));
    let about = About { of: known, matchers: silence.matchers() };
    let (name, severity) = (policy.name.as_str(), policy.severity.word());
    let matches = kinds(policy)
        .any(|action| about.matches(&Subject { policy: name, target: "", severity, action, tags: &tags }));
    let count = || targets.iter().filter(|target| one.pattern.matches(target)).count();
    let count = if matches { count() } else { 0 };
    (count > 0).then(|| HeldPolicy { name: policy.name.clone(), targets: count })
}

fn on(silence: &Compiled, policy: &Policy, incident: &OpenIncident) -> bool {
    let subject = |action| Subject {
        policy: policy.name.as_str(),
        target: incident.target.as_str(),
        severity: policy.severity.word(),
        action,
        tags: &incident.tags,
    };
    kinds(policy).any(|action| silence.matches(&subject(action)))
}
