//! Which permission each route asks for, as its description says. What no description names is closed to everybody.

use std::collections::HashMap;

use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::super::Problem;
use super::identity::Principal;
use crate::domain::access::Permission;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: signs of life.
    Public,
    /// A permission.
    Needs(Permission),
    /// Nobody may: its description does not say who.
    Closed,
}

/// Every route of the description with its rule.
#[derive(Debug, Default)]
pub struct Table(HashMap<String, Vec<(Method, Rule)>>);

impl Table {
    /// Reads the rules out of an `OpenAPI` document: `security: [{"token": ["PERMISSION"]}]`, or `[]` for none.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        Self(
            paths
                .map(|(template, item)| {
                    let methods = item.as_object().into_iter().flatten();
                    let rules = methods.filter_map(|(method, operation)| {
                        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
                        operation.is_object().then(|| (method, rule(operation)))
                    });
                    (template.clone(), rules.collect())
                })
                .collect(),
        )
    }

    /// The rule of a route; HEAD has GET's. None: this route has no such method.
    pub(super) fn rule(&self, method: &Method, template: &str) -> Option<Rule> {
        let Some(rules) = self.0.get(template) else { return Some(Rule::Closed) };
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        rules.iter().find(|(known, _)| known == method).map(|(_, rule)| *rule)
    }
}

fn rule(operation: &Value) -> Rule {
    match operation["security"].as_array().map(Vec::as_slice) {
        Some([]) => Rule::Public,
        // `security(())` may also be written as one empty alternative.
        Some([only]) if only.as_object().is_some_and(serde_json::Map::is_empty) => Rule::Public,
        Some([only]) => match only["token"].as_array().map(Vec::as_slice) {
            Some([Value::String(word)]) => Permission::from_word(word).map_or(Rule::Closed, Rule::Needs),
            _ => Rule::Closed,
        },
        _ => Rule::Closed,
    }
}

/// Whether this caller may use a route of this rule.
pub(super) fn check(rule: Rule, principal: &Principal) -> Result<(), Problem> {
    match rule {
        Rule::Public => Ok(()),
        Rule::Needs(permission) if principal.may(permission) => Ok(()),
        Rule::Needs(permission) => {
            let text = format!("this takes the permission `{}`, which this token's role does not have", permission.word());
            Err(Problem::new(StatusCode::FORBIDDEN, text))
        }
        Rule::Closed => Err(Problem::new(StatusCode::FORBIDDEN, "nobody may use this route")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_declared_is_closed() {
        let table = Table::of(&json!({"paths": {
            "/open": {"get": {"security": []}},
            "/x/{id}": {
                "get": {"security": [{"token": ["read"]}]},
                "put": {},
                "post": {"security": [{"token": ["king"]}]},
                "patch": {"security": [{"token": []}]},
                "delete": {"security": [{"token": ["read"]}, {"token": ["admin"]}]},
            },
        }}));
        let rule = |method: Method, path: &str| table.rule(&method, path);
        assert_eq!(rule(Method::GET, "/open"), Some(Rule::Public));
        assert_eq!(rule(Method::HEAD, "/x/{id}"), Some(Rule::Needs(Permission::Read)));
        for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            assert_eq!(rule(method.clone(), "/x/{id}"), Some(Rule::Closed), "{method}");
        }
        assert_eq!(rule(Method::POST, "/open"), None);
        assert_eq!(rule(Method::GET, "/undescribed"), Some(Rule::Closed));
    }
}
