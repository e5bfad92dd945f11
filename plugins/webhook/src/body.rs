//! The JSON that the receiver gets; the README documents its shape.

use vigil_plugin_sdk::Request;
use vigil_plugin_sdk::serde_json::{Map, Value, json};

const MASK: &str = "********";
/// A name that holds one of these is taken for a secret's. Too many masked is
/// better than one sent.
const SECRET: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "secret",
    "apikey",
    "authorization",
    "credential",
    "privatekey",
    "accesskey",
    "cookie",
];

/// The body for a request.
pub(crate) fn of(request: &Request) -> Value {
    json!({
        "execution_id": request.execution_id,
        "attempt": request.attempt,
        "action": request.action,
        "target": {
            "kind": request.target.kind,
            "name": request.target.name,
            "namespace": request.target.namespace,
            "labels": object(&request.target.labels),
        },
        "params": masked(&request.params),
        "trigger": request.trigger.as_str(),
        "attributes": object(&request.attributes),
    })
}

fn object(pairs: &[(String, String)]) -> Value {
    let entry = |(name, value): &(String, String)| {
        let value = if is_secret(name) { MASK } else { value };
        (name.clone(), Value::from(value))
    };
    Value::Object(pairs.iter().map(entry).collect::<Map<_, _>>())
}

/// The value with everything under a secret's name replaced.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                (name.clone(), if is_secret(name) { Value::from(MASK) } else { masked(value) })
            };
            Value::Object(members.iter().map(member).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    plain == "auth" || plain == "key" || SECRET.iter().any(|word| plain.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_at_every_depth() {
        let params = json!({
            "channel": "#ops", "API-Key": "k", "nested": [{ "dbPassword": { "a": 1 }, "x_auth_token": 1, "n": 2 }],
            "Authorization": "Bearer x", "monkey": 1
        });
        assert_eq!(
            masked(&params),
            json!({
                "channel": "#ops", "API-Key": MASK, "nested": [{ "dbPassword": MASK, "x_auth_token": MASK, "n": 2 }],
                "Authorization": MASK, "monkey": 1
            })
        );
    }

    #[test]
    fn labels_are_masked_too() {
        let labels = [("host".to_owned(), "a".to_owned()), ("session_token".to_owned(), "b".to_owned())];
        assert_eq!(object(&labels), json!({ "host": "a", "session_token": MASK }));
    }
}
