//! Silences: people say what is to be left alone, from when until when, or on which days and hours, and why. What matches
//! one still opens incidents and is still decided about; it starts nothing.

mod preview;
mod shape;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::shape::{Ended, Listed, SilenceBody, SilenceInfo};
use super::Api;
use super::door::Principal;
use super::etag::{self, Seen};
use super::input;
use super::params::{Params, absent, id};
use super::problem::{self, Problem};
use crate::domain::Timestamp;
use crate::domain::event::Tags;
use crate::domain::silence::{
    Field, Held, MOST, Operator, Silence, State as Standing, Subject, Wish, matchers,
};
use crate::store::{Edition, Place, Silenced};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(preview::preview))
        .routes(routes!(show, replace, expire))
}

/// Lists silences, newest first.
#[utoipa::path(get, path = "/api/v1/silences", tag = "silences", security(("token" = ["read"])),
    params(("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "Silences of a page; 50"),
        ("page" = Option<i64>, Query, minimum = 1, description = "Which page; 1"),
        ("cursor" = Option<String>, Query, description = "Instead of a page: `next_cursor` of the answer before, with the same filters"),
        ("state" = Option<String>, Query, description = "pending, active or expired")),
    responses((status = 200, description = "The page", body = Listed),
        (status = 422, description = "A parameter can't be used", body = problem::Body)))]
async fn list(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Listed>, Problem> {
    let mut params = Params::new(query);
    let paging = params.paging("silences");
    let word = params.word("state");
    let state = Standing::from_word(&word);
    if state.is_none() && !word.is_empty() {
        params.fault("value_error", "state", "Value error, state is one of pending, active, expired");
    }
    params.done()?;
    let now = api.clock.now();
    let (mut silences, total) = match state {
        None | Some(Standing::Expired) => {
            let (found, total) = api.store.silences(state.is_some(), paging.part(), now).await?;
            (found.into_iter().map(|silence| SilenceInfo::of(silence, now)).collect(), total)
        }
        // Which of those that are not over hold is a matter of their calendars, and there are not many.
        Some(state @ (Standing::Pending | Standing::Active)) => {
            let live = api.store.live_silences(now).await?.into_iter();
            let mut all: Vec<SilenceInfo> = live.map(|silence| SilenceInfo::of(silence, now)).collect();
            all.retain(|info| info.state == state);
            let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
            (paging.part().of(all, place), total)
        }
    };
    let next_cursor = paging.cut(&mut silences, place);
    Ok(Json(Listed {
        ok: true,
        count: silences.len(),
        total,
        page: paging.page,
        page_size: paging.limit,
        next_cursor,
        silences,
    }))
}

fn place(info: &SilenceInfo) -> Place {
    Place { at: info.created_at.micros(), id: info.id }
}

/// Makes a silence. It holds on every server at once, over restarts and syncs of policies.
#[utoipa::path(post, path = "/api/v1/silences", tag = "silences", security(("token" = ["operate"])),
    request_body = SilenceBody,
    responses((status = 201, description = "Made", body = SilenceInfo),
        (status = 403, description = "It is about more than the token may touch", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "There are as many as may be", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let now = api.clock.now();
    let wish = shape::read(&input::json(&api, &headers, sent).await?, (None, true), now)?;
    touch(&principal, &wish)?;
    let done = api.store.add_silence(wish, &principal.actor(), now).await?;
    answer(&api, done, StatusCode::CREATED)
}

/// One silence, whether it is over or not.
#[utoipa::path(get, path = "/api/v1/silences/{silence_id}", tag = "silences", security(("token" = ["read"])),
    params(("silence_id" = i64, Path)),
    responses((status = 200, description = "It", body = SilenceInfo),
        (status = 404, description = "No such silence", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn show(State(api): State<Api>, Path(text): Path<String>) -> Result<Response, Problem> {
    let silence = find(&api, &text).await?;
    answer(&api, Silenced::Done(silence), StatusCode::OK)
}

/// Says anew what a silence is about, when and why. Without `starts_at` it begins when it did.
#[utoipa::path(put, path = "/api/v1/silences/{silence_id}", tag = "silences", security(("token" = ["operate"])),
    params(("silence_id" = i64, Path),
        ("If-Match" = Option<String>, Header, description = "Only if it is still that edition, an ETag of it")),
    request_body = SilenceBody,
    responses((status = 200, description = "Changed", body = SilenceInfo),
        (status = 403, description = "It is about more than the token may touch", body = problem::Body),
        (status = 404, description = "No such silence", body = problem::Body),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 409, description = "It is over", body = problem::Body),
        (status = 412, description = "It was changed meanwhile", body = problem::Body),
        (status = 422, description = "A member can't be used", body = problem::Body)))]
async fn replace(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let before = find(&api, &text).await?;
    touch(&principal, &before.wish)?;
    let now = api.clock.now();
    let body = input::json(&api, &headers, sent).await?;
    let wish = shape::read(&body, (Some(before.wish.starts_at), true), now)?;
    touch(&principal, &wish)?;
    let seen = Seen::of(&headers);
    // What was asked about above is what is replaced, and nothing that somebody put there meanwhile.
    let same = |edition: Edition| seen.check(edition).is_ok() && edition.version == before.version;
    let done = api.store.replace_silence(before.id, wish, (&principal.actor(), same), now).await?;
    answer(&api, done, StatusCode::OK)
}

/// Ends a silence now. It stays readable.
#[utoipa::path(delete, path = "/api/v1/silences/{silence_id}", tag = "silences", security(("token" = ["operate"])),
    params(("silence_id" = i64, Path),
        ("If-Match" = Option<String>, Header, description = "Only if it is still that edition, an ETag of it")),
    responses((status = 200, description = "It is over, now or before", body = Ended),
        (status = 403, description = "It is about more than the token may touch", body = problem::Body),
        (status = 404, description = "No such silence", body = problem::Body),
        (status = 412, description = "It was changed meanwhile", body = problem::Body),
        (status = 422, description = "The id is no integer", body = problem::Body)))]
async fn expire(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Ended>, Problem> {
    let before = find(&api, &text).await?;
    touch(&principal, &before.wish)?;
    let now = api.clock.now();
    let seen = Seen::of(&headers);
    let same = |edition: Edition| seen.check(edition).is_ok();
    let done = api.store.expire_silence(before.id, (&principal.actor(), same), now).await?;
    let (message, silence) = match done {
        Silenced::Done(silence) => (format!("Silence {text} is over"), silence),
        Silenced::Over(silence) => (format!("Silence {text} was over before"), silence),
        Silenced::Missing => return Err(absent("silence", &text)),
        Silenced::Stale => return Err(etag::stale()),
        Silenced::TooMany => return Err(too_many()),
    };
    Ok(Json(Ended { ok: true, message, silence: SilenceInfo::of(silence, now) }))
}

async fn find(api: &Api, text: &str) -> Result<Silence, Problem> {
    api.store.silence(id(text, "silence")?).await?.ok_or_else(|| absent("silence", text))
}

/// A token for some targets only makes silences about one of them: of an expression nobody can say what it will match.
fn touch(principal: &Principal, wish: &Wish) -> Result<(), Problem> {
    let read = matchers(&wish.matchers).unwrap_or_default();
    let named = read.iter().find(|one| one.field == Field::Target && one.operator == Operator::Is);
    match named {
        Some(one) => principal.touch(&one.value),
        None => principal.touch_pattern("*"),
    }
}

fn too_many() -> Problem {
    Problem::conflict(format!("there are {MOST} silences that are not over: end some of them first"))
}

fn answer(api: &Api, done: Silenced, status: StatusCode) -> Result<Response, Problem> {
    match done {
        Silenced::Done(silence) => {
            let tag = etag::tag(Edition { id: silence.id, version: silence.version });
            let info = SilenceInfo::of(silence, api.clock.now());
            Ok((status, [(header::ETAG, tag)], Json(info)).into_response())
        }
        Silenced::Over(silence) => {
            let text = format!("silence {} is over, and stays as it was: make a new one", silence.id);
            Err(Problem::conflict(text))
        }
        Silenced::Missing => Err(Problem::missing("the silence was not found")),
        Silenced::Stale => Err(etag::stale()),
        Silenced::TooMany => Err(too_many()),
    }
}

/// What a silence that holds back what people do by hand tells them: nothing is held back.
pub(super) async fn warning(
    api: &Api,
    target: &str,
    kind: &str,
    now: Timestamp,
) -> Result<Option<String>, Problem> {
    let tags = Tags::new();
    let subject = Subject { policy: "", target, severity: "", action: kind, tags: &tags };
    let held = api.store.silenced(now).await?.holding(&subject);
    Ok(held.map(|held| {
        let Held { id, author, comment, until } = held;
        format!(
            "silence {id} of {author} is about this until {until}: {comment}; what people do by hand goes on"
        )
    }))
}
