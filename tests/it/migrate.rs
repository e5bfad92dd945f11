//! `vigil migrate`: both databases get this version's tables, twice in a row, and understand every statement.

use std::process::Command;

use crate::support::{Postgres, Vigil, temp_dir};

fn migrate(database: Option<&str>) -> String {
    let home = temp_dir();
    let mut command = Command::new(Vigil::binary());
    command.arg("migrate").arg("--data-dir").arg(home.path()).env_clear();
    if let Some(url) = database {
        command.args(["--database", url]);
    }
    let output = command.output().expect("vigil migrate");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{wrong}");
    said.into_owned()
}

#[test]
fn every_statement_is_understood_by_sqlite() {
    let said = migrate(None);
    assert!(said.contains("sqlite") && said.contains("statements checked"), "{said}");
}

#[test]
fn every_statement_is_understood_by_postgresql() {
    let url = Postgres::shared().database();
    let first = migrate(Some(&url));
    assert!(first.contains("postgres") && first.contains("statements checked"), "{first}");
    assert_eq!(migrate(Some(&url)), first, "a second run changes nothing, the installation's id included");
}
