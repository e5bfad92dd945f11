//! The plugin's configuration as the operator set it, secrets excluded.

use serde::de::DeserializeOwned;

use crate::{Error, sys};

/// One value of the configuration; none if it is not set.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(text) = sys::config(key) else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|cause| Error::permanent("invalid-config", format!("configuration {key}: {cause}")))
}
