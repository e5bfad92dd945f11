//! Policies as code: checked, planned and applied by the command line, kept with their history, and analysed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod analysis;
mod check;
mod drift;
mod form;
mod history;
mod plan;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Vigil, temp_dir};

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}", self.out))
    }
}

/// `vigil policy …` with this server, or with none.
fn vigil_policy(vigil: Option<&Vigil>, args: &[&str]) -> Said {
    let mut command = Command::new(Vigil::binary());
    command.arg("policy").args(args).env_clear();
    if let Some(vigil) = vigil {
        command.env("HOME", vigil.home()).env("VIGIL_URL", vigil.url());
    }
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A policy over `metric` in a file's block style.
fn entry(name: &str, metric: &str, threshold: u32, more: &str) -> String {
    format!(
        "  - name: {name}\n    action: restart\n    target: web-*\n    mode: observe\n    condition:\n      \
         type: metric_exceeds\n      metric: {metric}\n      threshold: {threshold}\n{more}"
    )
}

fn write(file: &Path, entries: &[String]) {
    fs::write(file, format!("policies:\n{}", entries.concat())).unwrap();
}

fn policy(name: &str, more: Value) -> Value {
    let condition = json!({"type": "metric_exceeds", "metric": "cpu", "threshold": 90});
    let mut policy = json!({"name": name, "condition": condition, "action": "restart", "target": "web-*"});
    for (member, value) in more.as_object().cloned().unwrap_or_default() {
        policy[member] = value;
    }
    policy
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|word| word.as_str().unwrap()).collect()
}
