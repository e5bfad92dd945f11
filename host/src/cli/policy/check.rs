//! `vigil policy check`: would a server take these files?

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::judge;
use super::source::{Finding, Sources};
use crate::cli::Error;
use crate::cli::output::{self, Form};

/// Which files, and how to print what is wrong.
#[derive(Args, Debug)]
pub struct Options {
    /// Policy files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// How to print what there is
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Reads them and names what is wrong.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let mut sources = Sources::read(&options.paths)?;
    sources.warnings.extend(judge::warnings(&sources.policies, &[], |_| true));
    let (faults, warnings) = (&sources.faults, &sources.warnings);
    match options.output {
        Form::Json => {
            let list = |findings: &[Finding], level| -> Vec<_> {
                findings.iter().map(|finding| finding.json(level)).collect()
            };
            output::line(json!({
                "ok": faults.is_empty(), "files": sources.files, "policies": sources.policies.len(),
                "faults": list(faults, "fault"), "warnings": list(warnings, "warning"),
            }));
        }
        Form::Table => {
            for fault in faults {
                output::line(fault);
            }
            for warning in warnings {
                output::line(format_args!("{warning} (warning)"));
            }
        }
    }
    let (files, policies) = (counted(sources.files, "file"), sources.policies.len());
    if faults.is_empty() {
        let policies = if policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
        output::note(format_args!("{policies} in {files}: {}", counted(warnings.len(), "warning")));
        return Ok(());
    }
    Err(Error::Failed(format!("{} in {files}", counted(faults.len(), "fault"))))
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
