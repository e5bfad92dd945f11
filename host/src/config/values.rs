//! The types settings are written in: durations, sizes, lists, secrets.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::secret::MASK;

/// The text with the password of every URL in it masked: `postgres://user:***@host/name`.
#[must_use]
pub fn mask_urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("://") {
        shown.push_str(head);
        shown.push_str("://");
        let authority = &tail[..tail.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(tail.len())];
        rest = tail;
        if let Some((user_info, _)) = authority.rsplit_once('@') {
            let user = user_info.split(':').next().unwrap_or_default();
            // A user name without a password may itself be the secret, as with access tokens.
            shown.push_str(if user_info.contains(':') { user } else { "" });
            shown.push_str(if user_info.contains(':') { ":***" } else { MASK });
            rest = &tail[user_info.len()..];
        }
    }
    shown + rest
}

/// A text that is never shown: `Debug` and `Serialize` give `***`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A URL whose password is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password, for the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What stands before `://` or `:`; empty where there is neither.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_urls(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A duration as people write it: `250ms`, `30s`, `35d`.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Span(#[serde(with = "humantime_serde")] pub Duration);

/// A number of bytes: `1048576`, `"1MiB"`, `"4 GB"`.
#[derive(Clone, Copy, Default)]
pub(super) struct Size(pub u64);

impl Size {
    fn parse(text: &str) -> Option<u64> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        const EXPECTED: &str = "a number of bytes such as 65536 or \"8MiB\"";
        match Form::deserialize(deserializer).map_err(|_| D::Error::custom(format!("expected {EXPECTED}")))? {
            Form::Number(bytes) => Ok(Self(bytes)),
            Form::Text(text) => Self::parse(text.trim())
                .map(Self)
                .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &EXPECTED)),
        }
    }
}

/// A list of texts; one text alone, as the environment gives it, is split at commas.
#[derive(Clone, Default)]
pub(super) struct List(pub Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Many(Vec<String>),
            One(String),
        }
        match Form::deserialize(deserializer).map_err(|_| D::Error::custom("expected a list of texts"))? {
            Form::Many(texts) => Ok(Self(texts)),
            Form::One(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Self(parts.map(str::to_owned).collect()))
            }
        }
    }
}

/// Yes or no; the command line gives texts.
#[derive(Clone, Copy, Default)]
pub(super) struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Bool(bool),
            Text(String),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Bool(yes)) => Ok(Self(yes)),
            Ok(Form::Text(text)) if text == "true" => Ok(Self(true)),
            Ok(Form::Text(text)) if text == "false" => Ok(Self(false)),
            Ok(Form::Text(_)) | Err(_) => Err(D::Error::custom("expected true or false")),
        }
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(super) struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::is_secret_name;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("1024", 1024), ("8MiB", 8 << 20), ("4 GB", 4_000_000_000), ("1k", 1024)]
        {
            assert_eq!(Size::parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "8 furlongs", "99999999TiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let url = SecretUrl::new("postgres://vigil:hunter2@db.example:5432/vigil?sslmode=require");
        assert_eq!(url.to_string(), "postgres://vigil:***@db.example:5432/vigil?sslmode=require");
        assert_eq!(format!("{url:?} {:?}", Secret::new("hunter2")), format!("{url} ***"));
        assert_eq!(mask_urls("at https://t0ken@git.example/x, then"), "at https://***@git.example/x, then");
        assert_eq!(mask_urls("redis://:p@w@h/ and http://plain/"), "redis://:***@h/ and http://plain/");
        for name in ["password", "api_key", "API-Key", "bearer", "db.passwd", "x_token"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["bearer_file", "key", "name", "tags"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
