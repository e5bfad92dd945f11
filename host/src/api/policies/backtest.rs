//! What policies would have decided about the stored history.

mod shape;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

pub use self::shape::Backtest;
use self::shape::{Asked, MEMBERS};
use super::read::duration;
use super::{Draft, draft};
use crate::api::Api;
use crate::api::input::{self, Fields};
use crate::api::problem::{self, Invalid, Problem};
use crate::domain::Timestamp;
use crate::domain::policy::{Mode, Policy, Source};
use crate::pipeline::backtest::{self, Wanted};
use crate::pipeline::rehearsal::{Assumed, Error, Stage};

/// Back-tests at once on one server, and how long one may take.
const AT_ONCE: usize = 1;
const PATIENCE: Duration = Duration::from_mins(10);
/// How far a back-test steps back.
const NICE: i32 = 10;
/// Policies of one back-test, decisions and incidents of one answer, the longest stretch of history.
const POLICIES: usize = 1_000;
const LISTED: i64 = 10_000;
const LONGEST: Duration = Duration::from_hours(24 * 366);
/// The longest that an action may be assumed to take.
const TAKES: Duration = Duration::from_hours(1);

/// Room for back-tests on this server.
#[must_use]
pub fn room() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(AT_ONCE))
}

/// Tells what policies would have decided.
///
/// The stored samples go through the same engine and the same decisions as live ones, in virtual time, in a database of their
/// own: nothing outside is touched. It predicts decisions, not the world's answer: samples stay as they were, whatever an
/// action would have changed. One back-test at a time; ending the request ends it.
#[utoipa::path(post, path = "/api/v1/policies/backtest", tag = "policies", security(("token" = ["author"])),
    request_body(content = Option<Asked>, description = "May be absent: the last day, with the policies in force"),
    responses((status = 200, description = "What would have been decided", body = Backtest),
        (status = 400, description = "A policy's typed condition can't be used", body = problem::Body),
        (status = 404, description = "There is no such policy", body = problem::Body),
        (status = 408, description = "The body did not arrive in time, or the back-test takes too long", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body),
        (status = 429, description = "Another back-test is running", body = problem::Body)))]
pub(super) async fn run(
    State(api): State<Api>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Json<Backtest>, Problem> {
    let value = input::optional(&api, &headers, sent).await?.filter(|value| !value.is_null());
    let value = value.unwrap_or_else(|| json!({}));
    let (wanted, notes) = read(&api, &value).await?;
    let Ok(room) = Arc::clone(&api.backtests).try_acquire_owned() else {
        let busy = "Another back-test is running on this server; ask again when it is done";
        return Err(Problem::limited(StatusCode::TOO_MANY_REQUESTS, busy, 10));
    };
    // A client that goes away, an end in the middle of things, and the server's own stop it.
    let stop = api.ending.child_token();
    let ended = stop.clone().drop_guard();
    let begun = std::time::Instant::now();
    let (source, asked, heard) = (api.store.apart(), wanted.clone(), stop.clone());
    let stage = Stage {
        lookback: api.lookback,
        settings: api.settings.clone(),
        everywhere: api.store.everywhere().clone(),
    };
    let (done, answer) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own, which steps back behind those that answer requests.
    let work = move || {
        let _ = rustix::process::setpriority_process(None, NICE);
        // By the server's own runtime: a connection that is opened meanwhile outlives the back-test in the pool.
        let came = runtime.block_on(backtest::run(&source, &stage, &asked, &heard));
        // Whoever hears of the end may ask for the next one at once.
        drop(room);
        // Nobody listens any more if the client has gone.
        let _ = done.send(came);
    };
    let thread = std::thread::Builder::new().name("backtest".to_owned()).spawn(work);
    thread.map_err(|wrong| failed(&wrong.to_string()))?;
    let Ok(done) = tokio::time::timeout(PATIENCE, answer).await else {
        return Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "The back-test was stopped after ten minutes; ask for a shorter time or fewer policies",
        ));
    };
    drop(ended);
    match done {
        Ok(Ok(outcome)) => Ok(Json(Backtest::new(&wanted, outcome, notes, begun.elapsed()))),
        Ok(Err(Error::Policy { name, fault })) => Err(Problem::bad(format!("policy {name}: {fault}"))),
        Ok(Err(Error::Store(wrong))) => Err(wrong.into()),
        Ok(Err(wrong @ (Error::Scratch(_) | Error::Metrics(_) | Error::Stopped))) => {
            Err(failed(&wrong.to_string()))
        }
        Err(wrong) => Err(failed(&wrong.to_string())),
    }
}

fn failed(why: &str) -> Problem {
    tracing::error!(error = why, "a back-test did not come to its end");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the back-test did not come to its end; the log says why")
}

/// What is asked, and what its author should know.
async fn read(api: &Api, value: &Value) -> Result<(Wanted, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|wrong| Problem::invalid(vec![wrong]))?;
    let now = api.clock.now();
    let to = time(&mut fields, "to").unwrap_or(now).min(now);
    let from = time(&mut fields, "from").unwrap_or_else(|| to.before(Duration::from_hours(24)));
    if from >= to {
        fields.fault("value_error", "from", "Value error, `from` must be before `to`, and not in the future");
    } else if to.since(from) > LONGEST {
        fields.fault("value_error", "from", "Value error, at most 366 days can be back-tested");
    }
    let takes = span(&mut fields).unwrap_or(Assumed::default().takes);
    let limit = fields.int("limit", 1..=LISTED).unwrap_or(1_000);
    let compare = fields.flag("compare").unwrap_or(false);
    let as_auto = fields.flag("as_auto").unwrap_or(!compare);
    if compare && as_auto {
        let why = "Value error, what was decided live can only be compared with policies in their own mode";
        fields.fault("value_error", "as_auto", why);
    }
    for stranger in fields.strangers(&MEMBERS) {
        fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    let names = names(&mut fields);
    let drafts = drafts(&mut fields);
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    let drafts = drafts?;
    let mut notes: Vec<String> = drafts.iter().flat_map(|draft| draft.warnings.clone()).collect();
    let mut policies = chosen(api, names, drafts).await?;
    if as_auto {
        for policy in policies.iter_mut().filter(|policy| policy.spec.mode != Mode::Auto) {
            notes.push(format!("policy `{}` is back-tested as if its mode were `auto`", policy.name));
            policy.spec.mode = Mode::Auto;
        }
    }
    let assumed = Assumed { takes, ..Assumed::default() };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok((Wanted { policies, from, to, assumed, as_it_was: compare, limit }, notes))
}

fn time(fields: &mut Fields<'_>, member: &str) -> Option<Timestamp> {
    let value = fields.get(member)?;
    let read = input::time(value);
    if read.is_none() {
        fields.fault("datetime_type", member, "Input should be a valid datetime");
    }
    read
}

fn span(fields: &mut Fields<'_>) -> Option<Duration> {
    let read = duration(fields.get("action_takes")?).filter(|takes| *takes <= TAKES);
    if read.is_none() {
        fields.fault(
            "value_error",
            "action_takes",
            "Value error, give a duration such as \"10s\", at most an hour",
        );
    }
    read
}

fn names(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let value = fields.get("names")?;
    let names: Option<Vec<String>> =
        value.as_array().map(|all| all.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect());
    let whole = value.as_array().map_or(0, Vec::len);
    match names {
        Some(names) if names.len() == whole && (1..=POLICIES).contains(&whole) => Some(names),
        Some(_) | None => {
            fields.fault(
                "list_type",
                "names",
                format!("Input should be a list of 1 to {POLICIES} names of policies"),
            );
            None
        }
    }
}

/// The policies that are sent along; their faults name their place.
fn drafts(fields: &mut Fields<'_>) -> Result<Vec<Draft>, Problem> {
    let Some(value) = fields.get("policies") else { return Ok(Vec::new()) };
    let Some(list) = value.as_array().filter(|list| (1..=POLICIES).contains(&list.len())) else {
        fields.fault("list_type", "policies", format!("Input should be a list of 1 to {POLICIES} policies"));
        return Ok(Vec::new());
    };
    let mut seen = HashSet::new();
    let mut drafts = Vec::new();
    for (at, item) in list.iter().enumerate() {
        let draft = draft(item).map_err(|problem| problem.of_item_in("policies", at))?;
        if !seen.insert(draft.spec.name.clone()) {
            let loc = vec![json!("body"), json!("policies"), json!(at), json!("name")];
            let twice = "Value error, another policy of this list has that name";
            return Err(Problem::invalid(vec![Invalid::new(
                "value_error",
                loc,
                twice,
                json!(draft.spec.name),
            )]));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

/// The policies that are meant: those sent along, each in the place of the stored one of its name, and those named; or,
/// without either, all that are in force.
async fn chosen(api: &Api, names: Option<Vec<String>>, drafts: Vec<Draft>) -> Result<Vec<Policy>, Problem> {
    let (stored, _) = api.store.policies().await?;
    let by_name = |name: &str| stored.iter().find(|policy| policy.name == name).cloned();
    let mut chosen = Vec::new();
    if names.is_none() && drafts.is_empty() {
        return Ok(stored.into_iter().filter(|policy| policy.enabled).collect());
    }
    let mut next = stored.iter().map(|policy| policy.id).max().unwrap_or(0);
    for draft in drafts {
        next += 1;
        let known = by_name(&draft.spec.name);
        let at = api.clock.now();
        chosen.push(Policy {
            id: known.as_ref().map_or(next, |known| known.id),
            version: known.as_ref().map_or(1, |known| known.version + 1),
            enabled: true,
            declared: None,
            filed: None,
            source: Source::Api,
            created_at: at,
            updated_at: at,
            spec: draft.spec,
        });
    }
    for name in names.into_iter().flatten() {
        if chosen.iter().any(|policy: &Policy| policy.name == name) {
            continue;
        }
        let missing = || Problem::missing(format!("Policy '{name}' not found"));
        chosen.push(Policy { enabled: true, ..by_name(&name).ok_or_else(missing)? });
    }
    Ok(chosen)
}
