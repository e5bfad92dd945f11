//! Which permission a route asks for, as its description says. What no description names is closed to everybody.

use axum::http::{HeaderValue, Method, StatusCode, header};

use super::super::Problem;
use super::super::describe::Permissions;
use super::identity::Principal;
use crate::domain::access::Permission;

/// What a route asks of its caller. A method that the description does not have is refused here, whatever the router
/// would do with it.
pub(super) fn needed(
    permissions: &Permissions,
    method: &Method,
    template: &str,
) -> Result<Permission, Problem> {
    if let Some(permission) = permissions.needed(method, template) {
        return Ok(permission);
    }
    let Some(methods) = permissions.methods(template) else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "nobody may use this route"));
    };
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    Err(match HeaderValue::from_str(&methods) {
        Ok(allow) => problem.header(header::ALLOW, allow),
        Err(_) => problem,
    })
}

/// Whether this caller may use a route.
pub(super) fn check(permission: Permission, principal: &Principal) -> Result<(), Problem> {
    if principal.may(permission) {
        return Ok(());
    }
    let word = permission.word();
    let text = format!("this takes the permission `{word}`, which this token's role does not have");
    Err(Problem::new(StatusCode::FORBIDDEN, text))
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::OpenApi;

    use super::*;

    #[test]
    fn what_is_not_declared_is_closed() {
        let operation = |security: &str| format!("{{\"responses\": {{}}{security}}}");
        let text = format!(
            "{{\"openapi\": \"3.1.0\", \"info\": {{\"title\": \"t\", \"version\": \"1\"}}, \"paths\": {{
                \"/open\": {{\"get\": {}}},
                \"/x/{{id}}\": {{\"get\": {}, \"put\": {}, \"post\": {}, \"patch\": {}, \"delete\": {}}},
                \"/none\": {{\"get\": {}}}
            }}}}",
            operation(", \"security\": [{}]"),
            operation(", \"security\": [{\"token\": [\"read\"]}]"),
            operation(""),
            operation(", \"security\": [{\"token\": [\"king\"]}]"),
            operation(", \"security\": [{\"token\": []}]"),
            operation(", \"security\": [{\"token\": [\"read\"]}, {\"token\": [\"admin\"]}]"),
            operation(""),
        );
        let document: OpenApi = serde_json::from_str(&text).unwrap();
        let table = Permissions::of(&document);
        let status = |method: Method, path: &str| {
            needed(&table, &method, path).map_err(|problem| problem.status().as_u16())
        };
        assert_eq!(status(Method::GET, "/open"), Ok(Permission::Public));
        assert_eq!(status(Method::GET, "/x/{id}"), Ok(Permission::Read));
        assert_eq!(status(Method::HEAD, "/x/{id}"), Ok(Permission::Read));
        for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            assert_eq!(status(method.clone(), "/x/{id}"), Err(405), "{method}");
        }
        assert_eq!(status(Method::GET, "/none"), Err(403));
        assert_eq!(status(Method::GET, "/undescribed"), Err(403));
        assert_eq!(status(Method::POST, "/open"), Err(405));
    }

    #[test]
    fn every_route_says_who_may() {
        let document = super::super::super::document();
        let table = Permissions::of(&document);
        let described: usize = document
            .paths
            .paths
            .values()
            .map(|item| {
                [
                    &item.get,
                    &item.put,
                    &item.post,
                    &item.delete,
                    &item.patch,
                    &item.head,
                    &item.options,
                    &item.trace,
                ]
            })
            .map(|all| all.into_iter().flatten().count())
            .sum();
        assert!(described > 25);
        assert_eq!(table.iter().count(), described, "an operation without `security`, or with a wrong one");
    }
}
