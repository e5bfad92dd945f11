//! JSON Schemas that plugins bring along: compiled without looking anything up, with bounded patterns.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::types::ParamProblem;

/// The longest schema.
const MAX_LEN: usize = 64 << 10;
/// What one pattern may take, in bytes.
const MAX_PATTERN: usize = 1 << 20;
/// More problems than this are not told.
const MAX_PROBLEMS: usize = 20;

/// A plugin's schema, ready to use.
#[derive(Debug)]
pub(super) struct Schema {
    /// As the plugin gave it.
    pub(super) value: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema, or says why it cannot be used.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LEN {
            return Err("it is longer than 64 KiB".to_owned());
        }
        let value: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
        if !value.is_object() {
            return Err("it is no JSON object".to_owned());
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN))
            .build(&value)
            .map_err(|e| e.to_string())?;
        Ok(Self { value, validator })
    }

    /// What is wrong with a value; its own text is not repeated, since it may hold a secret.
    pub(super) fn check(&self, value: &Value) -> Result<(), Vec<ParamProblem>> {
        let problems: Vec<_> = self
            .validator
            .iter_errors(value)
            .take(MAX_PROBLEMS)
            .map(|e| ParamProblem { pointer: e.instance_path().to_string(), message: e.masked().to_string() })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_checked_and_not_repeated() {
        let schema =
            Schema::new(r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["m"]}"#);
        let problems = schema.unwrap().check(&json!({"n": "hunter2"})).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems.iter().any(|p| p.pointer == "/n" && !p.message.contains("hunter2")), "{problems:?}");
    }

    #[test]
    fn nothing_is_looked_up_and_patterns_are_bounded() {
        for text in [
            "",
            "[]",
            "{\"type\": 7}",
            r#"{"$ref":"https://example.com/x.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"pattern":"((a{1000}){1000}){1000}"}"#,
            r#"{"pattern":"("}"#,
        ] {
            assert!(Schema::new(text).is_err(), "{text}");
        }
    }
}
