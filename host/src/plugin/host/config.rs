//! `vigil:host/config`: what the operator's grant holds for the plugin.

use serde_json::Value;
use wasmtime::Result;

use super::super::bindings::vigil::host::config::Host;
use super::super::state::Sandbox;

impl Host for Sandbox {
    fn get(&mut self, key: String) -> Result<Option<String>> {
        Ok(self.dear("config.get")?.config.get(&key).map(Value::to_string))
    }

    fn all(&mut self) -> Result<String> {
        let config = &self.dear("config.all")?.config;
        Ok(serde_json::to_string(&**config)?)
    }
}
