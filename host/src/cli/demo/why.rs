//! The answer of `…/why`, for people.

use serde_json::Value;

use super::watch::text;

/// One line per fact: the event, the decisions, each attempt with its calls, who did what.
pub(super) fn lines(why: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let event = &why["event"];
    if event.is_object() {
        let (name, value, target) = (text(event, "name"), text(event, "value"), text(event, "target"));
        lines.push(format!("event     {name} = {value} on {target} at {}", text(event, "observed_at")));
    }
    for decision in list(why, "decisions") {
        let mut line = format!("decision  {}", text(decision, "decision"));
        let (reason, times) = (text(decision, "reason"), text(decision, "times"));
        for part in [reason, if times == "1" { String::new() } else { format!("{times} times") }] {
            if !part.is_empty() && part != " times" {
                line = format!("{line}, {part}");
            }
        }
        lines.push(line);
    }
    for action in list(why, "actions") {
        for attempt in list(action, "attempts") {
            lines.push(attempt_line(attempt));
            lines.extend(list(attempt, "calls").map(call_line));
        }
    }
    for entry in list(why, "audit") {
        let (actor, verb) = (text(entry, "actor"), text(entry, "verb"));
        lines.push(format!(
            "audit     {actor}: {verb} {} {}",
            text(entry, "object"),
            text(entry, "object_id")
        ));
    }
    lines
}

fn attempt_line(attempt: &Value) -> String {
    let (number, plugin) = (text(attempt, "attempt"), text(attempt, "plugin"));
    let message = text(attempt, "message");
    let colon = if message.is_empty() { "" } else { ": " };
    format!("attempt   {number} by plugin {plugin}: {}{colon}{message}", text(attempt, "outcome"))
}

fn call_line(call: &Value) -> String {
    let (connection, status) = (text(call, "connection"), text(call, "status"));
    format!("  call    {} {} on {connection}: {status}", text(call, "method"), text(call, "path"))
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chain_is_told_line_by_line() {
        let why = json!({
            "event": {"name": "cpu_percent", "value": 197.5, "target": "checkout", "observed_at": "T"},
            "decisions": [{"decision": "act", "reason": null, "times": 1},
                {"decision": "suppress", "reason": "incident_open", "times": 3}],
            "actions": [{"id": 1, "attempts": [{"attempt": 1, "plugin": "supervisor", "outcome": "completed",
                "message": "checkout restarted", "calls": [{"method": "POST", "path": "/RPC2",
                "connection": "demo", "status": 200}]}]}],
            "audit": [{"actor": "policy:x", "verb": "created", "object": "action", "object_id": "1"}],
        });
        assert_eq!(
            lines(&why),
            [
                "event     cpu_percent = 197.5 on checkout at T",
                "decision  act",
                "decision  suppress, incident_open, 3 times",
                "attempt   1 by plugin supervisor: completed: checkout restarted",
                "  call    POST /RPC2 on demo: 200",
                "audit     policy:x: created action 1",
            ]
        );
        assert!(lines(&json!({})).is_empty());
    }
}
