//! `vigil policy analyze`: what a policy may do at worst.

use clap::Args;
use hyper::Method;

use super::remote::{Asked, Remote, path, texts};
use crate::cli::Error;
use crate::cli::output::{self, Form};

/// Which policy of which server.
#[derive(Args, Debug)]
pub struct Options {
    /// Its name
    name: String,
    /// The server, and how to print.
    #[command(flatten)]
    asked: Asked,
}

/// Asks for it and prints it.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let remote = Remote::of(&options.asked.server)?;
    let found = remote.tell(Method::GET, (&format!("{}/analysis", path(&options.name)), None), None)?.body;
    if options.asked.output == Form::Json {
        output::line(&found);
        return Ok(());
    }
    let worst = &found["worst_case"];
    let most = worst["actions_per_hour"].as_u64().map_or("without bound".to_owned(), |most| most.to_string());
    let bound = worst["bound_by"].as_str().unwrap_or_default();
    output::line(format_args!("Actions per hour at worst: {most} ({bound})"));
    for warning in texts(&found["warnings"]) {
        output::line(format_args!("Warning: {warning}"));
    }
    let overlaps = found["overlaps"].as_array().map_or(0, Vec::len);
    let more =
        if found["overlaps_total"].as_u64() > Some(overlaps as u64) { " (the first of them)" } else { "" };
    for other in found["overlaps"].as_array().into_iter().flatten() {
        let text = |member: &str| other[member].as_str().unwrap_or_default();
        let (name, target, action) = (text("policy_name"), text("target"), text("action"));
        output::line(format_args!("Shares targets with {name}: target {target}, action {action}{more}"));
    }
    Ok(())
}
