//! The description of the API that machines read: OpenAPI 3.1 from the routes themselves, the page that shows
//! it, and the table of who may call what, which the door obeys.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, License, OpenApi, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::problem;

/// Name of the security scheme whose scopes are the permissions.
const SCHEME: &str = "token";

/// What a request may do. Each route names one; each role has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Nothing secret, nothing changed: anybody may.
    Public,
    /// Send events.
    Ingest,
    /// Take tasks as a remediator and report on them.
    Pull,
    /// See everything but secrets.
    Read,
    /// Make, queue, cancel and resolve actions; pause; approve.
    Operate,
    /// Change policies.
    Author,
    /// Change settings, plugins and tokens.
    Admin,
}

impl Permission {
    /// Every permission that a token can give.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Pull, Self::Read, Self::Operate, Self::Author, Self::Admin];

    /// The word that stands in the description.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Ingest => "ingest",
            Self::Pull => "pull",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.word() == word)
    }
}

/// Which permission each route asks for: taken from the description, so that there is one place to say it. A
/// route that is not here is refused to everybody.
#[derive(Clone, Debug, Default)]
pub struct Permissions(HashMap<(Method, String), Permission>);

impl Permissions {
    /// Reads the table out of a description.
    #[must_use]
    pub fn of(document: &OpenApi) -> Self {
        let mut table = HashMap::new();
        for (template, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if let Some(permission) = declared(operation) {
                    table.insert((method, template.clone()), permission);
                }
            }
        }
        Self(table)
    }

    /// What a request to a route needs. HEAD is GET without a body. None: nobody said, so nobody may.
    #[must_use]
    pub fn needed(&self, method: &Method, template: &str) -> Option<Permission> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, template.to_owned())).copied()
    }

    /// Each route with its permission.
    pub fn iter(&self) -> impl Iterator<Item = (&Method, &str, Permission)> {
        self.0.iter().map(|((method, template), permission)| (method, template.as_str(), *permission))
    }
}

fn operations(item: &PathItem) -> Vec<(Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))).collect()
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// The one permission of an operation: `security(())` is public, a scope of the token scheme names another.
fn declared(operation: &Operation) -> Option<Permission> {
    let requirements = serde_json::to_value(operation.security.as_ref()?).ok()?;
    let [Value::Object(one)] = requirements.as_array()?.as_slice() else { return None };
    if one.is_empty() {
        return Some(Permission::Public);
    }
    let [Value::String(word)] = one.get(SCHEME)?.as_array()?.as_slice() else { return None };
    Permission::from_word(word)
}

/// The same handlers under further paths, each described under its own.
pub(super) fn aliased<S>(
    (schemas, paths, router): UtoipaMethodRouter<S>,
    others: &[&str],
) -> UtoipaMethodRouter<S> {
    let mut all = Paths::new();
    for (template, item) in paths.paths {
        for other in others {
            let mut copy = item.clone();
            for operation in operations_mut(&mut copy) {
                let suffix = other.trim_matches('/').replace(['/', '-', '{', '}'], "_");
                operation.operation_id = operation.operation_id.take().map(|id| format!("{id}__{suffix}"));
                operation.summary = Some(format!("The same as {template}."));
                operation.description = None;
            }
            all.paths.insert((*other).to_owned(), copy);
        }
        all.paths.insert(template, item);
    }
    (schemas, all, router)
}

/// Completes what the routes say: what the API is, how to authenticate, and the answers that the door gives on
/// every route.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Vigil")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Metrics come in, policies decide, sandboxed plugins act. Errors have one shape: `detail` in words \
             (or, for 422, a list of faults), with the members of RFC 9457 beside it.",
        ))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("vgl_…")
        .description(Some("An API token. A scope is the permission that the token's role must have."))
        .build();
    let components = document.components.take().unwrap_or_default();
    let mut components: ComponentsBuilder = components.into();
    components = components
        .security_scheme(SCHEME, SecurityScheme::Http(scheme))
        .schema("Problem", problem::Body::schema())
        .schema("Fault", problem::Fault::schema());
    let mut more = Vec::new();
    problem::Body::schemas(&mut more);
    document.components = Some(components.schemas_from_iter(more).build());
    for item in document.paths.paths.values_mut() {
        for operation in operations_mut(item) {
            let public = declared(operation) == Some(Permission::Public);
            for (status, words, guarded) in DOOR {
                if !(guarded && public) {
                    let entry = operation.responses.responses.entry(status.to_owned());
                    entry.or_insert_with(|| refusal(words));
                }
            }
        }
    }
    document
}

/// What the door may answer on any route; the third member: only where a token can be asked for.
const DOOR: [(&str, &str, bool); 9] = [
    ("400", "The request can't be read", false),
    ("401", "No token, or one that is not valid", true),
    ("403", "The role is too low, or the request comes from another site's page", false),
    ("413", "The body is too large", false),
    ("421", "This server does not answer for that Host", false),
    ("429", "Too many requests; Retry-After says when to come back", false),
    ("500", "A fault of Vigil's own; the request id finds it in the log", false),
    ("503", "Vigil can't answer now; Retry-After says when to come back", false),
    ("507", "There is no room left to store anything", false),
];

fn refusal(words: &str) -> RefOr<utoipa::openapi::Response> {
    let content = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    RefOr::T(
        ResponseBuilder::new()
            .description(words)
            .content("application/json", content())
            .content("application/problem+json", content())
            .build(),
    )
}
