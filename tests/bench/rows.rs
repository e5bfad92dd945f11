//! The rows, in the order of the table.

mod attempts;
mod batch;
mod conditions;
mod post;
mod react;
mod sandbox;
mod start;

use std::process::ExitCode;

use crate::Res;
use crate::args::Args;
use crate::table::Report;

type Row = (&'static [u8], fn(&Args, &mut Report) -> Res<()>);

/// Which function measures which rows of the table.
const ROWS: [Row; 8] = [
    (&[1], post::measure),
    (&[2], batch::against_parsing),
    (&[3], batch::many_policies),
    (&[4], conditions::measure),
    (&[5], react::measure),
    (&[6, 7], sandbox::measure),
    (&[8], start::measure),
    (&[9], attempts::measure),
];

/// Measures what is asked for and prints it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut report = Report::default();
    for (numbers, measure) in ROWS {
        if !numbers.iter().any(|row| args.wants(*row)) {
            continue;
        }
        println!("row {numbers:?} …");
        if let Err(why) = measure(args, &mut report) {
            report.failure(numbers[0], why.to_string());
        }
    }
    report.print(!args.quick);
    if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
