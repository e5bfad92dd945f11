//! Conditions as authors write them, in JSON, to the compiler's form.

use serde_json::{Map, Value};

use crate::cel::{CompileErrors, Condition, MAX_CONDITION_DEPTH};

/// What is wrong with a condition, by how the API answers.
#[derive(Debug)]
pub enum Fault {
    /// A typed condition that says nothing we know, in words.
    Typed(String),
    /// A member no condition of that type has: its path inside the condition.
    Unknown(Vec<String>),
    /// The expression, or the whole, does not compile.
    Compile(CompileErrors),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Typed(why) => out.write_str(why),
            Self::Unknown(path) => write!(out, "unknown member `{}`", path.join(".")),
            Self::Compile(errors) => errors.fmt(out),
        }
    }
}

/// Reads a condition.
pub fn parse(json: &Value) -> Result<Condition, Fault> {
    read(json, &mut Vec::new())
}

fn read(json: &Value, path: &mut Vec<String>) -> Result<Condition, Fault> {
    let here =
        |path: &[String]| if path.is_empty() { String::new() } else { format!("{}: ", path.join(".")) };
    let Value::Object(members) = json else {
        return Err(Fault::Typed(format!("{}a condition is an object with a `type`", here(path))));
    };
    if path.len() > 2 * MAX_CONDITION_DEPTH {
        return Err(Fault::Typed(format!("conditions nest at most {MAX_CONDITION_DEPTH} deep")));
    }
    let kind = members.get("type").and_then(Value::as_str);
    match kind {
        Some("metric_exceeds" | "metric_below") => {
            only(members, &["metric", "threshold"], path)?;
            let metric = members
                .get("metric")
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .ok_or_else(|| Fault::Typed(format!("{}`metric` must name a metric", here(path))))?
                .to_owned();
            let threshold = members
                .get("threshold")
                .and_then(number)
                .ok_or_else(|| Fault::Typed(format!("{}`threshold` must be a finite number", here(path))))?;
            Ok(if kind == Some("metric_exceeds") {
                Condition::Exceeds { metric, threshold }
            } else {
                Condition::Below { metric, threshold }
            })
        }
        Some("all") => {
            only(members, &["conditions"], path)?;
            list(members, path).map(Condition::All)
        }
        Some("any") => {
            only(members, &["conditions"], path)?;
            list(members, path).map(Condition::Any)
        }
        Some("cel") => {
            only(members, &["expression"], path)?;
            match members.get("expression").and_then(Value::as_str) {
                Some(text) => Ok(Condition::Cel(text.to_owned())),
                None => Err(Fault::Typed(format!("{}`expression` must be a text", here(path)))),
            }
        }
        Some(other) => Err(Fault::Typed(format!(
            "{}unknown type `{}`; known are metric_exceeds, metric_below, all, any and cel",
            here(path),
            other.chars().take(64).collect::<String>()
        ))),
        None => Err(Fault::Typed(format!("{}`type` is missing", here(path)))),
    }
}

fn list(members: &Map<String, Value>, path: &mut Vec<String>) -> Result<Vec<Condition>, Fault> {
    let Some(Value::Array(items)) = members.get("conditions") else {
        return Err(Fault::Typed("`conditions` must be a list".to_owned()));
    };
    let mut conditions = Vec::with_capacity(items.len().min(256));
    for (at, item) in items.iter().enumerate() {
        path.push("conditions".to_owned());
        path.push(at.to_string());
        conditions.push(read(item, path)?);
        path.truncate(path.len() - 2);
    }
    Ok(conditions)
}

fn only(members: &Map<String, Value>, known: &[&str], path: &[String]) -> Result<(), Fault> {
    match members.keys().find(|key| *key != "type" && !known.contains(&key.as_str())) {
        Some(stranger) => {
            let mut path = path.to_vec();
            path.push(stranger.clone());
            Err(Fault::Unknown(path))
        }
        None => Ok(()),
    }
}

/// A number, or a text that is one, as the contract's lax coercions have it.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_every_type_and_names_what_is_wrong() {
        let good = json!({"type": "all", "conditions": [
            {"type": "metric_exceeds", "metric": "cpu", "threshold": "90"},
            {"type": "any", "conditions": []},
            {"type": "cel", "expression": "last(\"m\") > 1.0"}]});
        assert!(matches!(parse(&good), Ok(Condition::All(members)) if members.len() == 3));
        for (bad, word) in [
            (json!({"type": "metric_exceeds", "metric": "cpu", "threshold": "high"}), "threshold"),
            (json!({"type": "metric_exceeds", "threshold": 1}), "metric"),
            (json!({"type": "sometimes"}), "sometimes"),
            (json!({"metric": "cpu"}), "type"),
            (json!([1]), "object"),
            (
                json!({"type": "all", "conditions": [{"type": "cel", "expression": "", "x": 1}]}),
                "conditions.0.x",
            ),
        ] {
            assert!(parse(&bad).unwrap_err().to_string().contains(word), "{bad}");
        }
    }
}
