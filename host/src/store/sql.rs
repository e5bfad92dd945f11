//! One SQL text for both databases, with named fragments in braces where they differ.

use std::sync::OnceLock;

/// Which database a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// The fragments: name, SQLite, PostgreSQL.
const FRAGMENTS: [(&str, &str, &str); 12] = [
    // Row locks: SQLite has one writer at a time, taken with BEGIN IMMEDIATE.
    ("{lock}", "", " FOR UPDATE"),
    ("{lock_slot_skip}", "", " FOR UPDATE OF s SKIP LOCKED"),
    ("{skip}", "", " FOR UPDATE SKIP LOCKED"),
    ("{double}", "REAL", "DOUBLE PRECISION"),
    ("{autoid}", "INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    // A list of numbers, bound once as JSON text, so that a statement's text does not depend on its length.
    (
        "{ids}",
        "(SELECT value FROM json_each($1))",
        "(SELECT value::bigint AS value FROM jsonb_array_elements_text($1::jsonb))",
    ),
    (
        "{texts}",
        "(SELECT value FROM json_each($1))",
        "(SELECT value FROM jsonb_array_elements_text($1::jsonb))",
    ),
    // Lists of rows, likewise: policy, target and the beginning of a window; incident, times and event.
    (
        "{pairs}",
        "(SELECT json_extract(value, '$[0]') AS policy, json_extract(value, '$[1]') AS target,
            json_extract(value, '$[2]') AS since FROM json_each($1))",
        "(SELECT (e->>0)::bigint AS policy, e->>1 AS target, (e->>2)::bigint AS since
            FROM jsonb_array_elements($1::jsonb) e)",
    ),
    (
        "{repeats}",
        "(SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS times,
            json_extract(value, '$[2]') AS event FROM json_each($1))",
        "(SELECT (e->>0)::bigint AS id, (e->>1)::bigint AS times, (e->>2)::bigint AS event
            FROM jsonb_array_elements($1::jsonb) e)",
    ),
    ("{bigint}", "INTEGER", "BIGINT"),
    // Numbers in the order of writing; unlike `autoid` one may come again after the highest row is gone.
    ("{rowid}", "INTEGER PRIMARY KEY", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("{blob}", "BLOB", "BYTEA"),
];

/// Fills the fragments of `raw` for `dialect`.
pub(super) fn fill(raw: &str, dialect: Dialect) -> String {
    let mut text = raw.to_owned();
    for (name, sqlite, postgres) in FRAGMENTS {
        if text.contains(name) {
            text = text.replace(name, if dialect == Dialect::Sqlite { sqlite } else { postgres });
        }
    }
    text
}

/// A statement, filled once per database.
pub(super) struct Sql {
    raw: &'static str,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

impl Sql {
    pub(super) const fn new(raw: &'static str) -> Self {
        Self { raw, sqlite: OnceLock::new(), postgres: OnceLock::new() }
    }

    pub(super) fn get(&'static self, dialect: Dialect) -> &'static str {
        let filled = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        filled.get_or_init(|| fill(self.raw, dialect))
    }
}

/// Declares statements and lists them, so that `vigil migrate` can prepare each.
macro_rules! statements {
    ($seen:vis $list:ident: $($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* static $name: crate::store::sql::Sql = crate::store::sql::Sql::new($text);)*
        $seen static $list: &[(&str, &crate::store::sql::Sql)] = &[$((stringify!($name), &$name)),*];
    };
}
pub(super) use statements;
