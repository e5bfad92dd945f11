//! A server's policies, as these commands ask for them.

use clap::Args;
use comfy_table::{Table, presets};
use hyper::Method;
use serde_json::Value;

use crate::cli::Error;
use crate::cli::client::{Answer, Client, Server};
use crate::cli::output::Form;

/// Which server, and how its answer is printed.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// The server.
    #[command(flatten)]
    pub(super) server: Server,
    /// How to print what there is
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub(super) output: Form,
}

/// The policies of one server.
pub(super) struct Remote {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Remote {
    pub(super) fn of(server: &Server) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client: server.client()?, runtime })
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Result<Vec<Value>, Error> {
        let listing = self.tell(Method::GET, ("/api/v1/policies", None), None)?.body;
        let policies = listing["policies"].as_object().cloned().unwrap_or_default();
        Ok(policies.into_iter().map(|(_, policy)| policy).collect())
    }

    /// One of them.
    pub(super) fn one(&self, name: &str) -> Result<Answer, Error> {
        self.tell(Method::GET, (&path(name), None), None)
    }

    /// Asks of a path and, if it is given, of that edition alone.
    pub(super) fn tell(
        &self,
        method: Method,
        place: (&str, Option<&str>),
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        self.runtime.block_on(self.client.tell(method, place, body))
    }
}

/// The path of a policy. Its name may hold anything but a slash and control characters.
pub(super) fn path(name: &str) -> String {
    let mut path = "/api/v1/policies/".to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.extend(format!("%{byte:02X}").chars());
        }
    }
    path
}

/// Lines in columns under a header.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    // Each line begins with the padding of its first cell.
    let text = table.trim_fmt();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A time to the second, as people read it.
pub(super) fn time(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.get(..19).unwrap_or(text).replace('T', " ")
}
