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
use crate::domain::access::Permission;

/// Name of the security scheme whose scopes are the permissions.
const SCHEME: &str = "token";

/// Which permission each route asks for: taken from the description, so that there is one place to say it. A
/// route that is not here is refused to everybody.
#[derive(Clone, Debug, Default)]
pub struct Permissions(HashMap<String, Vec<(Method, Permission)>>);

impl Permissions {
    /// Reads the table out of a description.
    #[must_use]
    pub fn of(document: &OpenApi) -> Self {
        let mut table: HashMap<String, Vec<_>> = HashMap::new();
        for (template, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if let Some(permission) = declared(operation) {
                    table.entry(template.clone()).or_default().push((method, permission));
                }
            }
        }
        Self(table)
    }

    /// What a request to a route needs. HEAD is GET without a body. None: nobody said, so nobody may.
    #[must_use]
    pub fn needed(&self, method: &Method, template: &str) -> Option<Permission> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.get(template)?.iter().find(|(known, _)| known == method).map(|(_, permission)| *permission)
    }

    /// The methods of a path, as `Allow` lists them; none where nobody may use any.
    #[must_use]
    pub fn methods(&self, template: &str) -> Option<String> {
        let declared = self.0.get(template)?.iter().map(|(method, _)| method.as_str());
        let words = declared.flat_map(|word| if word == "GET" { vec![word, "HEAD"] } else { vec![word] });
        Some(words.collect::<Vec<_>>().join(","))
    }

    /// Each route with its permission.
    pub fn iter(&self) -> impl Iterator<Item = (&Method, &str, Permission)> {
        let routes = self.0.iter();
        routes
            .flat_map(|(path, all)| all.iter().map(move |(method, needed)| (method, path.as_str(), *needed)))
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
    for (template, item) in &mut document.paths.paths {
        name_operations(template, item);
        for operation in operations_mut(item) {
            let public = declared(operation) == Some(Permission::Public);
            let body = operation.request_body.is_some();
            let door = DOOR.into_iter().filter(|(_, _, guarded)| !(*guarded && public));
            let of_body = BODY.into_iter().filter(|_| body);
            for (status, words) in door.map(|(status, words, _)| (status, words)).chain(of_body) {
                let entry = operation.responses.responses.entry(status.to_owned());
                entry.or_insert_with(|| refusal(words));
            }
        }
    }
    document
}

/// Names each operation by its method and path: handlers of several resources have the same name.
fn name_operations(template: &str, item: &mut PathItem) {
    let path = template.replace(['{', '}'], "");
    let path = path.trim_matches('/').replace(['/', '-', '.'], "_");
    let all = [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ];
    for (method, operation) in all {
        if let Some(operation) = operation {
            operation.operation_id = Some(format!("{method}_{path}"));
        }
    }
}

/// What the door may answer on any route; the third member: only where a token can be asked for.
const DOOR: [(&str, &str, bool); 13] = [
    ("400", "The request can't be read", false),
    ("401", "No token, or one that is not valid", true),
    ("403", "The role is too low, or the request comes from another site's page", false),
    ("408", "The body did not arrive in time", false),
    ("413", "The body is too large", false),
    ("414", "The path and query are too long", false),
    ("415", "The body is compressed in a way that is not taken", false),
    ("421", "This server does not answer for that Host", false),
    ("431", "The headers are too large", false),
    ("429", "Too many requests; Retry-After says when to come back", false),
    ("500", "A fault of Vigil's own; the request id finds it in the log", false),
    ("503", "Vigil can't answer now; Retry-After says when to come back", false),
    ("507", "There is no room left to store anything", false),
];

/// What every route that takes a body may answer.
const BODY: [(&str, &str); 2] = [
    ("408", "The body did not arrive in time"),
    ("415", "The body is compressed in a way, or of a kind, that this route does not take"),
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
