//! `vigil:host/kv`: not offered yet, so every call is denied.

use wasmtime::Result;

use super::super::bindings::vigil::host::kv::{Entry, Host, KeyPage, KvError};
use super::super::state::Sandbox;

impl Sandbox {
    fn no_kv<T>(&mut self, what: &'static str) -> Result<Result<T, KvError>> {
        self.dear(what)?.record().refused.push(format!("{what}: this host offers no state to plugins"));
        Ok(Err(KvError::Denied))
    }
}

impl Host for Sandbox {
    fn get(&mut self, _key: String) -> Result<Result<Option<Entry>, KvError>> {
        self.no_kv("kv.get")
    }

    fn set(
        &mut self,
        _key: String,
        _value: Vec<u8>,
        _expected: Option<u64>,
        _ttl_ms: Option<u64>,
    ) -> Result<Result<u64, KvError>> {
        self.no_kv("kv.set")
    }

    fn delete(&mut self, _key: String, _expected: Option<u64>) -> Result<Result<(), KvError>> {
        self.no_kv("kv.delete")
    }

    fn list_keys(
        &mut self,
        _prefix: String,
        _cursor: Option<String>,
        _limit: u32,
    ) -> Result<Result<KeyPage, KvError>> {
        self.no_kv("kv.list-keys")
    }
}
