//! `vigil policy test`: do policies decide what their author expects, on series that a file gives, in virtual time?

mod check;
mod file;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::file::{Case, TestFile};
use crate::cli::output::{Form, Paint};
use crate::cli::{Error, output};
use crate::config::{self, Config};
use crate::pipeline::rehearsal::Stage;
use crate::pipeline::settings::Live;

/// What to test.
#[derive(Args, Debug)]
pub struct Options {
    /// Files of tests
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    run: Option<String>,
    /// Settings file whose guardrails and intervals hold [default: the built-in values]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print the results
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// How one test ended.
#[derive(Debug, Serialize)]
struct Ended {
    file: PathBuf,
    name: String,
    /// The first difference; none: it passed.
    difference: Option<String>,
}

/// Runs the tests; an error unless all of them pass.
pub fn run(options: &Options) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = stage(options.config.as_deref())?;
    let mut ended = Vec::new();
    for file in &options.files {
        let tests = TestFile::read(file)?;
        let chosen = |case: &&Case| options.run.as_ref().is_none_or(|text| case.name.contains(text.as_str()));
        for case in tests.tests.iter().filter(chosen) {
            let difference = runtime
                .block_on(check::run(&stage, &tests, case))
                .map_err(|wrong| Error::Failed(format!("{}: {}: {wrong}", file.display(), case.name)))?;
            ended.push(Ended { file: file.clone(), name: case.name.clone(), difference });
        }
    }
    if ended.is_empty() {
        return Err(Error::Failed("there is no such test".to_owned()));
    }
    let failed = ended.iter().filter(|ended| ended.difference.is_some()).count();
    print(&ended, failed, options.output);
    if failed == 0 { Ok(()) } else { Err(Error::Failed(format!("{failed} of {} failed", ended.len()))) }
}

fn print(ended: &[Ended], failed: usize, form: Form) {
    if form == Form::Json {
        output::line(json!({"passed": ended.len() - failed, "failed": failed, "tests": ended}));
        return;
    }
    let paint = Paint::stdout();
    for Ended { file, name, difference } in ended {
        match difference {
            None => output::line(format_args!("{} {}: {name}", paint.good("ok    "), file.display())),
            Some(why) => {
                output::line(format_args!(
                    "{} {}: {name}\n       {why}",
                    paint.bad("FAILED"),
                    file.display()
                ));
            }
        }
    }
}

/// What tests stand on: the settings of a file, or the built-in ones; never those of this machine.
pub(super) fn stage(file: Option<&Path>) -> Result<Stage, Error> {
    let flags = std::collections::BTreeMap::from([("server.data_dir", "unused".to_owned())]);
    let inputs = config::Inputs { file: file.map(Path::to_owned), flags, ..config::Inputs::default() };
    let config = Config::load(&inputs)?;
    Ok(Stage {
        lookback: config.policies.lookback,
        settings: Live::new(config::Settings::of(&config), Arc::new(|_| ())),
        everywhere: config.guardrails,
    })
}
