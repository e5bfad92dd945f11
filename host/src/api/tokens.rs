//! Tokens over HTTP: made, listed, revoked. The text of one is in the answer that makes it and nowhere else.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::door::Principal;
use super::input::{self, Fields};
use super::problem::{self, Invalid, Problem};
use super::{Api, actions};
use crate::clock::random_letters;
use crate::domain::Timestamp;
use crate::domain::access::{Role, Scope};
use crate::domain::token::{self, Token};
use crate::store::{self, NewToken, Revoked};

/// Longest name of a token.
const NAME: usize = 64;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// A token to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is read by hand")]
struct TokenDraft {
    /// What to call it: 1 to 64 characters, and no other valid token has it.
    name: String,
    /// What it may do.
    role: Role,
    /// Patterns of the targets it may touch, in which `*` stands for anything. None at all: every target.
    targets: Option<Vec<String>>,
    /// From when on it is refused. Absent: when it is revoked.
    expires_at: Option<Timestamp>,
}

/// Whether a token is taken.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// It is.
    Valid,
    /// Not since somebody revoked it.
    Revoked,
    /// Not since its time ended.
    Expired,
}

/// A token without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct TokenInfo {
    /// Its number.
    id: i64,
    /// What people call it.
    name: String,
    /// What it may do.
    role: Role,
    /// How it begins.
    prefix: String,
    /// Patterns of the targets it may touch; none at all means every target.
    targets: Vec<String>,
    /// Whether it is taken.
    state: Standing,
    /// When it was made.
    created_at: Timestamp,
    /// By whom.
    created_by: String,
    /// From when on it is refused; null means never.
    expires_at: Option<Timestamp>,
    /// Since when it is revoked.
    revoked_at: Option<Timestamp>,
    /// When it was used last, to about ten seconds.
    last_used_at: Option<Timestamp>,
}

/// All tokens.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    /// How many.
    total: usize,
    /// In the order in which they were made, revoked and expired ones too.
    tokens: Vec<TokenInfo>,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
struct TokenMade {
    /// Its text. It is not kept and can't be shown again.
    token: String,
    /// What is kept.
    #[serde(flatten)]
    info: TokenInfo,
}

/// What became of a revocation.
#[derive(Debug, Serialize, ToSchema)]
struct TokenRevoked {
    /// True.
    ok: bool,
    /// In words.
    message: String,
}

fn info(token: Token, now: Timestamp) -> TokenInfo {
    let state = match (token.revoked_at.is_some(), token.holds(now)) {
        (true, _) => Standing::Revoked,
        (false, true) => Standing::Valid,
        (false, false) => Standing::Expired,
    };
    TokenInfo {
        id: token.id,
        name: token.name,
        role: token.role,
        prefix: token.prefix,
        targets: token.scope.texts().to_vec(),
        state,
        created_at: token.created_at,
        created_by: token.created_by,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
        last_used_at: token.last_used_at,
    }
}

/// All tokens, without their texts.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["admin"])),
    responses((status = 200, description = "In the order in which they were made", body = TokenList)))]
async fn list(State(api): State<Api>) -> Result<Json<TokenList>, Problem> {
    let (tokens, _) = api.store.tokens().await?;
    let now = api.clock.now();
    let tokens: Vec<TokenInfo> = tokens.into_iter().map(|token| info(token, now)).collect();
    Ok(Json(TokenList { total: tokens.len(), tokens }))
}

/// Makes a token. Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["admin"])), request_body = TokenDraft,
    responses((status = 201, description = "Made", body = TokenMade),
        (status = 409, description = "The name is taken, or authentication is off", body = problem::Body),
        (status = 422, description = "What is wrong with it", body = problem::Body)))]
async fn create(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    let body = input::json(&api, &headers, sent).await?;
    let now = api.clock.now();
    let draft = draft(&body, now)?;
    // Where nobody has to say who they are, anybody could make a token that outlives that.
    if !api.door.asks_for_tokens() {
        let text = "authentication is off, so a token would guard nothing: set auth.mode = \"token\" first; \
                    an administrator's token is then in `bootstrap-token` in the data directory";
        return Err(Problem::conflict(text));
    }
    let text = token::text(draft.role, &random_letters(token::RANDOM));
    let new = NewToken { prefix: token::prefix(&text), hash: token::hash(&text), ..draft };
    let id = match api.store.add_token(&new, &principal.actor(), now).await {
        Ok(id) => id,
        Err(store::Error::Conflict) => {
            return Err(Problem::conflict(format!("a token named `{}` exists already", new.name)));
        }
        Err(other) => return Err(other.into()),
    };
    // It is good at once here, within a second elsewhere.
    let _ = api.door.tokens.look().await;
    let info = TokenInfo {
        id,
        name: new.name,
        role: new.role,
        prefix: new.prefix,
        targets: new.scope.texts().to_vec(),
        state: Standing::Valid,
        created_at: now,
        created_by: principal.actor(),
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    Ok((StatusCode::CREATED, Json(TokenMade { token: text, info })).into_response())
}

/// What a new token is to be, or every fault of the body.
fn draft(body: &Value, now: Timestamp) -> Result<NewToken, Problem> {
    let mut fields = Fields::new(body, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let name = fields.text("name", 1..=NAME, true);
    if name.as_deref().is_some_and(|name| name.chars().any(char::is_control)) {
        fields.fault("value_error", "name", "Value error, name must not hold control characters");
    }
    let role = fields.text("role", 0..=NAME, true).and_then(|word| {
        let role = Role::from_word(&word);
        if role.is_none() {
            let words = Role::ALL.map(Role::word).join(", ");
            fields.fault("enum", "role", format!("Input should be one of: {words}"));
            fields.last_ctx(json!({"expected": words}));
        }
        role
    });
    let scope = scope(&mut fields);
    let expires_at = expiry(&mut fields, now);
    for stranger in fields.strangers(&["name", "role", "targets", "expires_at"]) {
        fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    match (name, role) {
        (Some(name), Some(role)) if fields.faults.is_empty() => {
            Ok(NewToken { name, role, prefix: String::new(), hash: [0; 32], scope, expires_at })
        }
        _ => Err(Problem::invalid(fields.faults)),
    }
}

fn scope(fields: &mut Fields<'_>) -> Scope {
    let Some(value) = fields.get("targets") else { return Scope::default() };
    let Value::Array(items) = value else {
        fields.fault("list_type", "targets", "Input should be a valid list");
        return Scope::default();
    };
    if items.len() > Scope::MOST {
        let msg = format!("List should have at most {} items, not {}", Scope::MOST, items.len());
        fields.fault("too_long", "targets", msg);
        return Scope::default();
    }
    let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    let Some(texts) = texts else {
        fields.fault("string_type", "targets", "Input should be a list of strings");
        return Scope::default();
    };
    Scope::new(texts).unwrap_or_else(|(at, why)| {
        let mut loc = fields.at("targets");
        loc.push(json!(at));
        let msg = format!("Value error, {why}");
        fields.faults.push(Invalid::new("value_error", loc, msg, items[at].clone()));
        Scope::default()
    })
}

fn expiry(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let value = fields.get("expires_at")?;
    let at = input::time(value);
    match at {
        None => fields.fault("datetime_from_date_parsing", "expires_at", "Input should be a valid datetime"),
        Some(at) if at <= now => {
            fields.fault("value_error", "expires_at", "Value error, this time has passed");
        }
        Some(_) => {}
    }
    at
}

/// Refuses a token from now on, on every server within a second.
#[utoipa::path(delete, path = "/api/v1/tokens/{token_id}", tag = "tokens", security(("token" = ["admin"])),
    params(("token_id" = i64, Path)),
    responses((status = 200, description = "Revoked, now or before", body = TokenRevoked),
        (status = 404, description = "No such token", body = problem::Body),
        (status = 422, description = "No number", body = problem::Body)))]
async fn revoke(
    State(api): State<Api>,
    principal: Principal,
    Path(text): Path<String>,
) -> Result<Json<TokenRevoked>, Problem> {
    let id = actions::id(&text, "token")?;
    let done = api.store.revoke_token(id, &principal.actor(), api.clock.now()).await?;
    let message = match done {
        Revoked::Absent => return Err(Problem::missing(format!("Token with id {text} not found"))),
        Revoked::Now => format!("Token {id} revoked"),
        Revoked::Before => format!("Token {id} was revoked before"),
    };
    let _ = api.door.tokens.look().await;
    Ok(Json(TokenRevoked { ok: true, message }))
}
