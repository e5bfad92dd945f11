//! Names that secrets go by, and what is shown in their place.

use serde_json::Value;

/// What stands in place of a secret wherever one would be shown.
pub const MASK: &str = "***";

/// Words that make a name a secret's name.
const WORDS: [&str; 12] = [
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "apikey",
    "privatekey",
    "credential",
    "cookie",
    "passphrase",
    "bearer",
    "accesskey",
];

/// Whether a setting, field or parameter of this name holds a secret. Names of *files* that hold one do not.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain = plain(name);
    !plain.ends_with("file") && WORDS.iter().any(|word| plain.contains(word))
}

/// The letters and digits of a text, in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a text speaks of a secret anywhere.
fn speaks_of_one(text: &str) -> bool {
    let plain = plain(text);
    WORDS.iter().any(|word| plain.contains(word))
}

/// The value with everything under a secret's name masked.
#[must_use]
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let member = |(name, value): (String, Value)| {
                let value = if is_secret_name(&name) { Value::from(MASK) } else { masked(value) };
                (name, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The beginning of a request's body, at most `most` characters on one line, for people: JSON with its secrets masked,
/// and nothing of any other text that speaks of one. None: it is empty.
#[must_use]
pub fn excerpt(body: &[u8], most: usize) -> Option<String> {
    if body.is_empty() {
        return None;
    }
    let hidden = |why: &str| Some(format!("({} bytes{why})", body.len()));
    let Ok(text) = std::str::from_utf8(body) else { return hidden("") };
    let text = match serde_json::from_str::<Value>(text) {
        Ok(value) => masked(value).to_string(),
        Err(_) if speaks_of_one(text) => return hidden(", which may hold a secret"),
        Err(_) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most + 1).collect();
    if line.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).chain(['…']).collect();
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_holds_no_secret() {
        let of = |body: &[u8]| excerpt(body, 40);
        assert_eq!(of(b""), None);
        assert_eq!(of(b"\xff\xfe").unwrap(), "(2 bytes)");
        assert_eq!(
            of(b"{\"b\": [{\"api_key\": \"k\"}], \"a\": 1}").unwrap(),
            "{\"a\":1,\"b\":[{\"api_key\":\"***\"}]}"
        );
        assert_eq!(of(b"user=x&Pass-word=y").unwrap(), "(18 bytes, which may hold a secret)");
        assert_eq!(of(b"secret in a file").unwrap(), "(16 bytes, which may hold a secret)");
        assert_eq!(of(b"<a>\n  <b>\x07</b>\n</a>").unwrap(), "<a> <b> </b> </a>");
        let long = of(&[b'x'; 100]).unwrap();
        assert_eq!((long.chars().count(), long.ends_with('…')), (40, true));
    }
}
