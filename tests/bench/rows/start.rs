//! Row 8: from the start of the process to its first answer, with the plugins' compiled code in the cache; and what it
//! holds when it is idle. The median of several starts of the same data directory; memory three seconds after.

use std::time::Duration;

use crate::Res;
use crate::args::Args;
use crate::child::{Server, Setup};
use crate::stats::{Times, time};
use crate::table::{Goal, Report};

pub(super) fn measure(args: &Args, report: &mut Report) -> Res<()> {
    let setup = Setup::default();
    let first = Server::vigil(&setup)?;
    let compiled = first.up_after;
    let mut dir = first.end()?;
    let mut starts = Times::default();
    for _ in 0..args.count(8).max(2) {
        let server = Server::vigil_in(dir, &setup)?;
        starts.push(server.up_after);
        dir = server.end()?;
    }
    let server = Server::vigil_in(dir, &setup)?;
    std::thread::sleep(Duration::from_secs(3));
    let (resident, proportional) = (mib(server.resident()?), mib(server.proportional()?));
    let what = ("start to first answer, cached plugins", "–");
    report.line(8, what, starts.p50().as_secs_f64(), Goal::AtMost(0.5), "s");
    report.line(8, ("idle memory, resident", "–"), resident, Goal::AtMost(60.0), "MiB");
    report.figure(8, format!("start: {}; the first, which compiles: {}", starts.words(), time(compiled)));
    report.figure(8, format!("idle: {resident:.1} MiB resident, {proportional:.1} MiB proportional"));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a process' memory in KiB is far below 2^53")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
