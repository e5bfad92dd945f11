//! Vigil's `webhook` plugin: hands an action to anything that takes JSON over
//! HTTP. Where it goes is the bound connection's base address and nothing
//! else: no part of an address is ever read from parameters or events.

mod body;

use vigil_plugin_sdk::connections::{self, Response};
use vigil_plugin_sdk::serde_json::{Value, json};
use vigil_plugin_sdk::{
    Action, Change, ChangeStatus, Description, Effects, Error, Outcome, Path, Plugin, Request, Risk,
};

const SLOT: &str = "webhook";
/// As much of an answer as goes into messages and outputs.
const SHOWN: usize = 500;

struct Webhook;
vigil_plugin_sdk::export!(Webhook);

impl Plugin for Webhook {
    fn describe() -> Description {
        let any_params = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "maxProperties": 100
        });
        // The host's Idempotency-Key lets the receiver drop a repeat.
        let custom = Action::new("custom", "Call the webhook", Effects::Keyed)
            .description("Posts the action with its parameters as JSON to the bound connection.")
            .params(any_params)
            .risk(Risk::Medium)
            .timeout_ms(30_000);
        let mut notify = custom.clone();
        "notify".clone_into(&mut notify.name);
        "Notify the webhook".clone_into(&mut notify.title);
        notify.risk = Risk::Low;
        Description::new("webhook", env!("CARGO_PKG_VERSION"), "Hands actions to a webhook as JSON")
            .action(custom)
            .action(notify)
            .connection(SLOT, "receives each action as a POST to its base address")
    }

    fn execute(request: &Request) -> Result<Outcome, Error> {
        let call = connections::post(SLOT, &Path::root()).json(&body::of(request))?;
        outcome(request, &call.send()?)
    }
}

/// What the receiver's answer means: 2xx took it, 429 and 5xx may take it
/// later, any other will not.
fn outcome(request: &Request, answer: &Response) -> Result<Outcome, Error> {
    let said = shown(&answer.text());
    let message = || format!("the webhook answered {}: {said}", answer.status);
    match answer.status {
        200..=299 => {
            let change = Change::new(&format!("webhook: {}", request.action), ChangeStatus::Requested);
            let summary = format!("{} for {} sent, {}", request.action, request.target.name, answer.status);
            let output = json!({ "status": answer.status, "body": parsed(&said) });
            Ok(Outcome::new(summary).change(change).output(output))
        }
        429 => Err(Error::retry_after("webhook-busy", message(), answer.retry_after_ms())),
        500..=599 => Err(Error::retry_after("webhook-failed", message(), answer.retry_after_ms())),
        300..=399 => Err(Error::permanent("webhook-redirect", message())),
        _ => Err(Error::permanent("webhook-refused", message())),
    }
}

/// The beginning of an answer on one line.
fn shown(text: &str) -> String {
    let line: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if line.is_empty() { "(no body)".to_owned() } else { line }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_plugin_sdk::{Target, Trigger};

    fn request() -> Request {
        Request {
            execution_id: "e".into(),
            attempt: 1,
            action: "custom".into(),
            target: Target { kind: "host".into(), name: "web-01".into(), namespace: None, labels: vec![] },
            params: json!({}),
            trigger: Trigger::Alert,
            deadline: 0,
            traceparent: None,
            attributes: vec![],
        }
    }

    fn answer(status: u16, after: Option<&str>) -> Response {
        let headers = after.map(|v| ("retry-after".to_owned(), v.into())).into_iter().collect();
        Response { status, headers, ..Response::default() }
    }

    #[test]
    fn each_class_of_answer_is_its_own_result() {
        assert!(outcome(&request(), &answer(204, None)).is_ok());
        for status in [301, 400, 401, 404, 410, 100] {
            let result = outcome(&request(), &answer(status, None));
            assert!(matches!(result, Err(Error::Permanent(_))), "{status}: {result:?}");
        }
        for (status, after, ms) in
            [(429, Some("3"), Some(3000)), (503, Some("1"), Some(1000)), (500, None, None)]
        {
            let Err(Error::Retryable { retry_after_ms, .. }) = outcome(&request(), &answer(status, after))
            else {
                panic!("{status} is retryable");
            };
            assert_eq!(retry_after_ms, ms);
        }
    }

    #[test]
    fn an_answer_is_one_short_line() {
        let line = shown(&format!(" a\nb{}", "x".repeat(1000)));
        assert!(line.starts_with("a bx") && line.chars().count() == SHOWN);
    }
}
